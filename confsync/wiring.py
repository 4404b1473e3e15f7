"""Settings -> ports: what the agent and the command line work with.

Separate because here alone adapters are chosen; a new subsystem is one line in `parts_of`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from confsync import __version__
from confsync.drivers.bird.driver import BirdDriver, BirdSettings
from confsync.drivers.bird.section import BgpSection
from confsync.drivers.lvm.driver import LvmDriver, LvmSettings
from confsync.drivers.lvm.section import LvmSection
from confsync.edge.consul import ConsulSource
from confsync.edge.directory import DirectorySettings, DirectorySource
from confsync.edge.endpoint import Token, token_path
from confsync.edge.fleet import ConsulBoard
from confsync.edge.lease import ConsulLease
from confsync.edge.mirror import ConsulHome, ConsulMirror
from confsync.edge.mqtt import Mqtt
from confsync.edge.online import Finding, ask
from confsync.edge.transport import Client
from confsync.flow.adopt import Adopter
from confsync.flow.explain import Explainer
from confsync.flow.passed import Pass
from confsync.flow.reconcile import Part, Reconciler, Rules
from confsync.flow.recover import recover
from confsync.flow.replicate import Replicator
from confsync.flow.reporting import Reporting
from confsync.flow.transact import Room
from confsync.host.command import CommandProbe
from confsync.host.facts import HostFacts
from confsync.host.journal import SqliteJournal, now
from confsync.host.logs import LogReporter
from confsync.host.memory import FileMemory
from confsync.host.ring import DiskRing
from confsync.host.state import HostLock, private_dir
from confsync.model import limits
from confsync.model.errors import ConfsyncError, Held, HostBusy, UnknownKey
from confsync.model.ids import NAME, DriverName, Json, KeyPath, NodeId, RoleId, SectionName, SiteId
from confsync.model.machine import State
from confsync.model.mirror import MIRROR
from confsync.model.policy import Budgets
from confsync.model.section import AnySection, Ownership
from confsync.model.snapshot import HEAD, QuietPeriod
from confsync.model.status import MirrorStatus, Status
from confsync.ports import Driver, Reporter, Source
from confsync.ports.site import Board, Companion
from confsync.settings import Settings, name_parts

SECTIONS: Mapping[SectionName, AnySection] = {
    SectionName("lvm"): LvmSection(),
    SectionName("bgp"): BgpSection(),
}


@dataclass(frozen=True, slots=True)
class Wired:
    """One agent's world: where values come from, and who carries them to the host."""

    source: Source
    parts: Mapping[SectionName, Part]
    reconciler: Reconciler
    room: Room
    explainer: Explainer
    replicator: Replicator | None = None
    reporting: tuple[Reporting, ...] = ()
    mqtt: Mqtt | None = None

    @property
    def companions(self) -> tuple[Companion, ...]:
        """Return what works beside the passes of this host."""
        return tuple(one for one in (self.replicator, *self.reporting, self.mqtt) if one)

    def broker(self) -> str | None:
        """Return why the MQTT broker does not hear us, empty = it does, None = there is none."""
        return self.mqtt.stats.problem if self.mqtt else None

    def refusals(self) -> tuple[str, ...]:
        """Return why our reports are not taken, where they are refused."""
        return tuple(one.refusal for one in self.reporting if one.refusal)

    def mirror(self) -> MirrorStatus | None:
        """Return how the site's copy stands, where this agent may make it."""
        return self.replicator.state if self.replicator else None

    @property
    def adopter(self) -> Adopter:
        """What takes over a host that somebody else configured."""
        return Adopter(self.reconciler, self.parts, self.room.journal)

    async def close(self) -> None:
        """Give up every connection."""
        await self.source.close()
        for companion in self.companions:
            await companion.close()
        for part in self.parts.values():
            part.driver.close()


def drivers_for_recovery() -> Mapping[DriverName, Driver]:
    """Return every driver, without settings: a journalled step carries all that undo needs."""
    drivers: tuple[Driver, ...] = (LvmDriver(LvmSettings()), BirdDriver(BirdSettings()))
    return {driver.name: driver for driver in drivers}


def parts_of(settings: Settings) -> Mapping[SectionName, Part]:
    """Return the sections whose driver is enabled on this host, in the order of their steps.

    Why storage comes first: a commit goes the other way, and there BIRD's timer runs.
    """
    drivers: Mapping[SectionName, tuple[bool, Callable[[], Driver]]] = {
        SectionName("lvm"): (
            settings.drivers.lvm.enabled,
            lambda: LvmDriver(settings.drivers.lvm),
        ),
        SectionName("bgp"): (
            settings.drivers.bird.enabled,
            lambda: BirdDriver(settings.drivers.bird),
        ),
    }
    return {
        name: Part(SECTIONS[name], make()) for name, (enabled, make) in drivers.items() if enabled
    }


def source_of(settings: Settings) -> Source:
    """Return where configuration comes from."""
    if settings.source.kind == "directory":
        return DirectorySource(DirectorySettings(path=settings.source.path))
    record = HEAD if settings.home else MIRROR
    return ConsulSource(settings.source.consul, settings.source.prefix, record)


