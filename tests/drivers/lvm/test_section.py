"""The `lvm` section: documents, faults, the canonical form, and what deserves a second look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from confsync.drivers.lvm.section import LvmSection
from confsync.drivers.lvm.storage import Storage
from confsync.model.ids import ObjectId

LVM = LvmSection()
GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir())
ROLES = Path(__file__).parent / "roles"
VOLUME = {"size": "260GiB", "fs": "xfs", "mount": "/var/lib/nova/instances"}


def faults(tree) -> list[str]:
    value = LVM.parse(tree)
    return [str(one) for one in (LVM.rules(value, {}) if isinstance(value, Storage) else value)]


def parsed(tree) -> Storage:
    value = LVM.parse(tree)
    assert isinstance(value, Storage), "\n".join(map(str, value))
    assert () == LVM.rules(value, {})
    return value


def with_volumes(**volumes) -> dict:
    return {"volume_groups": {"vg_ext": {"volumes": volumes}}}


def one_volume(**keys) -> dict:
    return with_volumes(lv_a=keys)


def outcome(case: str) -> str:
    """Return all that is said of a golden document: faults; or the value, after what to look at."""
    tree = yaml.safe_load((GOLDEN / case / "document.yaml").read_text())
    if told := faults(tree):
        return "".join(f"{one}\n" for one in told)
    value = parsed(tree)
    notes = "".join(f"# {note}\n" for note in LVM.warnings(value))
    return notes + yaml.safe_dump(value.tree(), sort_keys=True)


@pytest.mark.parametrize("case", CASES)
def test_a_golden_document_has_its_outcome(case):
    assert {"document.yaml", "outcome.yaml"} == {p.name for p in (GOLDEN / case).iterdir()}
    assert (GOLDEN / case / "outcome.yaml").read_text() == outcome(case)


@pytest.mark.parametrize("role", sorted(ROLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_operators_write_today_is_accepted(role):
    value = parsed(yaml.safe_load(role.read_text()))
    assert value.groups
    assert value == parsed(json.loads(LVM.canonical(value)))


@pytest.mark.parametrize("tree", [None, [], "lvm", 7, {1: 2}, {"volume_groups": {"a": {"b": {}}}}])
def test_anything_but_a_section_is_refused(tree):
    assert isinstance(LVM.parse(tree), tuple)


def test_every_leaf_refuses_what_it_cannot_hold_shortly():
    flat = ("size", "fs_type", "mountpath", "options", "tags", "createfs", "ensure", "thinpool")
    own = ("size", "fs", "mount", "options", "tags", "retire", "remove")
    for bad in ("x" * 5000, "é", "a b", "; reboot", "--help", -1, 1.5, {"a": 1}, "\x7f", ""):
        trees = [{"volume_groups": {"v": {"volumes": {"a": {key: bad}}}}} for key in own]
        trees += [
            {"volume_groups": {"v": {}}, "logical_volumes": {"a": {"volume_group": "v", key: bad}}}
            for key in flat
        ]
        trees += [{"volume_groups": {"v": {key: bad}}} for key in ("extent_size", "headroom")]
        for tree in trees:
            told = faults(tree)
            assert told, tree
            assert all(len(line) < 260 for line in told), told


def test_both_ways_of_writing_give_one_value():
    own = {
        "devices": ["/dev/sdb"],
        "volumes": {"lv_a": {"size": "40G", "fs": "xfs", "mount": "/opt"}},
    }
    volume = {"size": "40GiB", "fs_type": "xfs", "mountpath": "/opt"}
    flat = {
        "physical_volumes": {"/dev/sdb": {"ensure": "present"}},
        "volume_groups": {"vg_ext": {"physical_volumes": "/dev/sdb"}},
        "logical_volumes": {"lv_a": {"volume_group": "vg_ext", **volume}},
    }
    nested = {"physical_volumes": ["/dev/sdb"], "logical_volumes": {"lv_a": volume}}
    values = [parsed({"volume_groups": {"vg_ext": own}}), parsed(flat)]
    values.append(parsed({"volume_groups": {"vg_ext": nested}}))
    assert values[0] == values[1] == values[2]
    assert 1 == len({LVM.canonical(value) for value in values})


def test_a_retired_volume_counts_as_gone():
    had = parsed(with_volumes(lv_a={}, lv_b={}))
    want = parsed(with_volumes(lv_a={}, lv_b={"retire": True}))
    gone = LVM.inventory(had) - LVM.inventory(want)
    assert {ObjectId("volume", "lvm.volumes", "vg_ext/lv_b")} == gone


def test_places_are_described_with_what_a_change_does():
    own = ("volume_groups", "vg_ext", "volumes", "lv_a")
    assert ("size", "fs", "mount", "options", "tags", "retire", "remove") == LVM.describe(own).keys
    assert "createfs" in LVM.describe(("logical_volumes", "lv_a")).keys
    impacts = [LVM.describe((*own, key)).impact for key in ("size", "retire", "remove", "fs")]
    assert ["online grow", "out of use", "data loss", ""] == impacts
    assert "a map by name" == LVM.describe(("volume_groups",)).kind
    assert "volume_groups" in LVM.describe(()).keys
    assert LVM.describe((*own, "nonsense")) is None


NAME = st.from_regex(r"lv_[a-z0-9]{1,8}", fullmatch=True)
SIZE = st.one_of(
    st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["MiB", "GiB", "g", "T", "KB"])),
    st.builds("{}.{}G".format, st.integers(0, 9), st.integers(1, 99)),
    st.builds("{}%{}".format, st.integers(1, 100), st.sampled_from(["FREE", "VG"])),
    st.builds("{}B".format, st.integers(1, 10**12)),
)
VOLUMES = st.dictionaries(
    NAME,
    st.fixed_dictionaries(
        {},
        optional={
            "size": SIZE,
            "fs": st.sampled_from(["none", "ext4", "swap"]),
            "tags": st.lists(st.from_regex(r"[a-z][a-z=]{0,5}", fullmatch=True), max_size=3),
            "retire": st.booleans(),
        },
    ),
    max_size=5,
)


@given(VOLUMES, st.sampled_from([0, "10GiB", "1.5G"]), st.sampled_from(["4MiB", "32M", "1GiB"]))
def test_the_canonical_form_is_read_back(volumes, headroom, extent):
    group = {"volumes": volumes, "headroom": headroom, "extent_size": extent}
    value = parsed({"volume_groups": {"vg_ext": group}})
    again = parsed(json.loads(LVM.canonical(value)))
    assert value == again
    assert LVM.canonical(value) == LVM.canonical(again)
