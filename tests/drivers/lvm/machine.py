"""A host with LVM as a value: what acts do to it, and how lvm and lsblk would tell of it.

It knows nothing of how a plan is made. An act that a real host would refuse is an AssertionError.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confsync.drivers.lvm.found import Device, Group, Host, Mount, Segment, Volume
from confsync.drivers.lvm.step import (
    Act,
    Activate,
    ChangeTags,
    CreateGroup,
    CreateVolume,
    ExtendGroup,
    ExtendVolume,
    FileSystem,
    GrowFileSystem,
    MakeFileSystem,
    MountVolume,
    Remove,
    Retire,
    act_of,
)
from confsync.model.ids import canonical, digest
from confsync.model.plan import Step
from confsync.model.section import Observed, Ownership

MIB, GIB = 2**20, 2**30
NOW = 1_764_255_600
DAY = 86_400


def device(path: str, size_gib: int = 100, **rest: Any) -> Device:
    return Device(path=path, size_bytes=size_gib * GIB, **rest)


def volume(name: str, extents: int = 2560, **rest: Any) -> Volume:
    """Return an active volume of ours, 10 GiB of it."""
    told = {
        "uuid": uuid_for(name),
        "tags": tagged(name),
        "active": True,
        "device": f"254:{sum(map(ord, name)) % 200}",
        "fs": "",
        **rest,
    }
    return Volume(name=name, extents=extents, **told)


def tagged(name: str, *more: str) -> tuple[str, ...]:
    return tuple(sorted(("confsync.managed", f"confsync.id={name}", *more)))


def uuid_for(name: str) -> str:
    letters = digest(name.encode())
    cuts = ((0, 6), (6, 10), (10, 14), (14, 18), (18, 22), (22, 26), (26, 32))
    return "-".join(letters[start:end] for start, end in cuts)


def group(name: str, *volumes: Volume, extents: int = 25_599, **rest: Any) -> Group:
    """Return a group of 100 GiB on /dev/sdb."""
    used = sum(one.extents for one in volumes)
    told = {
        "uuid": uuid_for(name),
        "extent_bytes": 4 * MIB,
        "free": extents - used,
        "devices": ("/dev/sdb",),
        **rest,
    }
    return resealed(Group(name=name, extents=extents, digest="", volumes=volumes, **told))


def resealed(one: Group) -> Group:
    told = one.model_dump(mode="json", exclude={"digest"})
    return one.model_copy(update={"digest": digest(canonical(told))})


def host(*groups: Group, devices: Iterable[Device] = (), **rest: Any) -> Host:
    members = [
        device(path, pv_uuid=uuid_for(path), vg=one.name, uses=(f"is a member of {one.name}",))
        for one in groups
        for path in one.devices
    ]
    told = {"binary": "/usr/sbin/lvm", "at": NOW, "allowed": ("vg_ext", "vg_fast"), **rest}
    return Host(groups=groups, devices=(*members, *devices), **told)


def seen(now: Host) -> Observed:
    """Return what the driver would observe."""
    return Observed(Ownership.OWNED, json.loads(now.model_dump_json()))


def after(now: Host, steps: Iterable[Step], content: Mapping[str, str] | None = None) -> Host:
    """Return the host after apply and commit of every step.

    `content` is what lies on inactive volumes, by their names: it shows when they are activated.
    """
    machine = Machine(now, content or {})
    acts = [act_of(step) for step in steps]
    for act in acts:
        machine.check(act)
    for act in acts:
        machine.apply(act)
    for act in acts:
        machine.commit(act)
    return machine.host


@dataclass
class Machine:
    """A host on which acts are done, one after another."""

    host: Host
    content: Mapping[str, str]

    def check(self, act: Act) -> None:
        """Hold what every step may rely on: the group is the one that was planned on."""
        live = self._find(act.vg)
        if act.vg_uuid:
            assert live is not None
            assert not live.trouble
            assert (act.vg_uuid, act.vg_digest) == (live.uuid, live.digest)
        else:
            assert live is None
        assert act.nonce
        if isinstance(act, MakeFileSystem):
            assert "" == self._volume(act).fs
        if isinstance(act, ExtendVolume | GrowFileSystem) and act.fs is not FileSystem.NONE:
            assert act.mount in [one.where for one in self._volume(act).mounts if one.active]

    def apply(self, act: Act) -> None:
        match act:
            case CreateGroup():
                self._create_group(act)
            case ExtendGroup():
                self._extend_group(act)
            case CreateVolume():
                self._create(act)
            case MakeFileSystem():
                size = self._size(act, self._volume(act).extents)
                self._change(act, fs=str(act.fs), fs_bytes=size)
            case ExtendVolume():
                self._extend(act)
            case ChangeTags():
                assert act.old == self._volume(act).tags
                self._change(act, tags=act.new)
            case Activate():
                found = self._volume(act)
                assert not found.active
                fs = self.content.get(found.name, "")
                size = self._size(act, found.extents) if fs else None
                self._change(act, active=True, device="254:201", fs=fs, fs_bytes=size)
            case MountVolume():
                self._mount(act)
            case Retire():
                live = self._volume(act)
                assert not live.open
                assert [] == [one for one in live.mounts if one.active or one.unit]
                self._change(act, name=act.to, active=False, device="", fs=None)
            case GrowFileSystem() | Remove():
                pass

    def commit(self, act: Act) -> None:
        if isinstance(act, ExtendVolume | GrowFileSystem) and act.fs is not FileSystem.NONE:
            self._change(act, fs_bytes=self._size(act, self._volume(act).extents))
        if isinstance(act, Remove):
            gone = self._volume(act)
            assert gone.name.startswith("trash.")
            live = self._group(act)
            kept = tuple(one for one in live.volumes if one is not gone)
            self._put(live, volumes=kept, free=live.free + gone.extents)

    # --- acts

    def _create_group(self, act: CreateGroup) -> None:
        assert act.members
        extents = sum((one.size_bytes - MIB) // act.extent_bytes for one in act.members)
        new = group(act.vg, extents=extents, extent_bytes=act.extent_bytes, devices=())
        self.host = self.host.model_copy(update={"groups": (*self.host.groups, new)})
        self._take_devices(act, new)

    def _extend_group(self, act: ExtendGroup) -> None:
        live = self._group(act)
        more = sum((one.size_bytes - MIB) // live.extent_bytes for one in act.members)
        self._put(live, extents=live.extents + more, free=live.free + more)
        self._take_devices(act, self._group(act))

    def _take_devices(self, act: CreateGroup | ExtendGroup, live: Group) -> None:
        paths = {one.path for one in act.members}
        for one in self.host.devices:
            assert one.path not in paths or not one.uses
        devices = tuple(
            one.model_copy(update={"vg": act.vg, "pv_uuid": uuid_for(one.path), "uses": ("PV",)})
            if one.path in paths
            else one
            for one in self.host.devices
        )
        self.host = self.host.model_copy(update={"devices": devices})
        self._put(live, devices=tuple(sorted((*live.devices, *paths))))

    def _create(self, act: CreateVolume) -> None:
        live = self._group(act)
        assert 0 < act.extents <= live.free
        assert act.lv not in [one.name for one in live.volumes]
        fs = "" if act.fs is FileSystem.NONE else str(act.fs)
        size = self._size(act, act.extents) if fs else None
        rest = {"uuid": uuid_for(act.vg + act.lv + act.nonce), "tags": tuple(sorted(act.tags))}
        new = volume(act.lv, act.extents, fs=fs, fs_bytes=size, **rest)
        volumes = tuple(sorted((*live.volumes, new), key=lambda one: one.name))
        self._put(live, free=live.free - act.extents, volumes=volumes)

    def _extend(self, act: ExtendVolume) -> None:
        live, found = self._group(act), self._volume(act)
        more = act.new_extents - found.extents
        assert act.old_extents == found.extents
        assert 0 < more <= live.free
        self._put(live, free=live.free - more)
        self._change(act, extents=act.new_extents)

    def _mount(self, act: MountVolume) -> None:
        live = self._group(act)
        found = next(one for one in live.volumes if one.name == act.lv)
        had = next((one for one in found.mounts if one.where == act.where), None)
        assert act.old == (had.text if had else "")
        others = tuple(one for one in found.mounts if one.where != act.where)
        new = Mount(where=act.where, unit=act.unit, text=act.text, active=True)
        mounts = (*others, new) if act.text else others
        assert not act.text or found.active
        assert not act.text or found.fs
        changed = found.model_copy(update={"mounts": mounts, "open": bool(mounts)})
        self._put(live, volumes=tuple(changed if o is found else o for o in live.volumes))

    # --- finding

    def _size(self, act: Act, extents: int) -> int:
        return extents * self._group(act).extent_bytes

    def _find(self, name: str) -> Group | None:
        return next((one for one in self.host.groups if one.name == name), None)

    def _group(self, act: Act) -> Group:
        found = self._find(act.vg)
        assert found is not None
        return found

    def _volume(self, act: Any) -> Volume:
        volumes = self._group(act).volumes
        (found,) = [one for one in volumes if one.uuid == act.lv_uuid]
        return found

    def _change(self, act: Any, **changes: Any) -> None:
        found = self._volume(act)
        changed = found.model_copy(update=changes)
        live = self._group(act)
        self._put(live, volumes=tuple(changed if one is found else one for one in live.volumes))

    def _put(self, live: Group, **changes: Any) -> None:
        new = resealed(live.model_copy(update=changes))
        groups = tuple(new if one.name == live.name else one for one in self.host.groups)
        self.host = self.host.model_copy(update={"groups": groups})


# --- as tools tell it


def lvm_report(now: Host, *, std: bool = False) -> str:
    """Return the host's groups as lvm reports them: ``json``, or ``json_std``."""
    parts: list[dict[str, Any]] = [_group_part(one, now, std=std) for one in now.groups]
    orphans = [_pv_row(one, std=std) for one in now.devices if one.pv_uuid and not one.vg]
    if orphans:
        parts.append({"pv": orphans, "pvseg": [{"pvseg_start": "0"}]})
    told: dict[str, Any] = {"report": parts}
    return json.dumps({**told, "log": []} if std else told)


