"""Carries a site's resources to Calico's datastore, one object after the other, and back.

Separate because this joins what is read, written and read back. Each write names the version that
it was planned on; the way back touches an object only while it is as we made it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from pydantic import BaseModel, ConfigDict

from confsync.drivers.calico import objects
from confsync.drivers.calico.command import Calicoctl
from confsync.drivers.calico.resources import Kind, ObjectKey, Resources
from confsync.drivers.calico.step import Change, change_of, found_of
from confsync.model import limits
from confsync.model.errors import (
    ConfsyncError,
    HostBusy,
    HostRefused,
    NotVerified,
    RollbackFailed,
    StepFailed,
)
from confsync.model.ids import DriverName, Json, canonical
from confsync.model.plan import Step
from confsync.model.section import Observed, Ownership
from confsync.ports import Checkpoint, Position, Probe, Survey


class CalicoSettings(BaseModel):
    """How Calico's datastore is reached: by calicoctl, with its own settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    calicoctl: str = "calicoctl"
    config_file: str = "/etc/calico/calicoctl.cfg"


class CalicoDriver:
    """Calico's datastore of this site."""

    name = DriverName("calico")

    def __init__(self, settings: CalicoSettings) -> None:
        self._settings = settings

    def decode(self, record: Json) -> Step:
        """Return the step of a journal record. Raises JournalTooNew."""
        step = Step.from_json(record)
        change_of(step)
        return step

    def close(self) -> None:
        """There is no connection to give up."""

    async def heal(self) -> tuple[str, ...]:
        """Nothing is ever left about: each write is one transaction of the datastore."""
        return ()

    # --- looking

    async def observe(self, adopted: Json | None = None) -> Observed:  # noqa: ARG002
        """Return all objects of the managed kinds."""
        own = self._settings
        told = Calicoctl(own.calicoctl, own.config_file)
        try:
            version = await told.version()
            found = {str(kind): await told.list(kind) for kind in Kind}
        except ConfsyncError as fault:
            return Observed(Ownership.ABSENT, {}, str(fault))
        detail = {
            "calicoctl": own.calicoctl,
            "config_file": own.config_file,
            "version": version,
            "objects": {kind: list(items) for kind, items in found.items()},
        }
        return Observed(Ownership.OWNED, detail)

    async def pulse(self) -> str:
        """Return nothing: the datastore is asked when it is due, it costs six calls."""
        return ""

    async def survey(self, want: Resources | None) -> Survey:  # noqa: ARG002
        """Return that nothing is adopted here: an object is ours by what is applied."""
        message = "what is there already is taken over by --allow foreign:OBJECT, one by one"
        return Survey(None, message)

    # --- the acts

    async def check(self, step: Step) -> None:
        """Prove that the object is still the one that was planned on, and can be had back."""
        change = change_of(step)
        found = await self._as_planned(change)
        if found is not None and change.want is not None:
            made = objects.composed(change.key, _wanted(change, found), found)
            for old, new in ((found, made), (made, found)):
                _patchable(change.key, objects.body_of(new), old)

    async def checkpoint(self, step: Step) -> Checkpoint:
        """Return the object that stands there."""
        return {"object": await self._as_planned(change_of(step))}

    async def apply(self, step: Step, saved: Checkpoint, revert_after_s: float) -> None:  # noqa: ARG002
        """Write the object over the version that was saved, and read it back."""
        change, found = change_of(step), found_of(saved)
        told = _calicoctl(change)
        if change.want is None:
            await told.write("delete", found)
        else:
            await _put(told, change.key, _wanted(change, found), found)
        if await self.position(step, saved) is not Position.NEW:
            raise NotVerified(f"{change.key} is not what was written")

    async def undo(self, step: Step, saved: Checkpoint) -> None:
        """Put the object back, if it is as we made it. Idempotent.

        Why again and again: a way back that fails halts the site, and the datastore is away for
        moments, as while etcd elects a leader. And why not for long: the lease may be lost.
        """
        change, before = change_of(step), found_of(saved)
        until_s = time.monotonic() + limits.CALICO_UNDO_S
        while True:
            try:
                await _undo(change, before)
            except HostRefused as fault:
                raise _stuck(change, fault) from fault
            except StepFailed as fault:
                if time.monotonic() > until_s:
                    raise _stuck(change, fault) from fault
                await asyncio.sleep(limits.CALICO_UNDO_WAIT_S)
            else:
                return

    async def commit(self, step: Step, saved: Checkpoint) -> None:
        """Nothing is left to do: the object stands."""

    async def position(self, step: Step, saved: Checkpoint) -> Position:
        """Read the object and tell which one it is."""
        change = change_of(step)
        try:
            now = await _calicoctl(change).get(change.key)
        except ConfsyncError:
            return Position.UNKNOWN
        return _position(change, found_of(saved), now)

    def probes(self, step: Step) -> tuple[Probe, ...]:  # noqa: ARG002
        """Return none: the nodes of the site are the judges."""
        return ()

    async def _as_planned(self, change: Change) -> Json:
        """Return the object, None = there is none. Raises HostBusy when it is another one."""
        found = await _calicoctl(change).get(change.key)
        if _version(found) != change.version:
            raise HostBusy(f"{change.key} was changed since the plan was made")
        return found


