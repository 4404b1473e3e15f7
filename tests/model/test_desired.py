"""The desired state: every section whole, or every fault of every section."""

from dataclasses import dataclass

import pytest

from confsync.model.desired import build
from confsync.model.errors import SchemaViolated, Violation
from confsync.model.ids import canonical
from confsync.model.layers import merge
from confsync.model.section import Deadline, Scope
from confsync.model.snapshot import Layer, Snapshot


@dataclass(frozen=True, slots=True)
class Numbers:
    items: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class NumberSection:
    """Takes whole numbers by name; a rule forbids seven, another one compares with a sibling."""

    name: str
    scope: Scope = Scope.NODE

    def parse(self, tree):
        faults = tuple(
            Violation("T1", (self.name, key), "not a number")
            for key, value in tree.items()
            if type(value) is not int
        )
        return faults or Numbers(tuple(sorted(tree.items())))

    def rules(self, value, siblings):
        sevens = [key for key, number in value.items if number == 7]
        mine = tuple(Violation("T2", (self.name, key), "seven") for key in sevens)
        if self.name == "bgp" and any(s == value for n, s in siblings.items() if n != "bgp"):
            return (*mine, Violation("T3", ("bgp",), "the same as a sibling"))
        return mine

    def warnings(self, value):
        return (f"{self.name} is empty",) if not value.items else ()

    def deadlines(self, value):
        return tuple(Deadline("2026", f"{key} is old") for key, _ in value.items if key == "old")

    def inventory(self, value):
        return frozenset()

    def canonical(self, value):
        return canonical(dict(value.items))

    def remarks(self, want, had, seen):
        return ()

    def plan(self, want, had, seen):
        return ()


SECTIONS = {name: NumberSection(name) for name in ("bgp", "lvm", "felix")}


def desired(**documents):
    layer = Layer("common", {name: text.encode() for name, text in documents.items()})
    return build(SECTIONS, merge(Snapshot((layer,)), ("common",), {}))


def faults(**documents):
    with pytest.raises(SchemaViolated) as refused:
        desired(**documents)
    return [str(violation) for violation in refused.value.violations]


def test_a_section_that_nobody_mentions_has_no_value():
    found = desired(bgp="a: 1")
    assert {"bgp": Numbers((("a", 1),))} == found.values
    assert {"bgp": {"a": 1}} == found.tree


def test_nothing_mentioned_is_nothing_desired():
    assert {} == desired().values


def test_an_unknown_section_is_refused_with_the_nearest_one():
    expected = [
        "desired/common/bpg:1:1 bpg: unknown section; did you mean bgp? (CS-S01)",
        "desired/common/zebra:1:1 zebra: unknown section; known here: bgp, felix, lvm (CS-S01)",
    ]
    assert expected == faults(bpg="a: 1", zebra="a: 1")


def test_shape_and_rules_of_all_sections_are_told_at_once():
    expected = [
        "desired/common/bgp:1:4 bgp.a: not a number (T1)",
        "desired/common/lvm:2:4 lvm.b: seven (T2)",
    ]
    assert expected == faults(bgp="a: x", lvm="a: 1\nb: 7")


def test_rules_see_the_other_sections():
    assert ["desired/common/bgp:1:1 bgp: the same as a sibling (T3)"] == faults(
        bgp="a: 1", lvm="a: 1"
    )


def test_the_revision_is_of_values_and_not_of_how_they_were_written():
    assert desired(bgp="a: 1\nb: 2").revision == desired(bgp='{"b":2,"a":1}').revision
    assert desired(bgp="a: 1").revision != desired(lvm="a: 1").revision
    assert desired(bgp="a: 1").revision != desired(bgp="a: 1", lvm="{}").revision


def test_warnings_of_merging_and_of_sections_come_along():
    layers = (Layer("low", {"bgp": b"a: [1]"}), Layer("high", {"bgp": b"a: 1", "lvm": b"{}"}))
    found = build(SECTIONS, merge(Snapshot(layers), ("low", "high"), {}))
    clash = "bgp.a: a single value in desired/high/bgp replaces a list in desired/low/bgp"
    assert (clash, "lvm is empty") == found.warnings


def test_deadlines_of_sections_come_along():
    assert (Deadline("2026", "old is old"),) == desired(bgp="a: 1\nold: 2").deadlines
