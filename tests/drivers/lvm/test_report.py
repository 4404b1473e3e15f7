"""Reports of lvm, lsblk and the kernel: both dialects give one host, and half a report gives none.

`reports` holds what real ones said of real layouts; `told.txt` is what we read out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.drivers.lvm import report
from confsync.drivers.lvm.found import Host, Mount
from confsync.drivers.lvm.mounts import HEADER, unit_name, unit_text
from confsync.drivers.lvm.report import Readings, Unreadable, host_of
from tests.drivers.lvm.machine import (
    device,
    group,
    host,
    lsblk,
    lvm_report,
    segment,
    tagged,
    uuid_for,
    volume,
)

REPORTS = Path(__file__).parent / "reports"
LAYOUTS = sorted(path.name for path in REPORTS.iterdir())
DIALECTS = {"report.json": False, "report.std.json": True}


def read(readings: Readings, allowed: tuple[str, ...] = ("vg_ext",)) -> Host:
    return host_of(readings, binary="/usr/sbin/lvm", at=1, allowed=allowed, adopted=())


def recorded(layout: str, dialect: str) -> Host:
    folder = REPORTS / layout
    readings = Readings((folder / dialect).read_text(), (folder / "lsblk.json").read_text())
    return read(readings, ("vg0", "vg1"))


def told(found: Host) -> Iterator[str]:
    """Yield what is read out of a report, but for UUIDs and digests."""
    for one in found.groups:
        size = f"{one.extents} extents of {one.extent_bytes}, {one.free} free"
        yield f"{one.name}: {size}, on {', '.join(one.devices)}"
        yield from (f"  tag {tag}" for tag in one.tags)
        yield from (f"  trouble: {trouble}" for trouble in one.trouble)
        paths = {dev.pv_uuid: dev.path for dev in found.devices}
        for each in one.volumes:
            words = [each.layout, f"{each.extents} extents", "active" if each.active else ""]
            words += ["open" if each.open else "", each.device, each.health]
            yield f"  {each.name}: {', '.join(filter(None, words))}"
            yield from (f"    tag {tag}" for tag in each.tags)
            for run in each.segments:
                place = paths.get(run.pv_uuid, "missing")
                yield f"    {place} from {run.start}, {run.extents} extents"
    for dev in found.devices:
        yield f"{dev.path}: {', '.join(dev.uses) or 'nothing known against it'}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_recorded_layout_is_read_alike_in_both_dialects(layout):
    older, newer = (recorded(layout, dialect) for dialect in DIALECTS)
    assert older == newer
    text = "".join(f"{line}\n" for line in told(older))
    assert (REPORTS / layout / "told.txt").read_text() == text


HOST = host(
    group(
        "vg_ext",
        volume("lv_a", 30, fs=None, open=True, segments=(segment("/dev/sdb", 7, 30),)),
        volume("lv_b", 9, fs=None, active=False, device="", tags=()),
        devices=("/dev/sdb", "/dev/sdc"),
        tags=("confsync.managed",),
    ),
    devices=[device("/dev/sdd")],
    allowed=("vg_ext",),
    at=1,
)


def bare(found: Host) -> Any:
    """Return a host without what a reading cannot have from the model: digests, words of uses."""
    parts = {"digest": True}
    return found.model_dump(
        mode="json", exclude={"groups": {"__all__": parts}, "devices": {"__all__": {"uses": True}}}
    )


@pytest.mark.parametrize("std", [False, True])
def test_what_is_told_of_a_host_is_that_host(std):
    found = read(Readings(lvm_report(HOST, std=std), lsblk(HOST)))
    assert bare(HOST) == bare(found)
    assert [("is a physical volume of vg_ext",)] * 2 + [()] == [one.uses for one in found.devices]


def test_only_groups_of_the_settings_are_read():
    found = read(Readings(lvm_report(HOST), lsblk(HOST)), ("vg_other",))
    assert () == found.groups
    assert ["vg_ext", "vg_ext", ""] == [one.vg for one in found.devices]


def test_a_digest_changes_with_the_group_and_not_with_who_uses_it():
    def digest_of(**changes: Any) -> str:
        live = HOST.groups[0]
        first = live.volumes[0].model_copy(update=changes)
        changed = live.model_copy(update={"volumes": (first, *live.volumes[1:])})
        now = HOST.model_copy(update={"groups": (changed,)})
        return read(Readings(lvm_report(now), lsblk(now))).groups[0].digest

    same = digest_of()
    assert same == digest_of(open=False)
    changes = [{"extents": 31}, {"tags": ()}, {"name": "lv_z"}, {"uuid": uuid_for("other")}]
    assert same not in [digest_of(**change) for change in changes]


# --- half a report


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_report_that_was_cut_off_is_refused_wherever_it_was_cut(dialect):
    folder = REPORTS / "linear"
    whole, blocks = (folder / dialect).read_text().strip(), (folder / "lsblk.json").read_text()
    for end in range(0, len(whole), 97):
        with pytest.raises(Unreadable):
            read(Readings(whole[:end], blocks))
    for end in range(0, len(blocks.strip()), 97):
        with pytest.raises(Unreadable):
            read(Readings(whole, blocks[:end]))


def test_warnings_among_the_report_are_refused():
    with pytest.raises(Unreadable, match="is not whole"):
        read(Readings(f"  WARNING: VG is missing PV.\n{lvm_report(HOST)}", lsblk(HOST)))


@pytest.mark.parametrize(
    "text", ["", "  ", "null", "[]", "{}", '{"report": {}}', '{"report": [1]}']
)
def test_what_is_no_report_is_refused(text):
    with pytest.raises(Unreadable):
        read(Readings(text, lsblk(HOST)))
    with pytest.raises(Unreadable):
        read(Readings(lvm_report(HOST), text))


def without(text: str, part: str, field: str) -> str:
    told_ = json.loads(text)
    for row in told_["report"][0][part]:
        del row[field]
    return json.dumps(told_)


@pytest.mark.parametrize(
    ("part", "field"),
    [(part, name) for part in ("vg", "pv", "lv", "seg") for name in report.FIELDS[part]],
)
def test_a_missing_field_is_refused_by_its_name(part, field):
    with pytest.raises(Unreadable, match=field):
        read(Readings(without(lvm_report(HOST), part, field), lsblk(HOST)))


@pytest.mark.parametrize("part", ["pv", "lv"])
def test_a_missing_part_is_refused(part):
    told_ = json.loads(lvm_report(HOST))
    del told_["report"][0][part]
    with pytest.raises(Unreadable, match=part):
        read(Readings(json.dumps(told_), lsblk(HOST)))


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("vg", "vg_free_count", "many"),
        ("vg", "vg_extent_size", None),
        ("lv", "lv_size", "1"),
        ("lv", "lv_attr", "-wi"),
    ],
)
def test_what_cannot_be_is_refused(part, field, value):
    told_ = json.loads(lvm_report(HOST))
    told_["report"][0][part][0][field] = value
    with pytest.raises(Unreadable):
        read(Readings(json.dumps(told_), lsblk(HOST)))


@given(st.dictionaries(st.sampled_from(report.FIELDS["lv"]), st.none() | st.integers() | st.text()))
@settings(max_examples=200)
def test_a_strange_report_is_read_or_refused_and_nothing_else(changes):
    told_ = json.loads(lvm_report(HOST))
    told_["report"][0]["lv"][0] |= changes
    with suppress(Unreadable):
        read(Readings(json.dumps(told_), lsblk(HOST)))


# --- trouble


@pytest.mark.parametrize(
    ("field", "older", "newer", "words"),
    [
        ("vg_missing_pv_count", "1", 1, "a physical volume is missing"),
        ("vg_exported", "exported", 1, "it is exported"),
        ("vg_permissions", "read-only", "read-only", "it is read-only"),
        ("vg_systemid", "other", "other", "it belongs to another system, other"),
        ("vg_shared", "shared", 1, "it is shared with other hosts"),
        ("vg_clustered", "clustered", 1, "it is shared with other hosts"),
    ],
)
def test_trouble_of_a_group_is_told(field, older, newer, words):
    for std, value in ((False, older), (True, newer)):
        told_ = json.loads(lvm_report(HOST, std=std))
        told_["report"][0]["vg"][0][field] = value
        assert (words,) == read(Readings(json.dumps(told_), lsblk(HOST))).groups[0].trouble


@pytest.mark.parametrize(("std", "value"), [(False, "duplicate"), (True, 1)])
def test_a_device_that_lvm_sees_twice_is_trouble(std, value):
    told_ = json.loads(lvm_report(HOST, std=std))
    told_["report"][0]["pv"][0]["pv_duplicate"] = value
    assert (report.TWICE,) == read(Readings(json.dumps(told_), lsblk(HOST))).groups[0].trouble


def test_our_own_system_id_is_no_trouble():
    told_ = json.loads(lvm_report(HOST))
    told_["report"][0]["vg"][0]["vg_systemid"] = "cn1"
    found = read(Readings(json.dumps(told_), lsblk(HOST), system_id="cn1"))
    assert () == found.groups[0].trouble


# --- devices


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"type": "rom", "size": 0}, "has no size"),
        ({"ro": True}, "is read-only"),
        ({"fstype": "LVM2_member"}, "holds a signature (LVM2_member)"),
        ({"pttype": "gpt"}, "has a partition table (gpt)"),
        ({"mountpoints": ["/", None]}, "is mounted at /"),
        ({"mountpoints": ["[SWAP]"]}, "is used as swap"),
        ({"children": [{"type": "part"}]}, "has partitions"),
        (
            {"children": [{"type": "mpath", "path": "/dev/mapper/mpatha"}]},
            "is one of several paths",
        ),
        ({"children": [{"type": "raid1", "path": "/dev/md0"}]}, "is a part of /dev/md0"),
        ({"children": [{"type": "crypt"}]}, "holds an open LUKS volume"),
        ({"type": "lvm"}, "is a logical volume"),
    ],
)
def test_every_use_of_a_device_is_told(about, words):
    base = json.loads(lsblk(HOST))["blockdevices"][-1]
    inner = {**base, "kname": "inner", "path": "/dev/inner"}
    children = [{**inner, **one} for one in about.get("children", ())]
    more = {**about, "children": children} if children else about
    found = read(Readings(lvm_report(HOST), lsblk(HOST, sdd=more)))
    (sdd,) = [one for one in found.devices if one.path == "/dev/sdd"]
    assert words in " ".join(sdd.uses)


def test_a_partition_has_no_table_of_its_own():
    # lsblk tells the table that a partition is in
    found = read(Readings(lvm_report(HOST), lsblk(HOST, sdd={"type": "part", "pttype": "gpt"})))
    assert () == found.devices[-1].uses


def test_a_device_is_known_by_all_its_names():
    links = {"/dev/disk/by-id/wwn-0xd": "/dev/sdd", "/dev/disk/by-path/d": "/dev/sdd"}
    found = read(
        Readings(lvm_report(HOST), lsblk(HOST, sdd={"path": "/dev/mapper/d"}), links=links)
    )
    names = ("/dev/disk/by-id/wwn-0xd", "/dev/disk/by-path/d", "/dev/mapper/d")
    assert names == found.devices[-1].names


# --- mounts


def mounts(**readings: Any) -> tuple[Mount, ...]:
    """Return the mounts of the volume lv_a, which is 254:7 and /dev/dm-7."""
    live = HOST.groups[0]
    first = live.volumes[0].model_copy(update={"device": "254:7"})
    now = HOST.model_copy(update={"groups": (live.model_copy(update={"volumes": (first,)}),)})
    told_ = json.loads(lsblk(now))
    row = {**told_["blockdevices"][-1], "kname": "dm-7", "path": "/dev/mapper/vg_ext-lv_a"}
    told_["blockdevices"].append({**row, "maj:min": "254:7", "type": "lvm", "uuid": "ab-cd"})
    links = {"/dev/vg_ext/lv_a": "/dev/dm-7"}
    readings = {"links": links, **readings}
    found = read(Readings(lvm_report(now), json.dumps(told_), **readings))
    return found.groups[0].volumes[0].mounts


MOUNTED = r"36 25 254:7 / /srv/a\040b rw,noatime shared:1 - xfs /dev/mapper/vg_ext-old rw"


def test_a_mount_is_known_by_number_though_the_kernel_shows_an_old_name():
    bound = "37 25 254:7 /sub /mnt rw - xfs /dev/mapper/vg_ext-lv_a rw"
    other = "38 25 254:8 / /other rw - xfs /dev/mapper/vg_ext-lv_a rw"
    found = mounts(mountinfo=f"{MOUNTED}\n{bound}\n{other}\n")
    assert (Mount(where="/srv/a b", active=True),) == found


@pytest.mark.parametrize("spec", ["/dev/vg_ext/lv_a", "/dev/mapper/vg_ext-lv_a", "UUID=ab-cd"])
def test_a_line_of_fstab_is_anothers(spec):
    line = f"{spec}  /srv/a\\040b  xfs  defaults 0 0"
    found = mounts(fstab=f"# comment\n\n{line}\nproc /proc proc\n", mountinfo=MOUNTED)
    assert (Mount(where="/srv/a b", line=line, active=True),) == found


def test_swap_is_a_mount_too():
    swaps = "Filename Type Size Used Priority\n/dev/dm-7 partition 1 0 -2\n"
    line = "/dev/vg_ext/lv_a none swap sw 0 0"
    assert (Mount(where="swap", line=line, active=True),) == mounts(swaps=swaps, fstab=line)


def test_a_unit_of_ours_is_known_by_its_first_line():
    text = unit_text("/dev/vg_ext/lv_a", "/srv/a", "xfs", ("noatime",))
    found = mounts(units={"srv-a.mount": text})
    assert (Mount(where="/srv/a", unit="srv-a.mount", text=text),) == found
    theirs = text.removeprefix(HEADER)
    assert (Mount(where="/srv/a", line="srv-a.mount"),) == mounts(units={"srv-a.mount": theirs})


def test_a_unit_mounts_without_holding_a_boot_up():
    assert (
        f"{HEADER}\n[Unit]\nDescription=confsync: /dev/vg_ext/lv_a\n\n[Mount]\n"
        "What=/dev/vg_ext/lv_a\nWhere=/srv/a\nType=xfs\nOptions=nofail,noatime\n\n"
        "[Install]\nWantedBy=local-fs.target\n"
    ) == unit_text("/dev/vg_ext/lv_a", "/srv/a", "xfs", ("noatime", "nofail"))


@pytest.mark.parametrize(
    ("where", "name"),
    [  # as `systemd-escape --path` of systemd 252 has them
        ("/var/lib/nova/instances", "var-lib-nova-instances.mount"),
        ("/opt/a-b", r"opt-a\x2db.mount"),
        ("/.x/a@b+c", r"\x2ex-a\x40b\x2bc.mount"),
        ("/a/.b", "a-.b.mount"),
    ],
)
def test_a_unit_is_named_as_systemd_demands(where, name):
    assert name == unit_name(where)


def test_tags_are_read_sorted():
    live = group("vg_ext", volume("lv_a", tags=("z", "a")))
    for std in (False, True):
        found = read(Readings(lvm_report(host(live), std=std), lsblk(host(live))))
        assert ("a", "z") == found.groups[0].volumes[0].tags
    assert tagged("lv_a") == ("confsync.id=lv_a", "confsync.managed")