def _calicoctl(change: Change) -> Calicoctl:
    return Calicoctl(change.calicoctl, change.config_file)


def _version(found: Json) -> str | None:
    return None if found is None else str(found["metadata"].get("resourceVersion", ""))


def _wanted(change: Change, found: Json) -> Json:
    """Return the whole body that shall stand there."""
    if change.kind is Kind.FELIX:
        return objects.merged(change.want, change.drop, found)
    return change.want


def _fields(change: Change) -> dict[str, Json]:
    """Return our fields of a FelixConfiguration as they shall be; None = not there."""
    return {**dict.fromkeys(change.drop), **change.want["spec"]}


def _position(change: Change, before: Json, now: Json) -> Position:
    if change.kind is Kind.FELIX:
        fields = _fields(change)
        old, new = _shown(fields, before), _shown(fields, now)
        return Position.OLD if new == old else Position.NEW if new == fields else Position.MIXED
    old, new = (found and objects.body_of(found) for found in (before, now))
    if _same(change.kind, old, new):
        return Position.OLD
    return Position.NEW if _same(change.kind, change.want, new) else Position.MIXED


def _shown(fields: Collection[str], found: Json) -> dict[str, Json]:
    spec = (found or {}).get("spec") or {}
    return {name: spec.get(name) for name in fields}


def _same(kind: Kind, one: Json, other: Json) -> bool:
    """Tell whether two bodies are the same, None = there is none."""
    if one is None or other is None:
        return one is other
    return not objects.differences(kind, one, other)


async def _undo(change: Change, before: Json) -> None:
    """Put the object back. Raises StepFailed; RollbackFailed where another hand changed it."""
    told = _calicoctl(change)
    now = await told.get(change.key)
    match _position(change, before, now):
        case Position.NEW:
            await _put_back(told, change, before, now)
        case Position.MIXED:
            raise _stuck(change, "another hand changed it meanwhile, it is left alone")


def _stuck(change: Change, why: object) -> RollbackFailed:
    again = "when that is settled: confsync agent resume"
    return RollbackFailed(f"{change.key}: {why}; {again}")


async def _put_back(told: Calicoctl, change: Change, before: Json, now: Json) -> None:
    """Turn what we made into what was before; the version read now goes with it."""
    if now is None:
        await told.write("create", objects.without_history(before))
        return
    body = objects.body_of(before) if before else {"spec": {}}
    if change.kind is Kind.FELIX:
        fields = _fields(change)
        old = {name: value for name, value in body["spec"].items() if name in fields}
        body = objects.merged({"spec": old}, tuple(fields), now)
    if before is None and not body["spec"]:
        await told.write("delete", now)
    else:
        await _put(told, change.key, body, now)


async def _put(told: Calicoctl, key: ObjectKey, body: Json, found: Json) -> None:
    """Put a body in place of an object, over the version that was found, in one write.

    Shape: `found` None = nothing stands there.
    """
    if found is None:
        await told.write("create", objects.composed(key, body, None))
    elif objects.lost_meta(body, found):
        await told.patch(key, _patch(key, body, found))
    else:
        await told.write("replace", objects.composed(key, body, found))


def _patch(key: ObjectKey, body: Json, found: Json) -> Json:
    changes = objects.patch(found, objects.composed(key, body, found))
    version = {"resourceVersion": found["metadata"]["resourceVersion"]}
    return {**changes, "metadata": {**changes["metadata"], **version}}


def _patchable(key: ObjectKey, body: Json, found: Json) -> None:
    """Raise HostRefused for an exchange that takes a patch which is too large."""
    if not objects.lost_meta(body, found):
        return
    if (size := len(canonical(_patch(key, body, found)))) > limits.CALICO_PATCH_BYTES:
        raise HostRefused(
            f"the patch of {key} has {size} bytes, {limits.CALICO_PATCH_BYTES} fit: publish its "
            f"labels or annotations in one change and the rest in another"
        )
