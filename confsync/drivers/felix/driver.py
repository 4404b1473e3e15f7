"""Carries `felix.cfg` to the host, and back, with the daemon that reads it.

Separate because this joins file, service and health. The file is exchanged whole and the service
restarted once for each transaction; the way back restores the file first, and restarts the
service only if another process than the one before has been started meanwhile.
"""

from __future__ import annotations

import os
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from confsync.drivers.felix import unit
from confsync.drivers.felix.adoption import survey
from confsync.drivers.felix.before import Before
from confsync.drivers.felix.found import Found, Host
from confsync.drivers.felix.health import FelixProbe
from confsync.drivers.felix.shapes import Felix
from confsync.drivers.felix.step import Change, change_of
from confsync.drivers.felix.tables import versions
from confsync.host.files import (
    Attributes,
    File,
    discard,
    in_thread,
    look_of,
    read_file,
    remove_durable,
    write_durable,
)
from confsync.model import limits
from confsync.model.errors import ConfsyncError, HostBusy, NotOwned, RollbackFailed, nearest
from confsync.model.ids import DriverName, Json, digest
from confsync.model.plan import Step
from confsync.model.section import Observed, Ownership
from confsync.ports import Checkpoint, Position, Probe, Survey

FRESH: Final = ".confsync-fresh"
_NEW_FILE: Final = 0o644


