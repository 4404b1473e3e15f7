"""The agent: its tasks in one TaskGroup; it knows everybody and decides nothing.

Separate because here alone the loops, the service manager and the signals meet. A loop only moves
values between rooms: the watch sets one wake, the reconcile loop runs passes at its own pace, the
surface shows the newest status.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from confsync import __version__
from confsync.edge.http import HttpServer
from confsync.edge.metrics import Metrics
from confsync.flow.announce import Announcer
from confsync.flow.guard import to_completion
from confsync.flow.reconcile import Pass
from confsync.flow.recover import recover
from confsync.flow.report import Scene, status_of
from confsync.flow.transact import Room
from confsync.host import logs, toml
from confsync.host.journal import SqliteJournal, now
from confsync.host.state import HostLock, private_dir
from confsync.host.systemd import Heartbeats, Notifier, feed_watchdog
from confsync.model import limits
from confsync.model.errors import BadSettings, Held, JournalDamaged, JournalTooNew
from confsync.model.ids import Json, NodeId, RoleId, SiteId
from confsync.model.machine import State
from confsync.model.status import AgentState, Event, EventType, SourceStatus, Status
from confsync.ports import LastTxn
from confsync.settings import Settings, load
from confsync.wiring import drivers_for_recovery, wire


async def run(config: Path) -> None:
    """Hold the host, end what an earlier agent left open, then serve until asked to stop.

    Why the order: recovery needs the journal alone, so bad settings cannot keep a host in the
    middle of a change.
    """
    notifier = Notifier.from_environ()
    state_dir = private_dir(toml.read_what_can_be(config).state_dir)
    with HostLock(state_dir):
        journal = SqliteJournal(state_dir / "journal.db")
        try:
            notifier.extend(limits.STOP_S)
            halted = await end_open_transaction(journal)
            settings: Settings | None = load(config)
            while settings is not None:
                agent = Agent(config, settings, journal, notifier, halted)
                settings = await agent.serve()
                halted = agent.halted
        finally:
            await journal.aclose()


async def end_open_transaction(journal: SqliteJournal) -> str:
    """Recover; return why the host is halted (empty = it is not)."""
    room = Room(drivers_for_recovery(), journal, logs.LogReporter(lambda _: None))
    try:
        outcome = await to_completion(recover(room))
    except (JournalDamaged, JournalTooNew) as fault:
        return str(fault)
    return outcome.reason if outcome and outcome.state is State.HALTED else ""


class Agent:
    """One agent between two readings of its settings; also the port of its HTTP surface."""

    def __init__(
        self,
        config: Path,
        settings: Settings,
        journal: SqliteJournal,
        notifier: Notifier,
        halted: str,
    ) -> None:
        self.halted = halted
        self._config = config
        self._settings = settings
        self._journal = journal
        self._notifier = notifier
        self._metrics = Metrics(settings.site, settings.role)
        logs.configure(settings.log.level, count=self._metrics.log_line)
        self._reporter = logs.LogReporter(self._metrics.count)
        self._hearts = Heartbeats(time.monotonic)
        self._beat = self._hearts.register("reconcile", limits.WATCHDOG_S)
        self._wired = wire(settings, Room({}, journal, self._reporter, self._beat))
        self._announcer = Announcer(self._reporter)
        self._next: Settings | None = None
        self._wake = asyncio.Event()
        self._passing = asyncio.Lock()
        self._found = Pass()
        self._answered: tuple[float | None, str] = (None, "")
        self._status = self._look(starting=True)

    # --- loops

    async def serve(self) -> Settings | None:
        """Run every loop until SIGTERM (None) or a reload (the settings to go on with)."""
        server = HttpServer(self._settings.http, self)
        await self._begin()
        await server.start()
        self._reporter.emit(Event(EventType.AGENT_STARTED, {"version": __version__}))
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(loop) for loop in self._loops()]
                await self._reconcile()
                for other in others:
                    other.cancel()
        finally:
            reloading = self._next is not None
            self._reporter.emit(Event(EventType.AGENT_STOPPING, {"reload": reloading}))
            if not reloading:
                self._notifier.stopping("ending")
            await server.stop()
            await self._wired.source.close()
        return self._next

    def _loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._watch()
        yield self._tick()
        yield feed_watchdog(self._notifier, self._hearts)

    async def _begin(self) -> None:
        """Take the signals, tidy up, and know the host before the source has answered."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        if not self.halted:
            await self._wired.reconciler.heal()
        known_good = self._wired.reconciler.known_good
        if known_good is not None:
            await self._conclude(await self._wired.reconciler.preview(known_good))

    async def _reconcile(self) -> None:
        """Run passes until the end, each at a wake or when it is due."""
        grace_over = time.monotonic() + limits.READY_GRACE_S
        ready = False
        while not self._ending:
            self._wake.clear()
            await self._one_pass(())
            if not ready and (
                self._status.state is not AgentState.STARTING or time.monotonic() > grace_over
            ):
                ready = True
                self._notifier.ready(self._line())
            await self._sleep(self._found.again_s or self._pause_s(ready=ready))

    def _pause_s(self, *, ready: bool) -> float:
        """Return when to look again without a wake: soon after a failure, else for drift."""
        troubled = self._found.failure is not None or self._found.retry
        if troubled or not ready:
            return min(limits.RETRY_S, self._settings.drift.interval_s)
        return self._settings.drift.interval_s

    async def _sleep(self, wait_s: float) -> None:
        """Wait for a wake, and keep the watchdog convinced meanwhile."""
        due = time.monotonic() + wait_s
        while not self._wake.is_set() and (left := due - time.monotonic()) > 0:
            self._beat()
            try:
                async with asyncio.timeout(min(left, limits.WATCHDOG_FEED_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue
        self._beat()

    async def _one_pass(self, allow: tuple[str, ...]) -> Pass:
        async with self._passing:
            began = time.monotonic()
            found = Pass() if self.halted else await self._wired.reconciler.once(allow)
            if found.outcome is not None and found.outcome.state is State.HALTED:
                self.halted = found.outcome.reason
            await self._conclude(found)
            self._announcer.tell(found, self._status, time.monotonic() - began)
            return found

    async def _conclude(self, found: Pass) -> None:
        """Make the newest pass the truth that everybody is shown."""
        self._found = found
        if found.reading is not None and found.fault is None:
            self._answered = (time.monotonic(), now())
        last, paused = None, ""
        if not self.halted:
            last = await self._journal.last()
            paused = await self._journal.paused() or ""
        starting = found.snapshot is None and not self.halted
        self._status = self._look(starting=starting, last=last, paused=paused, before=self._status)
        self._notifier.status(self._line())

    async def _watch(self) -> None:
        layers = self._wired.reconciler.layers
        async with contextlib.aclosing(self._wired.source.wakes(layers)) as wakes:
            async for _ in wakes:
                self._wake.set()

    async def _tick(self) -> None:
        """Measure how late the loop is."""
        while True:
            due = time.monotonic() + limits.TICK_S
            await asyncio.sleep(limits.TICK_S)
            self._metrics.loop_lag(time.monotonic() - due)

    # --- signals

    @property
    def _ending(self) -> bool:
        return self._wired.room.stopping.is_set() or self._next is not None

    def _stop(self) -> None:
        self._wired.room.stopping.set()
        self._wake.set()

    def _hang_up(self) -> None:
        try:
            self._reload()
        except BadSettings as fault:
            self._reporter.emit(Event(EventType.SETTINGS_REJECTED, {"reason": str(fault)}))

    def _reload(self) -> None:
        self._notifier.reloading()
        try:
            self._next = load(self._config)
        finally:
            if self._next is None:
                self._notifier.ready(self._line())
        self._reporter.emit(Event(EventType.SETTINGS_LOADED))
        self._wake.set()

    # --- the port of the HTTP surface

    def status(self) -> Status:
        """Return the newest status, with the age that our knowledge has now."""
        shown = replace(self._status, source=self._source_status())
        if not self._wired.reconciler.applying or shown.state is AgentState.STARTING:
            return shown
        return replace(shown, state=AgentState.APPLYING, reason="a transaction is open", next="")

    def live(self) -> str | None:
        """Return which loop stands still."""
        return ", ".join(self._hearts.late()) or None

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics."""
        self._metrics.observe(self.status())
        return self._metrics.render(accept)

    async def reload(self, actor: str, *, wait: bool) -> Json:
        """Read the settings again; settings that are refused change nothing."""
        self._reload()
        return {"reloaded": str(self._config), "by": actor, "waited": wait}

    async def pause(self, actor: str, reason: str) -> Json:
        """Stop writing on this host."""
        await self._journal.pause(f"{reason} (by {actor})")
        await self._one_pass(())
        return self.status().as_json()

    async def resume(self, actor: str, *, accept: bool) -> Json:
        """Write again; a halted transaction is tried once more, or accepted as it is."""
        if accept:
            await self._journal.accept()
        elif not isinstance(self._found.failure, JournalDamaged):
            await self._journal.resume()
        self.halted = await end_open_transaction(self._journal)
        await self._one_pass(())
        return {**self.status().as_json(), "by": actor}

    async def retry(self, actor: str) -> Json:
        """Lift every quarantine and try again."""
        await self._journal.retry()
        await self._one_pass(())
        return {**self.status().as_json(), "by": actor}

    async def apply(self, actor: str, allow: tuple[str, ...]) -> Json:
        """Run one pass now, with these allowances. Raises Held and what stands against it."""
        if self.halted:
            raise Held(f"this host is halted: {self.halted}")
        found = await self._one_pass(allow)
        for refusal in found.refusals:
            raise refusal
        return {**self.status().as_json(), "by": actor}

    # --- what is shown

    def _look(
        self,
        *,
        starting: bool,
        last: LastTxn | None = None,
        paused: str = "",
        before: Status | None = None,
    ) -> Status:
        settings = self._settings
        scene = Scene(
            node=NodeId(settings.node),
            site=SiteId(settings.site),
            role=RoleId(settings.role),
            source=self._source_status(),
            at=now(),
            starting=starting,
            halted=self.halted,
            paused=paused,
            last=last,
            before=before,
        )
        return status_of(scene, self._found)

    def _source_status(self) -> SourceStatus:
        answered_s, at = self._answered
        return SourceStatus(
            name=self._wired.source.name,
            last_success_at=at,
            age_s=None if answered_s is None else time.monotonic() - answered_s,
            problem=str(self._found.fault or ""),
        )

    def _line(self) -> str:
        reason = f": {self._status.reason}" if self._status.reason else ""
        return f"{self._status.state}{reason}"
