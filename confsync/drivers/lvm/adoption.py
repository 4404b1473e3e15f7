"""Which volumes of a host are what a document wants, and may be taken over.

Separate because it is a judgement and touches nothing: the planner itself is asked what it would
do if all of them were ours. A volume with nothing to do but its tags is as wanted; of any other
one it is told what differs, and it stays another's.
"""

from __future__ import annotations

from collections.abc import Iterator

from confsync.drivers.lvm.found import Host, Volume
from confsync.drivers.lvm.plan import weigh
from confsync.drivers.lvm.storage import Storage, WantedGroup, WantedVolume
from confsync.drivers.lvm.volume_plan import is_owned
from confsync.ports import Survey

_TAGS = "lv.tags"


def survey(want: Storage, host: Host) -> Survey:
    """Return what adopting would record: ``{"names": {group/volume: UUID}}``, and what differs."""
    found = {_path(group, one): (one, live) for group, one, live in _theirs(want, host)}
    taken = (*host.adopted, *(live.uuid for _, live in found.values()))
    weighed = weigh(want, None, host.model_copy(update={"adopted": taken}))
    lost: dict[str, str] = {
        path: f"{path} is {live.layout}: only linear volumes are managed for now"
        for path, (_, live) in found.items()
        if live.layout != "linear"
    }
    for fault in weighed.faults:
        for path, (one, _) in found.items():
            if fault.path[: len(one.at.place())] == one.at.place():
                lost.setdefault(path, f"{path}: {fault.message}")
    for step in weighed.steps:
        if step.target in found and step.kind != _TAGS:
            lost.setdefault(step.target, step.summary)
    record = {path: live.uuid for path, (_, live) in found.items() if path not in lost}
    if not record:
        why = "no volume that a document wants is there as it is wanted, and not ours already"
        return Survey(None, "; ".join((why, *lost.values())))
    return Survey({"names": record}, lost=tuple(lost.values()))


def _theirs(want: Storage, host: Host) -> Iterator[tuple[WantedGroup, WantedVolume, Volume]]:
    """Yield the volumes that are wanted, there, and not ours."""
    live = {(group.name, one.name): one for group in host.groups for one in group.volumes}
    for group, one in want.pairs:
        volume = live.get((group.name, one.name))
        if volume is not None and not one.retire and not is_owned(host, volume):
            yield group, one, volume


def _path(group: WantedGroup, volume: WantedVolume) -> str:
    return f"{group.name}/{volume.name}"
