"""Plans: what is done, in which order, what is refused and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from confsync.drivers.lvm.found import Host, Mount
from confsync.drivers.lvm.mounts import unit_text
from confsync.drivers.lvm.section import LvmSection
from confsync.drivers.lvm.step import FileSystem, act_of
from confsync.drivers.lvm.storage import Storage
from confsync.model.errors import HostBusy, SchemaViolated
from confsync.model.ids import ObjectId
from confsync.model.plan import Impact, Step
from tests.drivers.lvm.machine import (
    DAY,
    GIB,
    MIB,
    NOW,
    after,
    device,
    group,
    host,
    seen,
    segment,
    tagged,
    uuid_for,
    volume,
)

LVM = LvmSection()
NOVA = "/var/lib/nova/instances"
SDB, SDC = device("/dev/sdb"), device("/dev/sdc", names=("/dev/disk/by-id/wwn-0xc",))


def parsed(tree: Any) -> Storage:
    value = LVM.parse(tree)
    assert isinstance(value, Storage), "\n".join(map(str, value))
    assert () == LVM.rules(value, {})
    return value


def wanted(**volumes: Any) -> Storage:
    return parsed({"volume_groups": {"vg_ext": {"volumes": volumes}}})


def made(*devices: str, **volumes: Any) -> Storage:
    return parsed({"volume_groups": {"vg_ext": {"devices": devices, "volumes": volumes}}})


def plan(want: Storage, now: Host, had: Storage | None = None) -> tuple[Step, ...]:
    return LVM.plan(want, had, seen(now))


def lines(steps: tuple[Step, ...]) -> list[str]:
    """Return a plan as people read it."""
    shown = [item for step in steps for item in step.differences]
    return [f"{one}   {one.impact}" + (f"; {one.note}" if one.note else "") for one in shown]


def refused(want: Storage, now: Host) -> list[str]:
    with pytest.raises(SchemaViolated) as fault:
        plan(want, now)
    return [f"{one.message}; {one.hint} ({one.code})" for one in fault.value.violations]


def notes(want: Storage, now: Host) -> list[str]:
    return list(LVM.remarks(want, None, seen(now)))


def mounted(name: str, where: str, fs: str = "xfs", extents: int = 2560, **rest: Any) -> Any:
    """Return a volume of ours that a unit of ours mounts."""
    text = unit_text(f"/dev/vg_ext/{name}", where, fs, ())
    unit = where.strip("/").replace("/", "-") + ".mount"
    told = {"fs": fs, "fs_bytes": extents * 4 * MIB, "open": True, **rest}
    return volume(
        name, extents, mounts=(Mount(where=where, unit=unit, text=text, active=True),), **told
    )


# --- made anew


def test_a_blank_host_gets_group_volume_file_system_and_mount():
    want = made("/dev/sdb", lv_instances={"fs": "xfs", "mount": NOVA})
    assert [
        "+ lvm.vg_ext 100 GiB on /dev/sdb   hitless",
        "+ lvm.vg_ext/lv_instances ~100 GiB, xfs   hitless; nothing stays free",
        f"+ lvm.vg_ext/lv_instances.mount {NOVA}   hitless",
    ] == lines(plan(want, host(devices=[SDB])))


def test_the_acts_of_one_plan_know_each_other_by_its_nonce():
    want, now = made("/dev/sdb", lv_a={"size": "1GiB", "tags": ["x"]}), host(devices=[SDB])
    acts = [act_of(step) for step in plan(want, now)]
    assert 1 == len({act.nonce for act in acts})
    assert set(acts[0].nonce) <= set("0123456789abcdef")
    assert ("confsync.managed", "confsync.id=lv_a", "x") == acts[1].tags
    later = now.model_copy(update={"at": NOW + 1})
    assert acts == [act_of(step) for step in plan(want, later)]


def test_a_size_is_rounded_up_to_extents_and_says_so():
    (step,) = plan(wanted(lv_a={"size": "10000000B"}), host(group("vg_ext")))
    assert [
        (
            "+ lvm.vg_ext/lv_a 12 MiB   hitless; "
            "10000000B is rounded up to 3 extents; ~99.98 GiB stay free"
        )
    ] == lines((step,))
    assert 3 == act_of(step).extents


def test_a_share_is_of_what_is_left_after_fixed_sizes_and_headroom():
    tree = {
        "headroom": "20GiB",
        "volumes": {"lv_all": {}, "lv_fixed": {"size": "30GiB"}},
    }
    steps = plan(parsed({"volume_groups": {"vg_ext": tree}}), host(group("vg_ext")))
    got = {step.target: act_of(step).extents for step in steps}
    assert {"vg_ext/lv_fixed": 7680, "vg_ext/lv_all": 25599 - 7680 - 5120} == got
    assert all("20 GiB stay free" in line for line in lines(steps))


def test_mounts_inside_one_another_go_outer_first():
    volumes = {
        "lv_a": {"size": "1GiB", "fs": "ext4", "mount": "/srv/a/b"},
        "lv_b": {"size": "1GiB", "fs": "ext4", "mount": "/srv/a"},
    }
    steps = plan(wanted(**volumes), host(group("vg_ext")))
    assert ["/srv/a", "/srv/a/b"] == [act_of(s).where for s in steps if s.kind == "mount"]


def test_swap_is_named_by_its_device():
    steps = plan(wanted(lv_swap={"size": "1GiB", "fs": "swap"}), host(group("vg_ext")))
    mount = act_of(steps[1])
    assert ("dev-vg_ext-lv_swap.swap", "swap") == (mount.unit, mount.where)
    assert "[Swap]\nWhat=/dev/vg_ext/lv_swap\nOptions=nofail" in mount.text


# --- grown


def test_growth_is_shown_as_operators_know_it():
    live = mounted("lv_instances", NOVA, extents=200 * 256, segments=(segment("/dev/sdb", 0, 9),))
    now = host(group("vg_ext", live, extents=301 * 256))
    want = wanted(lv_instances={"size": "260GiB", "fs": "xfs", "mount": NOVA})
    (step,) = plan(want, now)
    assert [
        "~ lvm.vg_ext/lv_instances 200 GiB -> 260 GiB   online grow; 41 GiB stay free"
    ] == lines((step,))
    act = act_of(step)
    assert (51200, 66560, FileSystem.XFS, NOVA) == (
        *(act.old_extents, act.new_extents),
        *(act.fs, act.mount),
    )
    assert live.segments == act.segments


def test_a_share_never_grows_a_volume_later():
    now = host(group("vg_ext", volume("lv_a"), volume("lv_b")))
    assert () == plan(wanted(lv_a={}, lv_b={"size": "90%VG"}), now)


def test_a_volume_never_shrinks():
    now = host(group("vg_ext", volume("lv_a")))
    assert [
        (
            "10 GiB are there, and 5 GiB are wanted; a volume is never made smaller; say 10GiB "
            "(CS-V021)"
        )
    ] == refused(wanted(lv_a={"size": "5GiB"}), now)


def test_a_file_system_that_was_left_behind_is_grown():
    live = mounted("lv_a", "/a", fs_bytes=5 * GIB)
    want = wanted(lv_a={"fs": "xfs", "mount": "/a"})
    (step,) = plan(want, host(group("vg_ext", live)))
    assert ["~ lvm.vg_ext/lv_a.fs 5 GiB -> 10 GiB   online grow"] == lines((step,))


def test_a_file_system_that_is_not_mounted_holds_growth_up():
    live = volume("lv_a", fs="xfs")
    now = host(group("vg_ext", live))
    (told,) = refused(wanted(lv_a={"size": "20GiB", "fs": "xfs"}), now)
    assert "grows only while it is mounted" in told
    want = wanted(lv_a={"size": "20GiB", "fs": "xfs", "mount": "/a"})
    first = plan(want, now)
    assert ["mount"] == [step.kind for step in first]
    assert ["vg_ext/lv_a grows once it is mounted"] == notes(want, now)
    assert ["lv.extend"] == [step.kind for step in plan(want, after(now, first))]


def test_swap_does_not_grow():
    now = host(group("vg_ext", volume("lv_a", fs="swap")))
    (told,) = refused(wanted(lv_a={"size": "20GiB", "fs": "swap"}), now)
    assert "swap space does not grow" in told


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"volumes": {"lv_a": {"size": "200GiB"}}}, "use at most 102396MiB"),
        ({"headroom": "99GiB", "volumes": {"lv_a": {"size": "2GiB"}}}, "99 GiB of it are headroom"),
        ({"headroom": "200GiB", "volumes": {"lv_a": {}}}, "100%FREE more are wanted"),
        ({"volumes": {"lv_a": {}, "lv_b": {}}}, "with lv_a it comes to 200% of what is free"),
        ({"volumes": {"lv_a": {"size": "1%VG", "fs": "xfs"}, "lv_b": {}}}, None),
    ],
)
def test_what_does_not_fit_is_refused(tree, told):
    want, now = parsed({"volume_groups": {"vg_ext": tree}}), host(group("vg_ext"))
    if told is None:
        assert plan(want, now)
    else:
        assert any(told in line for line in refused(want, now))


def test_too_small_a_share_for_xfs_is_refused():
    want = wanted(lv_a={"size": "1%FREE", "fs": "xfs"})
    (told,) = refused(want, host(group("vg_ext", extents=2560)))
    assert "it would get 100 MiB; xfs wants 300 MiB or more (CS-V127)" == told


# --- groups and devices


@pytest.mark.parametrize("name", ["/dev/sdc", "/dev/disk/by-id/wwn-0xc"])
def test_a_group_is_extended_onto_a_blank_device_by_any_of_its_names(name):
    want = made("/dev/sdb", name, lv_a={"size": "150GiB"})
    steps = plan(want, host(group("vg_ext"), devices=[SDC]))
    assert [
        '~ lvm.vg_ext.devices ["/dev/sdb"] -> ["/dev/sdb","/dev/sdc"]   hitless',
        "+ lvm.vg_ext/lv_a 150 GiB   hitless; ~49.99 GiB stay free",
    ] == lines(steps)
    (member,) = act_of(steps[0]).members
    assert ("/dev/sdc", name) == (member.path, member.name)


def test_a_device_that_no_document_names_stays_in_its_group():
    live = group("vg_ext", devices=("/dev/sdb", "/dev/sdc"))
    assert () == plan(made("/dev/sdb"), host(live))


PARTITIONED = device("/dev/sda", uses=("has partitions",))


@pytest.mark.parametrize(
    ("name", "others", "told"),
    [
        ("/dev/sdx", [], "there is no device /dev/sdx"),
        ("/dev/sda", [PARTITIONED, device("/dev/sda4")], "did you mean /dev/sda4?"),
        ("/dev/sda", [PARTITIONED], "name a blank partition of it"),
        ("/dev/sdd", [device("/dev/sdd", uses=("is mounted at /",))], "is mounted at /"),
        (
            "/dev/sdd",
            [device("/dev/sdd", pv_uuid="x", vg="vg_root", uses=("is a PV of vg_root",))],
            "nothing is ever taken from another group",
        ),
    ],
)
def test_a_device_that_is_not_blank_is_refused_with_the_way_out(name, others, told):
    (line,) = refused(made(name, lv_a={}), host(devices=others))
    assert told in line


def test_a_group_is_not_made_anew_on_other_devices():
    (told,) = refused(made("/dev/sdc"), host(group("vg_ext"), devices=[SDC]))
    assert (
        "vg_ext is on /dev/sdb already, and is not made anew on other devices; "
        "did you mean /dev/sdb? (CS-V153)"
    ) == told


def test_two_names_of_one_device_are_seen():
    names = ["/dev/sdc", *SDC.names]
    two = {"vg_ext": {"devices": names[:1]}, "vg_fast": {"devices": names[1:]}}
    for tree in (two, {"vg_ext": {"devices": names}}):
        (told,) = refused(parsed({"volume_groups": tree}), host(devices=[SDC]))
        assert "is a device of vg_ext already, by another name" in told


def test_only_groups_of_the_settings_are_touched():
    want = parsed({"volume_groups": {"vg_root": {"volumes": {"lv_a": {}}}}})
    (told,) = refused(want, host(group("vg_root")))
    assert "add it to drivers.lvm.volume_groups" in told


@pytest.mark.parametrize("name", ["lv-a", "LV_A", "_lv", "a" * 64])
def test_new_names_are_plain(name):
    (told,) = refused(wanted(**{name: {"size": "1GiB"}}), host(group("vg_ext")))
    assert "CS-V155" in told
    assert () == plan(wanted(**{name: {}}), host(group("vg_ext", volume(name))))


def test_extents_of_a_group_stay_as_they_are():
    want = parsed({"volume_groups": {"vg_ext": {"extent_size": "32MiB"}}})
    (told,) = refused(want, host(group("vg_ext")))
    assert "the extents of vg_ext are of 4 MiB, and stay so" in told


def test_a_group_without_devices_must_be_there():
    (told,) = refused(wanted(lv_a={}), host())
    assert "name its devices" in told
    assert () == plan(wanted(lv_a={"retire": True}), host())


def test_a_group_in_trouble_refuses_what_is_to_be_done_in_it_and_nothing_else():
    live = group("vg_ext", volume("lv_a"), trouble=("a physical volume is missing",))
    want = wanted(lv_a={"size": "20GiB"})
    with pytest.raises(HostBusy, match="volume group vg_ext: a physical volume is missing"):
        plan(want, host(live))
    assert () == plan(wanted(lv_a={}), host(live))
    assert ["vg_ext: a physical volume is missing"] == notes(wanted(lv_a={}), host(live))


# --- whose it is


def test_a_foreign_volume_is_told_and_holds_nothing_up():
    now = host(group("vg_ext", volume("lv_a", tags=())))
    want = wanted(lv_a={"size": "20GiB", "fs": "xfs", "mount": "/a"}, lv_b={"size": "1GiB"})
    assert ["vg_ext/lv_b"] == [step.target for step in plan(want, now)]
    assert ["vg_ext/lv_a is there and is not ours, it is left alone: confsync adopt lvm"] == notes(
        want, now
    )


def test_a_volume_that_was_taken_over_gets_our_tags():
    live = volume("lv_a", tags=("theirs",))
    (step,) = plan(wanted(lv_a={}), host(group("vg_ext", live), adopted=(live.uuid,)))
    assert ("theirs",) == act_of(step).old
    assert tagged("lv_a", "theirs") == act_of(step).new


def test_a_tag_that_went_lost_comes_back_and_one_that_was_given_up_goes():
    live = volume("lv_a", tags=("confsync.managed", "a", "theirs"))
    had, want = wanted(lv_a={"tags": ["a"]}), wanted(lv_a={"tags": ["b"]})
    (step,) = plan(want, host(group("vg_ext", live)), had)
    assert tagged("lv_a", "b", "theirs") == act_of(step).new


def test_a_volume_under_another_uuid_is_refused():
    now = host(group("vg_ext", volume("lv_a")), known={"vg_ext/lv_a": uuid_for("once")})
    (told,) = refused(wanted(lv_a={}), now)
    assert "is another volume than before" in told


def test_a_volume_that_another_hand_renamed_is_not_made_anew():
    now = host(group("vg_ext", volume("lv_b", tags=tagged("lv_a"))))
    told = refused(wanted(lv_a={"size": "1GiB"}, lv_b={}), now)
    assert 2 == len(told)
    assert all("lvrename vg_ext lv_b lv_a" in line for line in told)


def test_what_is_not_declared_is_never_touched():
    thin = volume("pool", layout="thin,pool", tags=())
    raid = volume("lv_raid", layout="raid,raid1")
    now = host(group("vg_ext", thin, raid, volume("lv_mine"), volume("lv_theirs", tags=())))
    want = wanted(lv_raid={"size": "90GiB"})
    assert () == plan(want, now)
    assert [
        (
            "vg_ext/lv_mine is ours and no document names it any more: it is left alone; "
            "to take it out of use: retire: true"
        ),
        "vg_ext: lv_raid (raid,raid1) left alone: only linear volumes are managed for now",
        "vg_ext: pool (thin,pool) left alone: only linear volumes are managed for now",
    ] == notes(want, now)


# --- file systems and mounts


def test_a_file_system_is_made_where_none_was_wanted_before():
    want, now = wanted(lv_a={"fs": "ext4"}), host(group("vg_ext", volume("lv_a")))
    (step,) = plan(want, now, wanted(lv_a={}))
    assert [
        "+ lvm.vg_ext/lv_a.fs ext4   data loss; what lies on it without a signature is lost"
    ] == lines((step,))
    (told,) = refused(want, host(group("vg_ext", volume("lv_a", open=True))))
    assert "it is in use as it is" in told


@pytest.mark.parametrize("had", [None, wanted(lv_a={"fs": "ext4"})])
def test_a_file_system_that_went_lost_is_not_made_anew(had):
    now = host(group("vg_ext", volume("lv_a")))
    with pytest.raises(SchemaViolated, match="it may be damaged: mend it by hand"):
        plan(wanted(lv_a={"fs": "ext4"}), now, had)


def test_a_file_system_is_never_replaced():
    now = host(group("vg_ext", volume("lv_a", fs="ext4")))
    (told,) = refused(wanted(lv_a={"fs": "xfs"}), now)
    assert "it holds ext4, and xfs is wanted; a file system is never replaced" in told
    assert () == plan(wanted(lv_a={}), now)


def test_what_is_inactive_is_activated_before_it_is_mounted():
    live = volume("lv_a", active=False, device="", fs=None)
    steps = plan(wanted(lv_a={"fs": "xfs", "mount": "/a"}), host(group("vg_ext", live)))
    assert ["lv.activate", "mount"] == [step.kind for step in steps]


def test_a_mount_of_another_hand_is_kept_and_never_doubled():
    line = "/dev/vg_ext/lv_a /a xfs defaults 0 0"
    for active in (True, False):
        live = volume("lv_a", fs="xfs", mounts=(Mount(where="/a", line=line, active=active),))
        now, want = host(group("vg_ext", live)), wanted(lv_a={"fs": "xfs", "mount": "/a"})
        assert () == plan(want, now)
        state = "" if active else ", and it is not mounted now"
        assert [f"vg_ext/lv_a is mounted by another hand ({line}){state}"] == notes(want, now)


def test_a_mount_by_hand_gets_a_unit():
    live = volume("lv_a", fs="xfs", mounts=(Mount(where="/a", active=True),))
    (step,) = plan(wanted(lv_a={"fs": "xfs", "mount": "/a"}), host(group("vg_ext", live)))
    assert ("a.mount", "") == (act_of(step).unit, act_of(step).old)


def test_a_volume_that_another_hand_mounts_elsewhere_is_refused():
    live = volume("lv_a", fs="xfs", mounts=(Mount(where="/b", active=True),))
    (told,) = refused(wanted(lv_a={"fs": "xfs", "mount": "/a"}), host(group("vg_ext", live)))
    assert "unmount it there, or say mount: /b" in told


def test_a_mount_that_moves_is_taken_away_first():
    now = host(group("vg_ext", mounted("lv_a", "/a")))
    steps = plan(wanted(lv_a={"fs": "xfs", "mount": "/b"}), now)
    assert [
        "- lvm.vg_ext/lv_a.mount /a   out of use",
        "+ lvm.vg_ext/lv_a.mount /b   hitless",
    ] == lines(steps)
    assert Impact.OUT_OF_USE is steps[0].impact


def test_a_folder_that_another_volume_holds_passes_to_the_next_one_in_two_changes():
    now = host(group("vg_ext", mounted("lv_a", "/a")))
    new = {"size": "1GiB", "fs": "xfs", "mount": "/a"}
    (told,) = refused(wanted(lv_b=new), now)
    assert "vg_ext/lv_a is mounted at /a; choose another folder" in told
    elsewhere = {"fs": "xfs", "mount": "/b"}
    (told,) = refused(wanted(lv_a=elsewhere, lv_b=new), now)
    assert "take its mount away first" in told
    then = after(now, plan(wanted(lv_a=elsewhere), now))
    steps = plan(wanted(lv_a=elsewhere, lv_b=new), then)
    assert ["lv.create", "mount"] == [step.kind for step in steps]


def test_other_options_are_written_and_hold_from_the_next_mount_on():
    now = host(group("vg_ext", mounted("lv_a", "/a")))
    want = wanted(lv_a={"fs": "xfs", "mount": "/a", "options": ["noatime"]})
    assert [
        "~ lvm.vg_ext/lv_a.options nofail -> nofail,noatime   hitless; holds from the next mount on"
    ] == lines(plan(want, now))


# --- retired and removed


def test_a_volume_is_retired_under_a_name_that_says_when():
    (step,) = plan(wanted(lv_a={"retire": True}), host(group("vg_ext", volume("lv_a"))))
    act = act_of(step)
    assert (f"trash.{NOW}.lv_a", True) == (act.to, act.was_active)
    (shown,) = step.differences
    assert {ObjectId("volume", "lvm.volumes", "vg_ext/lv_a")} == shown.hits
    assert [
        (
            f"- lvm.vg_ext/lv_a 10 GiB   out of use; kept as trash.{NOW}.lv_a, "
            "may be removed after 2025-12-04T15:00Z"
        )
    ] == lines((step,))


def test_what_is_in_use_is_not_retired():
    want = wanted(lv_a={"retire": True})
    assert [
        "it is mounted at /a; take it out of use first (mount: none), then retire it (CS-V144)"
    ] == (refused(want, host(group("vg_ext", mounted("lv_a", "/a")))))
    (told,) = refused(want, host(group("vg_ext", volume("lv_a", open=True))))
    assert "it is in use" in told


def test_a_unit_that_mounts_nothing_goes_with_its_volume():
    live = mounted("lv_a", "/a")
    idle = live.model_copy(
        update={"open": False, "mounts": (live.mounts[0].model_copy(update={"active": False}),)}
    )
    steps = plan(wanted(lv_a={"retire": True}), host(group("vg_ext", idle)))
    assert ["mount", "lv.retire"] == [step.kind for step in steps]
    assert "" == act_of(steps[0]).text


def trashed(name: str, at: int) -> Any:
    return volume(f"trash.{at}.{name}", active=False, device="", tags=tagged(name))


@pytest.mark.parametrize(
    ("age_s", "kinds", "told"),
    [(7 * DAY, ["lv.remove"], []), (7 * DAY - 1, [], ["is kept until"])],
)
def test_only_after_its_grace_period_a_named_volume_is_removed(age_s, kinds, told):
    old = trashed("lv_a", NOW - age_s)
    now = host(group("vg_ext", old))
    want = wanted(lv_a={"retire": True, "remove": old.uuid})
    steps = plan(want, now)
    assert kinds == [step.kind for step in steps]
    assert [Impact.DATA_LOSS for _ in kinds] == [step.impact for step in steps]
    assert len(told) == len(notes(want, now))
    assert all(word in note for word, note in zip(told, notes(want, now), strict=True))


def test_only_what_was_retired_under_its_name_is_removed():
    other = volume("lv_b")
    want = wanted(lv_a={"retire": True, "remove": other.uuid}, lv_b={})
    (told,) = refused(want, host(group("vg_ext", other)))
    assert "is vg_ext/lv_b, which was not retired" in told
    foreign = trashed("lv_a", NOW - 8 * DAY).model_copy(update={"tags": ()})
    want = wanted(lv_a={"retire": True, "remove": foreign.uuid})
    assert () == plan(want, host(group("vg_ext", foreign)))


def test_retired_and_named_at_once_waits():
    live = volume("lv_a")
    want = wanted(lv_a={"retire": True, "remove": live.uuid})
    now = host(group("vg_ext", live))
    steps = plan(want, now)
    assert ["lv.retire"] == [step.kind for step in steps]
    assert () == plan(want, after(now, steps))


def test_a_volume_whose_data_was_retired_is_not_made_anew_without_it():
    old = trashed("lv_a", NOW - DAY)
    (told,) = refused(wanted(lv_a={"size": "1GiB"}), host(group("vg_ext", old)))
    aside = f"trash.{NOW - DAY}.lv_a"
    assert f"vg_ext/lv_a was retired as {aside}, with all that is in it" in told
    assert f"lvrename vg_ext {aside} lv_a && lvchange --setautoactivation y vg_ext/lv_a" in told
    assert f"remove: {old.uuid}" in told


# --- the law: after the steps a second plan is empty

FS = st.sampled_from(["none", "xfs", "ext4", "swap"])
NAMES = ["lv_a", "lv_b", "lv_c", "lv-d"]


@st.composite
def documents(draw):
    volumes = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        fs = draw(FS)
        size = draw(st.sampled_from(["1GiB", "10GiB", "12GiB", "10000000KB", "20%FREE", "5%VG"]))
        one = {"size": size, "fs": fs, "tags": draw(st.sampled_from([[], ["x"], ["y"]]))}
        if fs in ("xfs", "ext4") and draw(st.booleans()):
            one["mount"] = draw(st.sampled_from([f"/{name}", f"/{name}/in", f"/other/{name}"]))
        if draw(st.integers(0, 5)) == 0:
            one = {"retire": True}
            if draw(st.booleans()):
                one["remove"] = trashed(name, NOW - 8 * DAY).uuid
        volumes[name] = one
    devices = draw(st.sampled_from([[], ["/dev/sdb"], ["/dev/sdb", "/dev/sdc"]]))
    return {
        "volume_groups": {
            "vg_ext": {
                "devices": devices,
                "headroom": draw(st.sampled_from([0, "1GiB"])),
                "volumes": volumes,
            }
        }
    }


@st.composite
def live_volumes(draw, name, want):
    fs = want.get("fs", "none")
    holds = "" if fs == "none" else draw(st.sampled_from([fs, fs, ""]))
    extents = draw(st.sampled_from([256, 2560, 2560]))
    active = draw(st.booleans()) or draw(st.booleans())
    grown = draw(st.booleans())
    tags = draw(st.sampled_from([tagged(name), tagged(name), tagged(name, "x"), ("theirs",)]))
    mounts = ()
    where = draw(st.sampled_from(["", want.get("mount", ""), f"/{name}"]))
    if where and holds in ("xfs", "ext4") and active:
        text = unit_text(f"/dev/vg_ext/{name}", where, fs, ())
        ours = draw(st.booleans())
        line = "" if ours else draw(st.sampled_from(["", "an fstab line"]))
        mounts = (
            Mount(
                where=where,
                unit="some.mount" if ours else "",
                text=text if ours else "",
                line=line,
                active=draw(st.booleans()) or not (ours or line),
            ),
        )
    return volume(
        name,
        extents,
        tags=tags,
        active=active,
        device="254:7" if active else "",
        fs=holds if active else None,
        fs_bytes=extents * 4 * MIB // (1 if grown else 2) if holds and active else None,
        mounts=mounts,
        open=any(one.active for one in mounts),
    )


@st.composite
def cases(draw):
    tree = draw(documents())
    volumes = tree["volume_groups"]["vg_ext"]["volumes"]
    if not draw(st.integers(0, 3)):
        return tree, host(devices=[SDB, SDC])
    live = [
        draw(live_volumes(name, volumes.get(name, {})))
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True))
    ]
    live += [
        trashed(name, NOW - draw(st.sampled_from([1, 8])) * DAY)
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=1))
    ]
    adopted = [one.uuid for one in live if draw(st.booleans())]
    return tree, host(group("vg_ext", *live), devices=[SDC], adopted=adopted)


def raw(tree: Any) -> Any:
    """Return the document without file systems."""
    volumes = tree["volume_groups"]["vg_ext"]["volumes"]
    return {"volume_groups": {"vg_ext": {"volumes": {name: {} for name in volumes}}}}


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(cases())
def test_after_the_steps_a_second_plan_is_empty(case):
    tree, now = case
    want = parsed(tree)
    try:
        first = plan(want, now, parsed(raw(tree)))
    except SchemaViolated:
        event("refused")
        return
    event(f"{len(first)} steps")
    content = {one.name: "" if one.fs is FileSystem.NONE else str(one.fs) for _, one in want.pairs}
    later = after(now, first, content)
    second = plan(want, later, want)
    waited = [note for note in notes(want, now) if "grows once it is mounted" in note]
    if waited:
        event("grows in a second go")
        assert {"lv.extend", "fs.grow"} >= {step.kind for step in second}
        second = plan(want, after(later, second), want)
    assert [] == lines(second)
    untouched = {one.uuid: one for live in now.groups for one in live.volumes}
    targets = {step.target for step in first}
    for live in later.groups:
        for one in live.volumes:
            if one.uuid in untouched and f"vg_ext/{one.name}" not in targets | _retired(first):
                assert untouched[one.uuid] == one


def _retired(steps: tuple[Step, ...]) -> set[str]:
    return {f"vg_ext/{act_of(step).to}" for step in steps if step.kind == "lv.retire"}