def _group_part(one: Group, now: Host, *, std: bool) -> dict[str, Any]:
    number = int if std else str
    words = list if std else ",".join
    flag = (lambda truth, word: int(truth)) if std else (lambda truth, word: word if truth else "")
    paths = {dev.pv_uuid: dev.path for dev in now.devices if dev.vg == one.name}
    size = one.extent_bytes
    vg = {
        "vg_uuid": one.uuid,
        "vg_name": one.name,
        "vg_seqno": number(7),
        "vg_extent_size": str(size),
        "vg_extent_count": number(one.extents),
        "vg_free_count": number(one.free),
        "vg_missing_pv_count": number(0),
        "vg_exported": flag(False, "exported"),
        "vg_permissions": "writeable",
        "vg_systemid": "",
        "vg_shared": flag(False, "shared"),
        "vg_clustered": flag(False, "clustered"),
        "vg_tags": words(one.tags),
    }
    lvs, segs = [], []
    for each in one.volumes:
        major, minor = each.device.split(":") if each.device else ("-1", "-1")
        state = "a" if each.active else "-"
        lvs.append(
            {
                "lv_uuid": each.uuid,
                "lv_name": each.name,
                "lv_layout": words(each.layout.split(",")),
                "lv_role": words(["public"]),
                "lv_attr": f"-wi-{state}{'o' if each.open else '-'}----",
                "lv_size": str(each.extents * size),
                "lv_tags": words(each.tags),
                "lv_active": "active" if each.active else "",
                "lv_device_open": flag(each.open, "open"),
                "lv_suspended": flag(False, "suspended"),
                "lv_inactive_table": flag(False, "inactive table present"),
                "lv_health_status": "",
                "lv_kernel_major": number(major),
                "lv_kernel_minor": number(minor),
            }
        )
        segs += [
            {
                "lv_uuid": each.uuid,
                "seg_size_pe": number(run.extents),
                "seg_pe_ranges": words(
                    [f"{paths[run.pv_uuid]}:{run.start}-{run.start + run.extents - 1}"]
                ),
            }
            for run in each.segments
        ]
    pvs = [_pv_row(dev, std=std) for dev in now.devices if dev.vg == one.name]
    return {"vg": [vg], "pv": pvs, "lv": lvs, "pvseg": [], "seg": segs}


def _pv_row(one: Device, *, std: bool) -> dict[str, Any]:
    return {
        "pv_uuid": one.pv_uuid,
        "pv_name": one.path,
        "dev_size": str(one.size_bytes),
        "pv_missing": 0 if std else "",
        "pv_duplicate": 0 if std else "",
        "pv_allocatable": 1 if std else "allocatable",
    }


def lsblk(now: Host, **about: dict[str, Any]) -> str:
    """Return the host's devices as lsblk tells them; `about` adds to one, by its short name."""
    rows = []
    for one in now.devices:
        short = one.path.removeprefix("/dev/")
        row = {
            "path": one.path,
            "kname": short,
            "maj:min": f"8:{len(rows)}",
            "size": one.size_bytes,
            "type": "disk",
            "ro": False,
            "fstype": "LVM2_member" if one.pv_uuid else None,
            "uuid": None,
            "label": None,
            "pttype": None,
            "mountpoints": [None],
        }
        rows.append({**row, **about.get(short, {})})
    return json.dumps({"blockdevices": rows})


def segment(path: str, start: int, extents: int) -> Segment:
    return Segment(pv_uuid=uuid_for(path), start=start, extents=extents)