class FelixSettings(BaseModel):
    """Felix as it is installed on this host; `calico_version` is its first two numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    calico_version: str = ""
    config_file: str = unit.DEFAULT_FILE
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@-]+\.service$")] = "calico-felix.service"
    health_url: Annotated[str, Field(pattern=r"^http://[^/\s]+/\S*$")] = (
        "http://127.0.0.1:9099/readiness"
    )
    systemctl: str = "/usr/bin/systemctl"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not os.path.isabs(self.config_file):
            raise ValueError("config_file needs an absolute path")
        if self.enabled and self.calico_version not in versions():
            known = nearest(self.calico_version, versions())
            raise ValueError(
                f"calico_version {self.calico_version!r}: name the version of Calico that runs "
                f"here, since each has other parameters; {known}"
            )
        return self


class FelixDriver:
    """The Felix of this host."""

    name = DriverName("felix")

    def __init__(self, settings: FelixSettings) -> None:
        self._settings = settings

    def decode(self, record: Json) -> Step:
        """Return the step of a journal record. Raises JournalTooNew."""
        step = Step.from_json(record)
        change_of(step)
        return step

    def close(self) -> None:
        """There is no connection to give up."""

    async def heal(self) -> tuple[str, ...]:
        """Remove what a write that was cut left beside the file."""
        return await in_thread(discard, f"{self._settings.config_file}{FRESH}")

    # --- looking

    async def observe(self, adopted: Json | None = None) -> Observed:
        """Return what the file says, what runs, and what hides the file from it."""
        try:
            host = await self._look()
        except ConfsyncError as fault:
            return Observed(Ownership.ABSENT, {}, str(fault))
        taken = (adopted or {}).get("digest")
        ownership = host.file.ownership(taken)
        problem = {
            Ownership.FOREIGN: f"{host.config_file} is not ours; see: confsync adopt felix --plan",
            Ownership.EDITED: f"{host.config_file} was edited by another hand",
        }.get(ownership, "")
        hand = problem if ownership is Ownership.EDITED else ""
        return Observed(ownership, host.model_dump(mode="json"), problem, host.notes(), hand)

    async def pulse(self) -> str:
        """Return the look of the file."""
        return await in_thread(look_of, self._settings.config_file)

    async def survey(self, want: Felix | None) -> Survey:
        """Return what adopting the file would record."""
        try:
            return survey(want, await self._look())
        except ConfsyncError as fault:
            return Survey(None, str(fault))

    async def _look(self) -> Host:
        own = self._settings
        found = await unit.look(own.systemctl, own.service)
        if not found.loaded:
            raise HostBusy(f"{own.service} is not there; name Felix's service in the settings")
        if found.config_file and found.config_file != own.config_file:
            raise HostBusy(f"Felix reads {found.config_file}, the settings say {own.config_file}")
        live = await in_thread(_read, own.config_file)
        return Host(
            version=own.calico_version,
            config_file=own.config_file,
            service=own.service,
            systemctl=own.systemctl,
            health_url=own.health_url,
            file=Found.of(live and live.data),
            running=found.active,
            environment=found.environment,
        )

    # --- the acts

    async def check(self, step: Step) -> None:
        """Prove that the file can be exchanged, and is still the one that the plan was made for."""
        await in_thread(_as_planned, change_of(step))

    async def checkpoint(self, step: Step) -> Checkpoint:
        """Return the file, its owner and mode, and which process has read it."""
        change = change_of(step)
        live = await in_thread(_as_planned, change)
        found = await unit.look(change.systemctl, change.service)
        return Before.of(live, found.pid, stopped=found.stopped).as_json()

    async def apply(self, step: Step, saved: Checkpoint, revert_after_s: float) -> None:  # noqa: ARG002
        """Exchange the file, and restart Felix if it reads something else then.

        One that somebody has stopped stays so, and reads the file when it is started.
        """
        change, before = change_of(step), Before.model_validate(saved)
        kept = before.attributes if before.data is not None else _new_attributes()
        await in_thread(write_durable, change.config_file, change.data, kept)
        if change.restart and not before.stopped:
            await unit.restart(change.systemctl, change.service)

    async def undo(self, step: Step, saved: Checkpoint) -> None:
        """Put the file back; restart Felix if it may have read another one. Idempotent."""
        change, before = change_of(step), Before.model_validate(saved)
        try:
            await in_thread(_put_back, change, before)
            now = await unit.look(change.systemctl, change.service)
            if change.restart and now.pid != before.pid:
                await unit.restart(change.systemctl, change.service)
        except ConfsyncError as fault:
            again = "when that is mended: confsync agent resume"
            raise RollbackFailed(f"{step.target}: {fault}; {again}") from fault

    async def commit(self, step: Step, saved: Checkpoint) -> None:
        """Nothing is left to do: the file stands, and Felix has read it."""

    async def position(self, step: Step, saved: Checkpoint) -> Position:
        """Tell which file stands there."""
        change, before = change_of(step), Before.model_validate(saved)
        try:
            live = await in_thread(_read, change.config_file)
        except ConfsyncError:
            return Position.UNKNOWN
        if live is not None and live.data == change.data:
            return Position.NEW
        old = live == (File(before.data, before.attributes) if before.data is not None else None)
        return Position.OLD if old else Position.MIXED

    def probes(self, step: Step) -> tuple[Probe, ...]:
        """Return the one probe of the service, where it is restarted."""
        change = change_of(step)
        return (FelixProbe(change),) if change.restart else ()


def _read(path: str) -> File | None:
    return read_file(path, limits.FELIX_FILE_BYTES)


def _fixed(path: str) -> str:
    """Return why a file cannot be exchanged, empty = it can."""
    folder = os.path.dirname(path)
    if os.access(folder, os.W_OK) or not os.path.isdir(folder):
        return ""
    unit = "/etc/systemd/system/confsync.service.d"
    return f"{folder} is read-only here: put systemd/felix.conf into {unit}, restart the agent"


def _as_planned(change: Change) -> File | None:
    """Return the file that the plan was made for. Raises HostBusy where it is another one."""
    if fixed := _fixed(change.config_file):
        raise HostBusy(fixed)
    live = _read(change.config_file)
    if (digest(live.data) if live else None) != change.was:
        told = "is gone" if live is None else "was changed"
        raise HostBusy(f"{change.config_file} {told} since the plan was made")
    return live


def _new_attributes() -> Attributes:
    return Attributes(_NEW_FILE, os.geteuid(), os.getegid())


def _put_back(change: Change, before: Before) -> None:
    """Restore the file where ours stands. Raises NotOwned where a third one does."""
    live = _read(change.config_file)
    if before.data is None:
        if live is not None:
            remove_durable(change.config_file, change.data)
        return
    old = File(before.data, before.attributes)
    if live == old:
        return
    if live is not None and live.data not in {change.data, before.data}:
        message = f"{change.config_file} was changed by another hand while confsync was at work"
        raise NotOwned(f"{message}; it is left alone")
    write_durable(change.config_file, old.data, old.attributes)
