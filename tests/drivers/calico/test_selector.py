"""Calico's selectors: what each selects, and where a bad one is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from confsync.drivers.calico.selector import BadSelectorError, Everything, calls, matches, parse

CASES = yaml.safe_load((Path(__file__).parent / "golden" / "selectors.yaml").read_text())
PIECES = ("has(a)", "a", "==", "'x'", "in", "{", "}", ",", "(", ")", "!", "&&", "||", "all()", "ö")


@pytest.mark.parametrize("case", CASES["good"], ids=lambda case: case["selector"])
def test_a_selector_selects_what_calico_would(case: dict[str, Any]):
    assert [] == [labels for labels in case["hits"] if not matches(case["selector"], labels)]
    assert [] == [labels for labels in case["misses"] if matches(case["selector"], labels)]


@pytest.mark.parametrize("case", CASES["bad"], ids=lambda case: case["selector"])
def test_a_bad_selector_is_refused_where_it_is_wrong(case: dict[str, Any]):
    with pytest.raises(BadSelectorError) as refused:
        parse(case["selector"])
    assert (case["says"], case["hint"]) == (str(refused.value), refused.value.hint)


def test_deep_nesting_is_refused_before_the_stack_ends():
    with pytest.raises(BadSelectorError, match=r"at character 34: .* nested too deeply"):
        parse("(" * 5000 + "all()" + ")" * 5000)
    assert parse("(" * 32 + "all()" + ")" * 32) == Everything()
    assert parse("!" * 5000 + "all()") == Everything()


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_any_text_is_read_or_refused_within_itself(pieces: list[str]):
    text = " ".join(pieces)
    try:
        column = 1 + int(parse(text).matches({}))
    except BadSelectorError as refused:
        column = refused.column
    assert 1 <= column <= max(2, len(text) + 1)


def test_a_call_is_found_wherever_it_stands():
    assert calls(parse("has(a) || !(has(b) && all())"), Everything)
    assert not calls(parse("has(a) || !(has(b) && has(c))"), Everything)
