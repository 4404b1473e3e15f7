"""Settings -> ports: what the agent and the command line work with.

Separate because here alone adapters are chosen; a new subsystem is one line in `parts_of`.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from confsync import __version__
from confsync.drivers.bird.driver import BirdDriver, BirdSettings
from confsync.drivers.bird.section import BgpSection
from confsync.drivers.calico.driver import CalicoDriver
from confsync.drivers.calico.section import CalicoSection
from confsync.drivers.felix.driver import FelixDriver, FelixSettings
from confsync.drivers.felix.section import FelixSection
from confsync.drivers.lvm.driver import LvmDriver, LvmSettings
from confsync.drivers.lvm.section import LvmSection
from confsync.edge.alive import LiveReports
from confsync.edge.consul import ConsulSource
from confsync.edge.directory import DirectorySettings, DirectorySource
from confsync.edge.endpoint import Token, token_path
from confsync.edge.fleet import REPORTS, SITE_REPORT, ConsulBoard
from confsync.edge.lease import ConsulLease
from confsync.edge.mirror import ConsulHome, ConsulMirror
from confsync.edge.mqtt import Mqtt
from confsync.edge.site_journal import ConsulJournal
from confsync.edge.transport import Client
from confsync.flow.adopt import Adopter
from confsync.flow.explain import Explainer
from confsync.flow.reconcile import Part, Reconciler, Rules
from confsync.flow.replicate import Replicator
from confsync.flow.reporting import Reporting
from confsync.flow.site import SiteKeeper
from confsync.flow.transact import Room
from confsync.host.command import CommandProbe
from confsync.host.facts import HostFacts, SiteFacts
from confsync.host.journal import now
from confsync.host.memory import FileMemory
from confsync.host.ring import DiskRing
from confsync.host.state import private_dir
from confsync.model import limits
from confsync.model.errors import UnknownKey
from confsync.model.ids import NAME, DriverName, KeyPath, NodeId, RoleId, SectionName, SiteId
from confsync.model.mirror import MIRROR
from confsync.model.policy import Budgets
from confsync.model.scopes import of_site
from confsync.model.section import AnySection, Scope
from confsync.model.snapshot import HEAD, QuietPeriod
from confsync.model.status import MirrorStatus, SiteStatus, Status
from confsync.ports import Driver, Probe, Reporter, Source
from confsync.ports.site import Board, Companion, Fence
from confsync.settings import Settings, name_parts

SECTIONS: Mapping[SectionName, AnySection] = {
    SectionName("lvm"): LvmSection(),
    SectionName("felix"): FelixSection(),
    SectionName("bgp"): BgpSection(),
    SectionName("calico"): CalicoSection(),
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
    keeper: SiteKeeper | None = None

    @property
    def companions(self) -> tuple[Companion, ...]:
        """Return what works beside the passes of this host."""
        given = (self.replicator, self.keeper, *self.reporting, self.mqtt)
        return tuple(one for one in given if one)

    def broker(self) -> str | None:
        """Return why the MQTT broker does not hear us, empty = it does, None = there is none."""
        return self.mqtt.stats.problem if self.mqtt else None

    def refusals(self) -> tuple[str, ...]:
        """Return why our reports are not taken, where they are refused."""
        return tuple(one.refusal for one in self.reporting if one.refusal)

    def mirror(self) -> MirrorStatus | None:
        """Return how the site's copy stands, where this agent may make it."""
        return self.replicator.state if self.replicator else None

    def site_work(self) -> SiteStatus | None:
        """Return how the site stands, where this agent may act for it."""
        return self.keeper.status() if self.keeper else None

    @property
    def adopter(self) -> Adopter:
        """What takes over a host that somebody else configured."""
        return Adopter(self.reconciler, self.parts, self.room.journal)

    async def forgive(self) -> None:
        """Try again what failed or was fought over, on this host and for its site."""
        self.reconciler.forgive()
        if self.keeper:
            await self.keeper.retry()

    def wind_up(self) -> None:
        """Let what works beside the passes know that its time is over."""
        if self.keeper:
            self.keeper.wind_up()

    async def close(self) -> None:
        """Give up every connection."""
        await self.source.close()
        for companion in self.companions:
            await companion.close()
        for part in self.parts.values():
            part.driver.close()


def drivers_for_recovery() -> Mapping[DriverName, Driver]:
    """Return all that a host may have, without settings: a step carries what undo needs."""
    drivers: tuple[Driver, ...] = (
        LvmDriver(LvmSettings()),
        FelixDriver(FelixSettings()),
        BirdDriver(BirdSettings()),
    )
    return {driver.name: driver for driver in drivers}


