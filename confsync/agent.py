"""The agent: its tasks in one TaskGroup; it knows everybody and decides nothing.

Separate because here alone the loops, the service manager and the signals meet. A loop only moves
values between rooms: the watch sets one wake, the reconcile loop runs passes at its own pace, the
surface shows the newest status.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from confsync import __version__
from confsync.edge.http import HttpServer
from confsync.edge.metrics import Metrics
from confsync.flow.announce import Announcer
from confsync.flow.guard import beside
from confsync.flow.passed import Pass
from confsync.flow.recover import end_open
from confsync.flow.reporting import Everyone
from confsync.flow.show import Showing
from confsync.flow.transact import Room
from confsync.host import logs, toml
from confsync.host.journal import SqliteJournal, now
from confsync.host.state import HostLock, private_dir
from confsync.host.systemd import Heartbeats, Notifier, feed_watchdog
from confsync.model import limits
from confsync.model.errors import (
    BadSettings,
    ConfsyncError,
    Held,
    JournalLost,
)
from confsync.model.ids import Json
from confsync.model.layers import layer_paths
from confsync.model.machine import State
from confsync.model.status import AgentState, Event, EventType, Status
from confsync.ports import Reporter
from confsync.settings import Settings, load
from confsync.wiring import Wired, drivers_for_recovery, names_of, wire


async def run(config: Path) -> None:
    """Hold the host, end what an earlier agent left open, then serve until asked to stop.

    Why the order: recovery needs the journal alone, so bad settings cannot keep a host in the
    middle of a change.
    """
    # A commit in the journal's thread must not wait for a computing loop's time slice.
    sys.setswitchinterval(limits.SWITCH_S)
    logs.configure()  # recovery is told of too, before there are settings
    notifier = Notifier.from_environ()
    state_dir = private_dir(toml.read_what_can_be(config).state_dir)
    with HostLock(state_dir):
        journal = SqliteJournal(state_dir / "journal.db")
        try:
            more_time = partial(notifier.extend, limits.STOP_S)
            told = logs.LogReporter(lambda _: None)
            halted = await end_open_transaction(journal, told, more_time)
            await Agent(config, load(config), journal, notifier, halted).serve()
        finally:
            await journal.aclose()


async def end_open_transaction(
    journal: SqliteJournal, reporter: Reporter, beat: Callable[[], None]
) -> str:
    """Recover; return why the host is halted (empty = it is not)."""
    drivers = drivers_for_recovery()
    try:
        return await end_open(Room(drivers, journal, reporter, beat))
    finally:
        for driver in drivers.values():
            driver.close()


class Agent:
    """The loops, and the port of the HTTP surface; settings are exchanged between two passes."""

    def __init__(
        self,
        config: Path,
        settings: Settings,
        journal: SqliteJournal,
        notifier: Notifier,
        halted: str,
    ) -> None:
        self._config = config
        self._settings = settings
        self._journal = journal
        self._notifier = notifier
        self._metrics = Metrics(settings.site, settings.role)
        self._reporter = Everyone(logs.LogReporter(self._metrics.count))
        self._announcer = Announcer(self._reporter)
        self._hearts = Heartbeats(time.monotonic)
        self._beat = self._hearts.register("reconcile", limits.WATCHDOG_S)
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._passing = asyncio.Lock()
        self._settled = asyncio.Event()
        self._next: Settings | None = None
        self._broken: Exception | None = None
        self._ready_by: float | None = time.monotonic() + limits.READY_GRACE_S
        self._sign: tuple[str, ...] | None = None
        self._moved = False
        self._showing = Showing(journal, now)
        self._showing.halted = halted
        self._wired = self._begin()

    async def serve(self) -> None:
        """Run every loop until SIGTERM; one that fails ends all, after an open transaction."""
        logs.configure(self._settings.log.level, count=self._metrics.log_line)
        server = HttpServer(self._settings.http, self)
        self._take_signals()
        await self._conclude(Pass())  # so that the first answer knows the journal's past
        await server.start()
        self._reporter.emit(Event(EventType.AGENT_STARTED, {"version": __version__}))
        try:
            async with beside(feed_watchdog(self._notifier, self._hearts), self._tick()):
                while not self._stopping.is_set():
                    await self._use_settings()
        finally:
            self._reporter.emit(Event(EventType.AGENT_STOPPING))
            self._notifier.stopping("ending")
            await server.stop()
            async with self._passing:  # a pass that the surface began ends first
                await self._wired.close()

    async def _use_settings(self) -> None:
        """Work with one set of settings, until the next one or the end."""
        async with self._passing:
            await self._exchange()
        companions = [companion.run() for companion in self._wired.companions]
        async with beside(self._watch(self._wired), *companions):
            await self._reconcile()
            self._wired.wind_up()

    async def _exchange(self) -> None:
        """Take over the next settings, if any, and look at the host with them; between passes."""
        if self._next is not None:
            await self._wired.close()
            self._settings, self._next = self._next, None
            logs.configure(self._settings.log.level, count=self._metrics.log_line)
            self._wired = self._begin()
        reconciler = self._wired.reconciler
        if not self._showing.halted:
            await reconciler.tidy()
        if reconciler.known_good is not None:
            await self._conclude(await reconciler.preview(reconciler.known_good))

    async def _reconcile(self) -> None:
        """Run passes, each at a wake or when it is due."""
        while not self._stopping.is_set() and self._next is None:
            woken = self._wake.is_set() and not self._moved
            self._wake.clear()
            self._moved = False
            await self._one_pass(woken=woken)
            self._say_ready()
            await self._sleep(self._pause_s())

    def _pause_s(self) -> float:
        """Return when to look again without a wake: soon after any event, else for drift."""
        found, drift_s = self._showing.found, self._settings.drift.interval_s
        if found.again_s is not None:
            return found.again_s
        moved = found.failure or found.outcome or self._ready_by is not None
        return min(limits.RETRY_S, drift_s) if moved else drift_s

    def _say_ready(self) -> None:
        """Tell the service manager once: with a known state, or when the grace is over."""
        if self._ready_by is None or self._next is not None:
            return
        if self.status().state is not AgentState.STARTING or time.monotonic() > self._ready_by:
            self._ready_by = None
            self._notifier.ready(self._showing.line())
            # What lives now lives to the end; collecting it again would stall a change.
            gc.freeze()

    async def _sleep(self, wait_s: float) -> None:
        """Wait for a wake, and keep the watchdog convinced meanwhile."""
        due = time.monotonic() + wait_s
        while not self._wake.is_set() and (left_s := due - time.monotonic()) > 0:
            self._beat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, limits.PULSE_S)):
                    await self._wake.wait()
            await self._feel()
        self._beat()

    async def _feel(self) -> None:
        """Wake at once for a host that another hand has moved since the last pass."""
        if self._sign is None or self._wake.is_set() or self._passing.locked():
            return
        async with self._passing:
            moved = await self._wired.reconciler.pulse() != self._sign
        if moved:
            self._sign, self._moved = None, True
            self._wake.set()

    @contextlib.contextmanager
    def _sharing_fate(self) -> Iterator[None]:
        """Let what must end the process end it, though a request met it first."""
        if self._broken is not None:
            raise self._broken
        try:
            yield
        except Exception as fault:
            if isinstance(fault, JournalLost) or not isinstance(fault, ConfsyncError):
                self._broken = fault
                self._wake.set()
            raise

    async def _one_pass(
        self, allow: tuple[str, ...] = (), *, woken: bool = False, at_once: bool = False
    ) -> Pass:
        async with self._passing:
            with self._sharing_fate():
                sign = await self._wired.reconciler.pulse()
                found = await self._do_pass(allow, woken=woken, at_once=at_once)
                # After a transaction of ours the next pass, due soon, tells what is normal.
                self._sign = None if found.outcome else sign
                return found

    async def _do_pass(self, allow: tuple[str, ...], *, woken: bool, at_once: bool) -> Pass:
        began = time.monotonic()
        reconciler = self._wired.reconciler
        if self._showing.halted:
            found = await reconciler.preview()
        elif not woken:
            found = await reconciler.once(allow, at_once=at_once)
        elif (news := await reconciler.when_woken()) is None:
            self._showing.heard()
            return self._showing.found
        else:
            found = news
        if found.outcome is not None and found.outcome.state is State.HALTED:
            self._showing.halted = found.outcome.reason
        await self._conclude(found)
        self._announcer.tell(found, self._showing.status(), time.monotonic() - began)
        kept = await reconciler.remember(found)
        if kept is not found:
            await self._conclude(kept)
        if self._next is None:
            self._settled.set()
        return found

    async def _conclude(self, found: Pass) -> None:
        """Make the newest pass the truth that everybody is shown."""
        await self._showing.conclude(found)
        self._notifier.status(self._showing.line())

    async def _watch(self, wired: Wired) -> None:
        async with contextlib.aclosing(wired.source.wakes(wired.reconciler.layers)) as wakes:
            async for _ in wakes:
                self._wake.set()

    async def _tick(self) -> None:
        """Measure how late the loop is."""
        while True:
            due = time.monotonic() + limits.TICK_S
            await asyncio.sleep(limits.TICK_S)
            self._metrics.loop_lag(time.monotonic() - due)

    # --- signals

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def _hang_up(self) -> None:
        with contextlib.suppress(BadSettings):
            self._reload()

    def _reload(self) -> None:
        """Read the settings again; those that are refused change nothing. Raises BadSettings."""
        self._notifier.reloading()
        try:
            settings = load(self._config).in_place_of(self._settings)
            layer_paths(settings.hierarchy, names_of(settings))
        except BadSettings as fault:
            self._reporter.emit(Event(EventType.SETTINGS_REJECTED, {"reason": str(fault)}))
            self._notifier.ready(self._showing.line())
            raise
        self._reporter.emit(Event(EventType.SETTINGS_LOADED))
        self._ready_by = time.monotonic()
        self._next = settings
        self._settled.clear()
        self._wake.set()

    # --- the port of the HTTP surface

    def status(self) -> Status:
        """Return the status of this moment: what is known, with the age it has by now."""
        return self._showing.status(applying=self._wired.reconciler.applying)

    def live(self) -> str | None:
        """Return which loop stands still."""
        return ", ".join(self._hearts.late()) or None

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics."""
        self._metrics.observe(self.status(), self._wired.room.drivers)
        self._metrics.requests(self._wired.source.requests)
        self._metrics.mqtt(self._wired.mqtt.stats if self._wired.mqtt else None)
        return self._metrics.render(accept)

    async def explain(self, key: str, node: str) -> Json:
        """Return why a value is so, by what the newest pass found."""
        shown = self._showing
        return await self._wired.explainer.explain(key, node, shown.found, shown.age_s)

    async def reload(self, actor: str, *, wait: bool) -> Json:
        """Read the settings again; `wait` = until a pass with them has ended."""
        self._reload()
        if wait:
            await self._settled.wait()
        return {"reloaded": str(self._config), "by": actor}

    async def pause(self, actor: str, reason: str) -> Json:
        """Stop writing on this host; a transaction that is open still runs to its end."""
        with self._sharing_fate():
            await self._journal.pause(f"{reason} (by {actor})")
        return await self._look_again(actor)

    async def resume(self, actor: str, *, accept: bool) -> Json:
        """Write again; a halted transaction is tried once more, or the host taken as it is."""
        async with self._passing:
            with self._sharing_fate():
                await (self._journal.accept() if accept else self._journal.resume())
                ending = end_open_transaction(self._journal, self._reporter, self._beat)
                self._showing.halted = await ending
        if self._wired.keeper:
            await self._wired.keeper.resume(accept=accept)
        return await self._look_again(actor)

    async def retry(self, actor: str) -> Json:
        """Lift every quarantine; the next pass, at once, tries again."""
        with self._sharing_fate():
            await self._journal.retry()
        await self._wired.forgive()
        return await self._look_again(actor)

    async def apply(self, actor: str, allow: tuple[str, ...]) -> Json:
        """Run one pass now, with these allowances. Raises Held and what stands against it."""
        if self._showing.halted:
            raise Held(f"this host is halted: {self._showing.halted}")
        if self._stopping.is_set():
            raise Held("this agent is ending")
        found = await self._one_pass(allow, at_once=True)
        site = await self._wired.keeper.apply(allow) if self._wired.keeper else None
        for refusal in (*found.refusals, *(site.refusals if site else ())):
            raise refusal
        return {**self.status().as_json(), "by": actor}

    async def adopt(self, actor: str, order: Json) -> Json:
        """Take over what a driver finds here. Raises Held, and what stands against it."""
        if self._showing.halted:
            raise Held(f"this host is halted: {self._showing.halted}")
        async with self._passing:
            with self._sharing_fate():
                data = await self._wired.adopter.adopt(order, actor, now())
        self._wake.set()
        return data

    async def _look_again(self, actor: str) -> Json:
        await self._conclude(self._showing.found)
        self._wake.set()
        return {**self.status().as_json(), "by": actor}

    def _wire(self) -> Wired:
        room = Room({}, self._journal, self._reporter, self._beat, self._stopping)
        return wire(self._settings, room, self.status)

    def _begin(self) -> Wired:
        wired, own = self._wire(), self._settings
        self._showing.introduce(own.node, own.site, own.role, wired.source.name, wired)
        self._reporter.also = wired.mqtt
        return wired
