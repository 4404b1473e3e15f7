"""What a command does by itself, where no agent runs or none is asked.

Separate because it holds the host's lock for one act and lets go of everything afterwards; the
rules are those of the agent, which is wired in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

from confsync.edge.consul import ConsulSource
from confsync.edge.directory import DirectorySettings, DirectorySource
from confsync.edge.online import Finding, Rights, ask, may_read
from confsync.edge.site_journal import ROOT, ConsulJournal
from confsync.edge.transport import Client
from confsync.flow.passed import Pass
from confsync.flow.reconcile import Reconciler
from confsync.flow.recover import recover
from confsync.flow.transact import Room
from confsync.host.journal import SqliteJournal, now
from confsync.host.logs import LogReporter
from confsync.host.state import HostLock, private_dir
from confsync.model.errors import ConfsyncError, Held, HostBusy, JournalDamaged, SourceError
from confsync.model.ids import Json, KeyPath
from confsync.model.machine import State
from confsync.model.section import Ownership, Scope
from confsync.ports import Driver, Reporter
from confsync.settings import Settings
from confsync.wiring import Wired, drivers_of, ends_of, parts_of, site_reconciler, source_of, wire


@contextlib.asynccontextmanager
async def opened(settings: Settings, reporter: Reporter) -> AsyncIterator[Wired]:
    """Wire for one command, and let go of everything afterwards."""
    journal = SqliteJournal(private_dir(settings.state_dir) / "journal.db")
    wired = wire(settings, Room({}, journal, reporter))
    try:
        yield wired
    finally:
        await wired.close()
        await journal.aclose()


async def preview(settings: Settings, tree: Path | None, allow: Collection[str] = ()) -> Pass:
    """Return what would be done on this host now, from the source or from a tree of files."""
    async with opened(settings, LogReporter(lambda _: None)) as wired:
        return await _proposed(wired.reconciler, tree, allow)


async def preview_site(
    settings: Settings, tree: Path | None, allow: Collection[str] = ()
) -> Pass | None:
    """Return what would be done for this whole site now, None = never by this host.

    Why no lease: nothing is written, and whoever holds it is not to be disturbed.
    """
    parts = parts_of(settings, Scope.SITE)
    if not parts:
        return None
    consul, source = settings.source.consul, source_of(settings)
    client = Client(consul.endpoint(), consul.token())
    journal = ConsulJournal(client, settings.source.prefix, None, _unpaused, now)
    drivers = drivers_of(parts)
    room = Room(drivers, journal, LogReporter(lambda _: None))
    try:
        await may_read(client, settings.source.prefix, ROOT)  # or it looks as if it were empty
        await journal.read()
        return await _proposed(site_reconciler(settings, parts, source, room), tree, allow)
    except SourceError as fault:
        return Pass(fault=fault)
    except JournalDamaged as fault:
        return Pass(failure=fault)
    finally:
        for driver in drivers.values():
            driver.close()
        await source.close()
        await client.close()


async def _unpaused() -> None:
    """Tell that nothing keeps a look from being taken."""


async def _proposed(reconciler: Reconciler, tree: Path | None, allow: Collection[str]) -> Pass:
    if tree is None:
        return await _after_quiet(lambda: reconciler.preview(allow=allow))
    given = DirectorySource(DirectorySettings(path=str(tree)))
    return await reconciler.preview(await given.snapshot(reconciler.layers), allow)


async def online(settings: Settings) -> list[Finding]:
    """Ask whether this host may and can do what it is set up to do; nothing is written."""
    findings = []
    async with opened(settings, LogReporter(lambda _: None)) as wired:
        if isinstance(wired.source, ConsulSource):
            report = KeyPath(f"report/{settings.site}/{settings.node}")
            findings += await ask(wired.source.checks(wired.reconciler.layers, report))
        for part in wired.parts.values():
            findings.append(await _look(part.driver))
    if settings.replicate.enabled and not settings.home:
        home, mirror = ends_of(settings)
        findings += await ask((*mirror.checks(), *home.checks()))
        await mirror.close()
        await home.close()
    for part in parts_of(settings, Scope.SITE).values():
        consul = settings.source.consul
        client = Client(consul.endpoint(), consul.token())
        findings += await ask(Rights(client, settings.source.prefix).of_site(settings.site))
        findings.append(await _look(part.driver))
        await client.close()
    return findings


async def _look(driver: Driver) -> Finding:
    name = f"driver {driver.name}"
    try:
        seen = await driver.observe()
    except ConfsyncError as fault:
        return Finding(name, fault)
    if seen.ownership is Ownership.ABSENT:
        return Finding(name, HostBusy(seen.problem))
    return Finding(name, warning=seen.problem)


async def explain(settings: Settings, key: str, node: str) -> Json:
    """Return why a value is so, without an agent: by a look at the source and at this host."""
    async with opened(settings, LogReporter(lambda _: None)) as wired:
        found = await _after_quiet(wired.reconciler.preview)
        return await wired.explainer.explain(key, node, found, 0.0)


async def apply_once(settings: Settings, allow: Collection[str]) -> Pass:
    """Do one whole pass without an agent. Raises AnotherAgent, Held when halted."""
    with HostLock(private_dir(settings.state_dir)):
        async with opened(settings, LogReporter(lambda _: None)) as wired:
            ended = await recover(wired.room)
            if ended is not None and ended.state is State.HALTED:
                raise Held(f"this host is halted: {ended.reason}")
            found = await _after_quiet(lambda: wired.reconciler.once(allow))
            return await wired.reconciler.remember(found)


async def adopt_once(settings: Settings, order: Json, by: str) -> Json:
    """Adopt where no agent runs. Raises AnotherAgent, Held when halted, NotOwned."""
    with HostLock(private_dir(settings.state_dir)):
        async with opened(settings, LogReporter(lambda _: None)) as wired:
            ended = await recover(wired.room)
            if ended is not None and ended.state is State.HALTED:
                raise Held(f"this host is halted: {ended.reason}")
            if not order["draft"]:  # a draft is of what runs, whatever is wanted
                await _after_quiet(lambda: wired.reconciler.preview(allow=order["allow"]))
            return await wired.adopter.adopt(order, by, now())


async def _after_quiet(look: Callable[[], Awaitable[Pass]]) -> Pass:
    """Look until plain writes have been quiet for long enough to be believed."""
    while (found := await look()).again_s is not None:
        await asyncio.sleep(found.again_s)
    return found


async def hold(state_dir: Path, act: str, *, reason: str = "", accept: bool = False) -> Json:
    """Pause, resume or retry where no agent runs: the next one reads it from the journal."""
    with HostLock(private_dir(state_dir)):
        journal = SqliteJournal(state_dir / "journal.db")
        try:
            match act:
                case "pause":
                    await journal.pause(reason)
                case "retry":
                    await journal.retry()
                case "resume" if accept:
                    await journal.accept()
                case "resume":
                    await journal.resume()
        finally:
            await journal.aclose()
    return {}