def replicator_of(settings: Settings, reporter: Reporter) -> Replicator | None:
    """Return what copies from home to this site, where this agent may do that."""
    if not settings.replicate.enabled or settings.home:
        return None
    home, mirror = ends_of(settings)
    lease = ConsulLease(mirror.client, settings.source.prefix, settings.node)
    return Replicator(home, mirror, lease, reporter)


def reporting_of(
    settings: Settings, status: Callable[[], Status], reporter: Reporter
) -> tuple[tuple[Reporting, ...], Mqtt | None]:
    """Return what tells others of this node: in Consul, and through a broker."""
    prefix, node = settings.source.prefix, (settings.site, settings.node)
    boot = secrets.token_hex(4)
    mqtt = None
    boards: list[Board] = []
    if settings.source.kind == "consul":
        consul = settings.source.consul
        boards.append(ConsulBoard(Client(consul.endpoint(), consul.token()), prefix, *node))
    if broker := settings.mqtt.broker():
        ring = DiskRing(settings.state_dir / "mqtt.db", limits.MQTT_EVENTS)
        mqtt = Mqtt(broker, prefix, node, boot, now, ring)
        boards.append(mqtt)
    about = {"version": __version__, "boot": boot}
    return tuple(Reporting(board, status, about, now, reporter) for board in boards), mqtt


def ends_of(settings: Settings) -> tuple[ConsulHome, ConsulMirror]:
    """Return the two ends of a copy, with the token that is for it."""
    consul, prefix = settings.source.consul, settings.source.prefix
    token = Token(token_path(settings.replicate.token_file or consul.token_file))
    there = Client(consul.endpoint(), token, consul.home_datacenter)
    here = Client(consul.endpoint(), token)
    home = ConsulHome(there, prefix, consul.home_datacenter)
    return home, ConsulMirror(here, prefix, settings.site)


def names_of(settings: Settings) -> Mapping[str, str]:
    """Return what the levels of the hierarchy may ask for."""
    names = {
        "site": settings.site,
        "node": settings.node,
        "role": settings.role,
        "variant": settings.variant,
    }
    return {name: value for name, value in names.items() if value}


def names_of_node(node: str, sites: Iterable[str], settings: Settings) -> Mapping[str, str]:
    """Return a node's place in the hierarchy, by its name; our own is in the settings."""
    if node == settings.node:
        return names_of(settings)
    near = [site for site in sites if node.startswith(f"{site}-")]
    site = max(near, key=len, default=settings.site)
    role, variant = name_parts(node, site)
    names = {"site": site, "node": node, "role": role, "variant": variant}
    return {name: value for name, value in names.items() if value}


def names_of_another(node: str, settings: Settings) -> Mapping[str, str]:
    """Return what another node's name says: of our site, or of the one that is its first word.

    Raises: UnknownKey.
    """
    if not NAME.fullmatch(node):
        raise UnknownKey(f"{node!r} is no node's name: small letters, digits, . _ - are wanted")
    return names_of_node(node, (settings.site, node.partition("-")[0]), settings)


def wire(settings: Settings, room: Room, status: Callable[[], Status] | None = None) -> Wired:
    """Join everything; the room's drivers are chosen here.

    Shape: `status` is what others are told of this node, None = nothing: a command is no agent.
    """
    parts, source = parts_of(settings), source_of(settings)
    drivers = {part.driver.name: part.driver for part in parts.values()}
    checks = tuple(map(CommandProbe, dict.fromkeys(settings.verify.commands)))
    own = Room(drivers, room.journal, room.reporter, room.beat, room.stopping, checks)
    guard = settings.guard
    budgets = Budgets(**guard.model_dump())
    facts = HostFacts(
        SiteId(settings.site), RoleId(settings.role), NodeId(settings.node), settings.variant
    )
    rules = Rules(
        settings.hierarchy,
        names_of(settings),
        budgets,
        settings.pace.splay_s,
        frozenset(map(DriverName, settings.drift.repair)),
    )
    reconciler = Reconciler(
        parts,
        SECTIONS,
        source,
        FileMemory(settings.state_dir),
        facts,
        own,
        rules,
        QuietPeriod(settings.source.quiet_min_s, settings.source.quiet_max_s),
    )
    another = functools.partial(names_of_another, settings=settings)
    explainer = Explainer(parts, SECTIONS, source, facts, rules, another)
    replicator = replicator_of(settings, own.reporter)
    reporting, mqtt = reporting_of(settings, status, own.reporter) if status else ((), None)
    return Wired(source, parts, reconciler, own, explainer, replicator, reporting, mqtt)


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
        if tree is None:
            return await _after_quiet(lambda: wired.reconciler.preview(allow=allow))
        given = DirectorySource(DirectorySettings(path=str(tree)))
        snapshot = await given.snapshot(wired.reconciler.layers)
        return await wired.reconciler.preview(snapshot, allow)


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