def parts_of(settings: Settings, scope: Scope = Scope.NODE) -> Mapping[SectionName, Part]:
    """Return the sections whose driver is enabled on this host, in the order of their steps.

    Why storage comes first: a commit goes the other way, and there BIRD's timer runs. BIRD comes
    last, since without its routes nothing else can be reached.
    """
    drivers: Mapping[SectionName, tuple[bool, Callable[[], Driver]]] = {
        SectionName("lvm"): (
            settings.drivers.lvm.enabled,
            lambda: LvmDriver(settings.drivers.lvm),
        ),
        SectionName("felix"): (
            settings.drivers.felix.enabled,
            lambda: FelixDriver(settings.drivers.felix),
        ),
        SectionName("bgp"): (
            settings.drivers.bird.enabled,
            lambda: BirdDriver(settings.drivers.bird),
        ),
        SectionName("calico"): (
            settings.drivers.calico.enabled,
            lambda: CalicoDriver(settings.drivers.calico),
        ),
    }
    return {
        name: Part(SECTIONS[name], make())
        for name, (enabled, make) in drivers.items()
        if enabled and SECTIONS[name].scope is scope
    }


def drivers_of(parts: Mapping[SectionName, Part]) -> Mapping[DriverName, Driver]:
    """Return the drivers of sections by their own names."""
    return {part.driver.name: part.driver for part in parts.values()}


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
    settings: Settings,
    status: Callable[[], Status],
    keeper: SiteKeeper | None,
    reporter: Reporter,
) -> tuple[tuple[Reporting, ...], Mqtt | None]:
    """Return what tells others of this node and of its site: in Consul, and through a broker."""
    prefix, node = settings.source.prefix, (settings.site, settings.node)
    boot = secrets.token_hex(4)
    mqtt = None
    told: list[tuple[Board, Callable[[], Status | None]]] = []
    if settings.source.kind == "consul":
        consul = settings.source.consul
        keys = {KeyPath(f"{REPORTS}{settings.site}/{settings.node}"): status}
        for key, what in (keys | ({SITE_REPORT: keeper.report} if keeper else {})).items():
            client = Client(consul.endpoint(), consul.token())
            told.append((ConsulBoard(client, prefix, key), what))
    if broker := settings.mqtt.broker():
        ring = DiskRing(settings.state_dir / "mqtt.db", limits.MQTT_EVENTS)
        mqtt = Mqtt(broker, prefix, node, boot, now, ring)
        told.append((mqtt, status))
    about = {"version": __version__, "boot": boot}
    return tuple(Reporting(*one, about, now, reporter) for one in told), mqtt


def keeper_of(settings: Settings, room: Room) -> SiteKeeper | None:
    """Return what acts for the whole site, where this agent may do that."""
    parts = parts_of(settings, Scope.SITE)
    if not parts:
        return None
    consul, prefix = settings.source.consul, settings.source.prefix
    client, source = Client(consul.endpoint(), consul.token()), source_of(settings)

    def judges(fence: Fence) -> Callable[[], tuple[Probe, ...]]:
        return lambda: (LiveReports(client, prefix, settings.site, fence, now),)

    own = Room(drivers_of(parts), room.journal, room.reporter, room.beat, room.stopping)
    reconciler = functools.partial(site_reconciler, settings, parts, source)
    return SiteKeeper(
        ConsulLease(client, prefix, settings.node),
        source,
        client,
        lambda fence: ConsulJournal(client, prefix, fence, room.journal.paused, now),
        judges,
        reconciler,
        own,
        (settings.node, settings.site, settings.role),
        settings.drift.interval_s,
        now,
    )


def site_reconciler(
    settings: Settings, parts: Mapping[SectionName, Part], source: Source, room: Room
) -> Reconciler:
    """Return what passes over the whole site are made with."""
    rules = Rules(
        of_site(settings.hierarchy),
        {"site": settings.site},
        Budgets(**settings.guard.model_dump()),
        repair=frozenset(map(DriverName, settings.drift.repair)),
    )
    return Reconciler(
        parts,
        SECTIONS,
        source,
        FileMemory(private_dir(settings.state_dir / "site")),
        SiteFacts(settings.site),
        room,
        rules,
        QuietPeriod(settings.source.quiet_min_s, settings.source.quiet_max_s),
        Scope.SITE,
    )


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
    commands = tuple(dict.fromkeys(settings.verify.commands))

    def checks() -> tuple[Probe, ...]:
        return tuple(map(CommandProbe, commands))

    own = Room(drivers_of(parts), room.journal, room.reporter, room.beat, room.stopping, checks)
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
    keeper = keeper_of(settings, own) if status else None
    reporting, mqtt = reporting_of(settings, status, keeper, own.reporter) if status else ((), None)
    return Wired(source, parts, reconciler, own, explainer, replicator, reporting, mqtt, keeper)
