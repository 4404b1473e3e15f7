"""Carries one rendered file to BIRD, and back.

Separate because this is the only place where BIRD's configuration changes. Until the rename the
disk holds the OLD file, so any death of confsync, BIRD or the host leads back to it; BIRD's own
timer is armed once besides, and nothing re-arms it. What BIRD runs is known by the id that our
files define, never guessed from the disk. Undo and commit know only the step and its checkpoint.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from confsync.drivers.bird import calico, checks, disk, ownership
from confsync.drivers.bird.adoption import survey
from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.daemon import Daemon
from confsync.drivers.bird.detail import blank, notes_of, on_disk, running
from confsync.drivers.bird.hand import traces
from confsync.drivers.bird.health import BirdProbe, moved
from confsync.drivers.bird.observe import (
    Place,
    greeted_version,
    locate,
    program_version,
    refusal,
)
from confsync.drivers.bird.ownership import Found
from confsync.drivers.bird.render import is_intact
from confsync.drivers.bird.socket import DaemonDown
from confsync.drivers.bird.step import Before, Change, beside
from confsync.host.files import discard, in_thread, look_of
from confsync.host.process import run
from confsync.model import limits
from confsync.model.errors import (
    ConfsyncError,
    HostBusy,
    NotOwned,
    NotVerified,
    RollbackFailed,
    WindowLost,
)
from confsync.model.ids import Digest, DriverName, Json
from confsync.model.plan import Step
from confsync.model.section import Observed, Ownership
from confsync.ports import Checkpoint, Position, Probe, Survey

Stamp = tuple[int, ...]
"""What changes when a program file is replaced."""


class BirdSettings(BaseModel):
    """How this host's BIRD is reached; empty = found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    ownership: Literal["whole", "fragment"] = "whole"
    config_file: str = ""
    fragment_file: str = ""
    control_socket: str = ""
    binary: str = "/usr/sbin/bird"
    verify_timeout_s: float = Field(default=0.0, ge=0.0, le=limits.VERIFY_MAX_S)
    hold_s: float | None = Field(default=None, ge=0.0, le=limits.VERIFY_MAX_S)

    @model_validator(mode="after")
    def _fragment(self) -> Self:
        if self.ownership == "fragment" and not os.path.isabs(self.fragment_file):
            raise ValueError('ownership = "fragment" needs fragment_file, an absolute path')
        if self.ownership == "whole" and self.fragment_file:
            raise ValueError('fragment_file needs ownership = "fragment"')
        return self


