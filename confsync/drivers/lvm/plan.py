"""From what is wanted and a host's storage to ordered steps.

Separate because this is where it is decided what LVM does, and it is pure: sizes and names are
resolved here, once, against one reading. Invariant: after the steps a second plan is empty. Only
what is ours or absent is planned for; whatever else is met is noted and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confsync.drivers.lvm.draft import Draft, Weighed, change
from confsync.drivers.lvm.found import Device, Group, Host, Volume
from confsync.drivers.lvm.mounts import SWAP
from confsync.drivers.lvm.names import trash_of, unfit
from confsync.drivers.lvm.sizes import extents_on, told
from confsync.drivers.lvm.space import Space
from confsync.drivers.lvm.step import CreateGroup, ExtendGroup, Member
from confsync.drivers.lvm.storage import Storage, WantedGroup, WantedVolume
from confsync.drivers.lvm.volume_plan import VolumePlan, is_owned
from confsync.model.ids import canonical, digest
from confsync.model.plan import Step

EXTENT_BYTES = 4 * 1024 * 1024
"""LVM's own default."""
_NONCE_DIGITS = 16


def weigh(want: Storage, had: Storage | None, host: Host) -> Weighed:
    """Return the steps from a host's storage to what is wanted, and all that stands against them.

    Shape: `had` is what was wanted before; tags that it named and `want` does not are taken off.
    """
    nonce = _nonce(want, host)
    steps: list[tuple[int, int, Step]] = []
    faults, stopped, notes = [], [], []
    old = {(group.name, one.name): one for group, one in had.pairs} if had else {}
    taken: dict[str, str] = {}
    held = _held(host)
    for group in want.groups:
        live = next((one for one in host.groups if one.name == group.name), None)
        draft = Draft(host, nonce, group.name, live, held)
        _plan_group(draft, group, old, taken)
        if live and live.trouble and (draft.steps or draft.faults):
            stopped.append(f"volume group {group.name}: {', '.join(live.trouble)}")
        else:
            steps += draft.steps
            faults += draft.faults
            notes += [f"{group.name}: {one}" for one in (live.trouble if live else ())]
        notes += draft.notes
    ordered = sorted(steps, key=lambda one: (one[0], one[1], one[2].target))
    return Weighed(tuple(step for *_, step in ordered), tuple(faults), tuple(stopped), tuple(notes))


def _held(host: Host) -> dict[str, str]:
    """Return the folders on which volumes are mounted.

    Why those as well that are taken away by the same change: a folder that passes from one volume
    to another is two changes, so that each can be taken back by itself.
    """
    return {
        mount.where: f"{group.name}/{one.name}"
        for group in host.groups
        for one in group.volumes
        for mount in one.mounts
        if mount.where != SWAP
    }


def _nonce(want: Storage, host: Host) -> str:
    """Return the plan's name: the same for the same wish and reading."""
    reading = host.model_dump(mode="json", exclude={"at"})
    return digest(canonical([want.tree(), reading]))[:_NONCE_DIGITS]


def _plan_group(
    draft: Draft,
    want: WantedGroup,
    old: Mapping[tuple[str, str], WantedVolume],
    taken: dict[str, str],
) -> None:
    """Plan one group: its devices, then its volumes."""
    live = draft.group
    if want.name not in draft.host.allowed:
        known = ", ".join(draft.host.allowed) or "none"
        hint = f"add it to drivers.lvm.volume_groups in the agent's settings (there: {known})"
        draft.refuse("CS-V150", want.at.place(), "the settings do not let it be touched", hint)
        return
    members = _members(draft, want, taken)
    extent_bytes = live.extent_bytes if live else want.extent_bytes or EXTENT_BYTES
    if live is None and not _make_group(draft, want, members, extent_bytes):
        return
    if live is not None:
        _keep_group(draft, want, live, members)
    come = sum(extents_on(one.size_bytes, extent_bytes) for one in members)
    space = Space(
        extent_bytes=extent_bytes,
        extents=(live.extents if live else 0) + come,
        free=(live.free if live else 0) + come,
        headroom_bytes=want.headroom_bytes,
    )
    planning = VolumePlan(draft, space)
    for one in want.volumes:
        planning.volume(one, old.get((want.name, one.name)))
    planning.settle()
    if live is not None:
        draft.notes.extend(_left_alone(draft.host, want, live))


