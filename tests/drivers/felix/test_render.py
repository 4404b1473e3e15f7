"""The file: read as Felix reads it, and written so that it reads what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from confsync.drivers.felix.render import read_file, render
from confsync.drivers.felix.tables import table
from confsync.model.errors import HostRefused

CASES = yaml.safe_load((Path(__file__).parent / "ini.yaml").read_text())
NAMES = st.sampled_from([one.name for one in table("3.32").values()])
LINES = st.builds("{}={}".format, st.sampled_from(["a", "B ", "-", "`c d`", "[s]\ne"]), st.text())
TEXT = st.text() | st.text("ab=:#;`'\"\\[] \t\n-")


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"]))
def test_a_file_is_read_as_felix_reads_it(case):
    if case["pairs"] is not None:
        assert case["pairs"] == read_file(case["text"])
        return
    with pytest.raises(HostRefused, match=r"line \d+ of felix\.cfg: "):
        read_file(case["text"])


def test_the_file_says_whose_it_is_and_is_sorted():
    parameters = {"VXLANPort": "31439", "DatastoreType": "etcdv3", "LogPrefix": "a # b"}
    wanted = (
        "# Written by confsync; an edit by hand is reported, not kept.\n[global]\n"
        "DatastoreType = etcdv3\nLogPrefix = `a # b`\nVXLANPort = 31439\n"
    )
    assert wanted == render(parameters, {}).decode()
    assert render(parameters, {}) == render(dict(sorted(parameters.items())), {})


def test_kept_lines_stand_apart_and_give_way_in_any_case():
    text = render({"VXLANPort": "31439"}, {"VXLANport": "1", "MyDriver": "on"}).decode()
    assert text.endswith("\n\n# Not known here, and kept as it was found.\nMyDriver = on\n")
    assert {"VXLANPort": "31439", "MyDriver": "on"} == read_file(text)


@pytest.mark.parametrize("kept", [{'`"': "a"}, {"": "a"}, {"-": "a"}, {" a": "b"}, {"a": "b\n`c"}])
def test_what_could_not_be_read_again_is_not_written(kept):
    with pytest.raises(HostRefused, match=r"felix\.cfg"):
        render({}, kept)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "`",
        "`a",
        "a`b`",
        "'a'",
        '"a"',
        '"""a',
        "a\\",
        "\\",
        "a#",
        ";a",
        "a  b",
        "a=b:c",
        "[a]",
        "é",
    ],
)
def test_what_an_ini_file_would_mangle_is_read_as_it_was_meant(value):
    text = render({"LogPrefix": value}, {"a b": value, "`": value}).decode()
    assert {"LogPrefix": value, "a b": value, "`": value} == read_file(text)


@given(st.dictionaries(NAMES, st.text().filter(lambda text: "\n" not in text)))
def test_what_is_written_is_read(parameters):
    assert parameters == read_file(render(parameters, {}).decode())


@given(st.dictionaries(NAMES, TEXT), st.dictionaries(TEXT, TEXT))
def test_what_others_wrote_is_kept_or_refused(parameters, others):
    try:
        text = render(parameters, others).decode()
    except HostRefused:
        return
    taken = {name.lower() for name in parameters}
    rest = {name: value for name, value in others.items() if name.lower() not in taken}
    assert {**parameters, **rest} == read_file(text)


@given(st.lists(LINES).map("\n".join))
def test_a_file_of_any_kind_is_read_and_can_be_written_again(text):
    try:
        found = read_file(text)
        again = render({}, found).decode()
    except HostRefused:
        return
    assert found == read_file(again)