class BirdDriver:
    """The BIRD of this host."""

    name = DriverName("bird")

    def __init__(
        self, settings: BirdSettings, *, command_timeout_s: float = limits.BIRD_COMMAND_S
    ) -> None:
        self._settings = settings
        self._command_timeout_s = command_timeout_s
        self._daemons: dict[str, Daemon] = {}
        self._opening = asyncio.Lock()
        self._program: tuple[Stamp, str | None] = ((), None)
        self._own_file = ""
        self._wrote = ""
        self._broken: Digest | None = None

    def decode(self, record: Json) -> Step:
        """Return the step of a journal record. Raises JournalTooNew."""
        step = Step.from_json(record)
        Change.of(step)
        return step

    async def heal(self) -> tuple[str, ...]:
        """Remove what a cut-off run of ours left beside the live file."""
        own = (self._place().config_file, self._settings.fragment_file)
        marks = (name for path in own if path for name in beside(path))
        removed = await in_thread(discard, *marks)
        return tuple(f"removed {name}" for name in removed)

    def close(self) -> None:
        """Give up all connections."""
        for daemon in self._daemons.values():
            daemon.close()

    # --- looking

    async def observe(self, adopted: Json | None = None) -> Observed:
        """Return whose the configuration is, what the disk holds and what BIRD runs."""
        place = self._place()
        detail = blank(self._settings.model_dump(), place, adopted)
        try:
            await in_thread(calico.require_alone, *place, self._settings.fragment_file)
            found = await in_thread(self._find, place)
            stamp = await in_thread(_stamp, self._settings.binary)
            detail |= on_disk(found)
            daemon = self._daemon(place.socket)
            seen = await daemon.look()
            greeted = greeted_version(daemon.greeting)
            problem = refusal(greeted, await self._program_version(stamp))
            complaint = elsewhere = ""
            if found.tree is not None or not found.ours:
                path, complaint = await daemon.own_file()
                if path and not self._settings.config_file and path != self._own_file:
                    await in_thread(calico.require_alone, path)
                    self._own_file = path
                    return await self.observe(adopted)
                elsewhere = await in_thread(ownership.reads_elsewhere, path, place.config_file)
                complaint = complaint if found.tree else ""  # no file: nothing to complain of
        except NotOwned as foreign:
            return Observed(Ownership.FOREIGN, detail, str(foreign))
        except ConfsyncError as fault:
            return Observed(Ownership.ABSENT, detail, str(fault))
        detail["version"] = greeted
        if problem:
            return Observed(Ownership.ABSENT, detail, problem)
        detail |= running(found, seen, adopted)
        whose, reason = ownership.judge(found, seen, adopted)
        if elsewhere:
            whose, reason = Ownership.FOREIGN, elsewhere
        elif complaint and whose is not Ownership.FOREIGN:
            reason = f"{found.main or found.file} does not parse: {complaint}"
            whose = Ownership.EDITED
        self._broken = found.disk if complaint else None
        detail["adopted"] = adopted is not None and not found.ours and whose is Ownership.OWNED
        notes = notes_of(seen, detail["held"]) + ownership.findings(found, seen, complaint)
        hand = await in_thread(self._hand, found, whose)
        return Observed(whose, detail, reason, notes, hand)

    def _hand(self, found: Found, whose: Ownership) -> str:
        rewritten = whose is not Ownership.OWNED and not is_intact(found.text)
        return traces(found.file, found.text, self._wrote) if rewritten else ""

    async def survey(self, want: Bgp | None) -> Survey:
        """Return what adopting would record."""
        seen = await self.observe()
        if seen.ownership is Ownership.ABSENT:
            return Survey(None, seen.problem)
        place = self._place()
        daemon = self._daemon(place.socket)
        try:
            path, complaint = await daemon.own_file()
            found = await in_thread(self._find, place)
            view = await daemon.look()
        except ConfsyncError as fault:
            return Survey(None, str(fault))
        root = found.main or found.file
        elsewhere = await in_thread(ownership.reads_elsewhere, path, root)
        return survey(found, view, want, elsewhere or (complaint and f"{root}: {complaint}"))

    def _find(self, place: Place) -> Found:
        main = place.config_file if self._settings.ownership == "fragment" else ""
        return ownership.find(self._settings.fragment_file or place.config_file, main)

    async def _program_version(self, stamp: Stamp) -> str | None:
        """Return the version on disk; asked again only when the program was replaced."""
        binary = self._settings.binary
        if stamp != self._program[0]:
            told = await run([binary, "--version"], limits.BIRD_CHECK_S)
            self._program = stamp, program_version(told.stdout + told.stderr)
        return self._program[1]

    async def pulse(self) -> str:
        """Return when BIRD started and was last configured, and the look of its file."""
        place = self._place()
        try:
            moments = await self._daemon(place.socket).moments()
        except ConfsyncError as fault:
            moments = type(fault).__name__
        files = filter(None, (place.config_file, self._settings.fragment_file))
        looks = [await in_thread(look_of, file) for file in files]
        return "; ".join((moments, *looks))

    # --- before the change

    async def check(self, step: Step) -> None:
        """Prove that BIRD stands where the plan begins, and would take the new file."""
        change = Change.of(step)
        await in_thread(calico.require_alone, change.live, change.config_file, change.socket)
        daemon = self._daemon(change.socket)
        checks.require_ready(*await daemon.standing(), change)
        await checks.require_passwords(change)
        await checks.require_foreign(change)
        await in_thread(disk.prepare, change)
        try:
            await _beside_each_other(
                checks.require_survivable(change),
                checks.require_way_back(daemon, change, known=self._broken),
                in_thread(disk.sync, change),
            )
            await checks.require_parsable(daemon, change)
        except BaseException:
            await in_thread(discard, change.candidate, change.trial)
            raise

    async def checkpoint(self, step: Step) -> Checkpoint:
        """Copy the live file beside itself, and note what BIRD runs and what is held by hand."""
        change = Change.of(step)
        seen = await self._daemon(change.socket).outline()
        attributes = await in_thread(disk.save, change)
        return Before(
            change.old_disk, attributes, seen.marker, seen.held, seen.reconfigured
        ).as_json()

    def probes(self, step: Step) -> tuple[Probe, ...]:
        """Return the one probe: sessions, routes, BFD and kernel, seen together."""
        change = Change.of(step)
        return (BirdProbe(self._daemon(change.socket), change.render, change.expect),)

    # --- the change, and the way back

    async def apply(self, step: Step, saved: Checkpoint, revert_after_s: float) -> None:  # noqa: ARG002
        """Let BIRD use the candidate, unconfirmed: it goes back by itself.

        Raises: HostBusy, HostRefused, WindowLost, DeadlinePassed when the outcome is unknown.
        """
        change = Change.of(step)
        daemon = self._daemon(change.socket)
        await in_thread(disk.prepare, change)
        window_s = max(1, math.ceil(revert_after_s))
        async with self._opening:  # a window inside another one leads back to the outer one only
            checks.require_ready(*await daemon.standing(), change)
            seen = await daemon.configure(change.trial, revert_after_s=window_s)
        if seen.marker != change.render or seen.condition.window_s is None:
            raise WindowLost("BIRD took the new configuration, but does not run it unconfirmed")

    async def undo(self, step: Step, saved: Checkpoint) -> None:
        """Make BIRD run the old file again, and leave the disk as it was."""
        change, before = Change.of(step), Before.of(saved)
        try:
            foreign = await in_thread(disk.restore, change, before)
            with suppress(DaemonDown):  # it will start on what the disk holds
                await self._run_old(change, before, foreign=foreign)
            await in_thread(discard, *change.traces)
        except RollbackFailed:
            raise
        except ConfsyncError as fault:
            raise RollbackFailed(f"{change.config_file}: {fault}") from fault

    async def _run_old(self, change: Change, before: Before, *, foreign: bool) -> None:
        """Lead BIRD back by its own timer's store, or by a checked copy of the old file.

        Why: where another hand wrote the file and made BIRD read it (`foreign`), both are theirs.
        """
        daemon = self._daemon(change.socket)
        await daemon.settle()
        marker, condition = await daemon.standing()
        if marker == change.render and condition.window_s is not None:
            await daemon.go_back()
            marker, _ = await daemon.standing()
        if marker != before.running_render and (marker == change.render or not foreign):
            path = await in_thread(disk.old_file, change, before)
            if complaint := await daemon.complaint(path):
                raise RollbackFailed(f"BIRD refuses the old configuration: {complaint}")
            await daemon.configure(path)
            marker, _ = await daemon.standing()
        if marker != before.running_render and not foreign:
            raise RollbackFailed(f"BIRD does not run {change.live} as it was before")
        enabled = set(before.disabled) - set((await daemon.look()).held)
        for name in sorted(enabled):
            await daemon.disable(name)

    # --- the pivot is behind us

    async def commit(self, step: Step, saved: Checkpoint) -> None:
        """Put the new file in place, confirm it, and let BIRD read it from there.

        Raises: NotOwned when another hand wrote the file meanwhile; HostBusy, NotVerified.
        """
        change, before = Change.of(step), Before.of(saved)
        await in_thread(disk.pivot, change, before)
        self._wrote = change.text
        with suppress(DaemonDown):  # it will start on what the disk holds
            await self._confirm(change)
        await in_thread(discard, *change.traces)

    async def _confirm(self, change: Change) -> None:
        daemon = self._daemon(change.socket)
        confirmed, before = await daemon.confirm()
        kept = confirmed and before.marker == change.render
        if kept and not await in_thread(disk.is_main_as_planned, change):
            return  # what another hand wrote there meanwhile is for that hand to put to use
        if not kept and (complaint := await daemon.complaint(change.live)):
            raise HostBusy(f"BIRD cannot read {change.live}: {complaint}")
        after = await daemon.configure()
        if after.marker != change.render:
            raise NotVerified("BIRD does not run the file that was committed")
        if kept and (reset := _reset_between(change, before.since, after.since)):
            raise NotVerified(f"{', '.join(reset)} reset while the change was made final")

    async def position(self, step: Step, saved: Checkpoint) -> Position:
        """Tell from disk and daemon where the host stands; with the daemon down from the disk."""
        change, before = Change.of(step), Before.of(saved)
        try:
            found = await in_thread(disk.digest_at, change.config_file)
            on_disk = _sides(found, before.disk, change.new_disk)
            try:
                marker, _ = await self._daemon(change.socket).standing()
            except DaemonDown:
                return on_disk.pop() if len(on_disk) == 1 else Position.UNKNOWN
        except ConfsyncError:
            return Position.UNKNOWN
        running = _sides(marker, before.running_render, change.render)
        if len(both := on_disk & running) == 1:
            return both.pop()
        if not on_disk or not running:
            # Another hand wrote the file: BIRD on its old configuration is all that is ours.
            return Position.OLD if Position.OLD in running else Position.UNKNOWN
        return Position.MIXED

    def _place(self) -> Place:
        """Return where BIRD reads and listens: as set, as it said, or as distributions do."""
        settings = self._settings
        config_file = settings.config_file or self._own_file
        return locate(config_file, settings.control_socket, os.path.exists)

    def _daemon(self, path: str) -> Daemon:
        if path not in self._daemons:
            self._daemons[path] = Daemon(path, self._command_timeout_s)
        return self._daemons[path]


async def _beside_each_other(*works: Coroutine[Any, Any, None]) -> None:
    """Run works at the same time; when all have ended, the first one's fault is raised."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if result is not None:
            raise result


def _stamp(binary: str) -> Stamp:
    try:
        found = os.stat(binary)
    except OSError as fault:
        raise HostBusy(f"{binary}: {fault.strerror}") from fault
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _sides(found: str | None, old: str | None, new: str) -> set[Position]:
    """Return what a finding fits to: both, where old and new are the same."""
    fits = ((Position.OLD, old), (Position.NEW, new))
    return {position for position, expected in fits if found == expected}


def _reset_between(change: Change, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the sessions that the plan does not touch, and that are not what they were."""
    reset = moved(before, after) | (before.keys() ^ after.keys())
    return [
        name
        for name, session in change.expect["sessions"].items()
        if not session["touched"] and name in reset
    ]