def _members(draft: Draft, want: WantedGroup, taken: dict[str, str]) -> list[Member]:
    """Return the devices that are to become members; each is proved to be known and unused."""
    found = []
    inside = 0
    for name in want.devices:
        device = _device(draft.host, name)
        place = want.at.place("devices")
        if device is None:
            hint = "see: ls -l /dev/disk/by-id"
            draft.refuse("CS-V151", place, f"there is no device {name} on this host", hint)
            continue
        called = name if name == device.path else f"{name} ({device.path})"
        if device.path in taken:
            message = f"{called} is a device of {taken[device.path]} already, by another name"
            draft.refuse("CS-V123", place, message, "a device is in one group, once")
            continue
        taken[device.path] = want.name
        if device.vg == want.name:
            inside += 1
        elif device.uses:
            message = f"{called} {', '.join(device.uses)}"
            draft.refuse("CS-V152", place, message, _way_out(draft.host, device))
        else:
            found.append(Member(path=device.path, name=name, size_bytes=device.size_bytes))
    if draft.group and want.devices and not inside:
        there = [_stable(draft.host, path) for path in draft.group.devices]
        paths = ", ".join(draft.group.devices)
        message = f"{want.name} is on {paths} already, and is not made anew on other devices"
        hint = f"did you mean {', '.join(there)}?"
        draft.refuse("CS-V153", want.at.place("devices"), message, hint)
        return []
    return found


def _device(host: Host, name: str) -> Device | None:
    return next((one for one in host.devices if name == one.path or name in one.names), None)


def _stable(host: Host, path: str) -> str:
    """Return the name under which a device is best written."""
    device = _device(host, path)
    by_id = sorted(one for one in (device.names if device else ()) if "/by-id/" in one)
    return by_id[0] if by_id else path


def _way_out(host: Host, device: Device) -> str:
    """Return what to do about a device that is not blank."""
    if "has partitions" in device.uses:
        inner = (one for one in host.devices if one.path.startswith(device.path))
        blank = [_stable(host, one.path) for one in inner if one is not device and not one.uses]
        return f"did you mean {blank[0]}?" if blank else "name a blank partition of it"
    if device.vg:
        return "name a device that is blank; nothing is ever taken from another group"
    if device.pv_uuid:
        return "name a device that is blank, or take its label off by hand: pvremove"
    return "name a device that is blank, or clear it by hand if nothing of it is needed"


def _make_group(draft: Draft, want: WantedGroup, members: list[Member], extent_bytes: int) -> bool:
    """Plan a group that is not there; False = there is nothing to make it of."""
    place = want.at.place()
    if not want.devices:
        kept = [one for one in want.volumes if not one.retire]
        if kept:
            message = f"there is no volume group {want.name}, and no devices to make it of"
            draft.refuse("CS-V154", place, message, "name its devices")
        return False
    if why := unfit(want.name):
        draft.refuse("CS-V155", place, f"{want.name} cannot be made", why)
    if len(members) < len(want.devices):
        return False
    act = CreateGroup(**draft.base, members=tuple(members), extent_bytes=extent_bytes)
    after = f"{told(sum(one.size_bytes for one in members))} on {_listed(members)}"
    draft.add(act, want.name, change(f"lvm.{want.name}", None, after))
    return True


def _keep_group(draft: Draft, want: WantedGroup, live: Group, members: list[Member]) -> None:
    """Plan a group that is there: it may get more devices, and nothing else."""
    if want.extent_bytes not in (None, live.extent_bytes):
        message = f"the extents of {want.name} are of {told(live.extent_bytes)}, and stay so"
        draft.refuse("CS-V156", want.at.place("extent_size"), message, "leave it out")
    if members:
        act = ExtendGroup(**draft.base, members=tuple(members))
        after = [*live.devices, *(one.path for one in members)]
        shown = change(f"lvm.{want.name}.devices", list(live.devices), after)
        draft.add(act, want.name, shown)


def _listed(members: list[Member]) -> str:
    return ", ".join(one.name for one in members)


def _left_alone(host: Host, want: WantedGroup, live: Group) -> Iterator[str]:
    """Yield what is there and no document speaks of."""
    wanted = {one.name for one in want.volumes}
    kinds: dict[str, list[str]] = {}
    for one in live.volumes:
        if one.layout != "linear":
            kinds.setdefault(one.layout, []).append(one.name)
        elif is_owned(host, one) and one.name not in wanted:
            yield from _orphan(one, live, wanted)
    for layout, names in sorted(kinds.items()):
        yield (
            f"{live.name}: {', '.join(names)} ({layout}) left alone: only linear volumes are "
            f"managed for now"
        )


def _orphan(one: Volume, live: Group, wanted: set[str]) -> Iterator[str]:
    trash = trash_of(one.name)
    if trash is None:
        yield (
            f"{live.name}/{one.name} is ours and no document names it any more: it is left alone; "
            f"to take it out of use: retire: true"
        )
    elif trash.name not in wanted:
        yield f"{live.name}/{one.name} was retired and is kept (UUID {one.uuid})"
