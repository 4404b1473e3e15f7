"""Values: what Felix takes is written in one way, what it would misread is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from confsync.drivers.felix.tables import table, versions
from confsync.drivers.felix.values import READERS, read

CASES = yaml.safe_load((Path(__file__).parent / "values.yaml").read_text())
GOOD = [(case["parameter"], *one) for case in CASES for one in case.get("good", ())]
BAD = [(case["parameter"], *one) for case in CASES for one in case.get("bad", ())]
EVERY = [one for version in versions() for one in table(version).values()]


def parameter_of(words):
    version, name = words.split()
    return table(version)[name.lower()]


@pytest.mark.parametrize(("words", "value", "text"), GOOD)
def test_a_good_value_has_one_text(words, value, text):
    parameter = parameter_of(words)
    assert text == read(parameter, value)
    assert text == read(parameter, text)


@pytest.mark.parametrize(("words", "value", "told"), BAD)
def test_a_bad_value_is_refused_with_the_way_to_mend_it(words, value, told):
    with pytest.raises(PydanticCustomError) as refused:
        read(parameter_of(words), value)
    context = refused.value.context
    assert told in f"{context['message']}; {context['hint']}"
    assert refused.value.type.startswith("CS-V2")
    assert "secret" not in str(context)


def test_every_type_of_every_table_has_its_reader_and_its_cases():
    kinds = {one.kind for one in EVERY}
    assert kinds == set(READERS)
    assert kinds == {parameter_of(case["parameter"]).kind for case in CASES}


@given(
    parameter=st.sampled_from(EVERY),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_whatever_is_said_becomes_a_text_that_stays_or_is_refused(parameter, value):
    try:
        text = read(parameter, value)
    except PydanticCustomError:
        return
    assert text
    assert text.isprintable()
    assert text == read(parameter, text)
