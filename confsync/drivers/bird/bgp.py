"""The `bgp` section's values: what one host's BGP speaker should be.

Separate because parsing, rules, rendering and planning all speak of these. Everything is explicit
here, defaults included, so that equal values render to equal bytes; named things are sorted by
name, sessions and channels are IPv4 first. None and the empty tuple mean "not said": BIRD's own
default holds, and nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from confsync.drivers.bird.policy import (
    Address,
    Family,
    NamedFilter,
    NamedSet,
    Network,
    Policy,
    family_of,
)
from confsync.model.ids import ObjectId, SectionName

SECTION: Final = SectionName("bgp")

# --- peers


@dataclass(frozen=True, slots=True)
class Limit:
    """How many routes may pass, and what happens then: warn, block, restart or disable."""

    routes: int
    action: str = "disable"


@dataclass(frozen=True, slots=True)
class Channel:
    """One family inside a session.

    Shape: no `imports` = all but the default route; no `exports` = exactly what we announce;
    `next_hop` is self, keep or an address; `add_paths` is rx, tx or both; `gateway` is direct
    or recursive.
    """

    family: Family
    imports: Policy | None = None
    exports: Policy | None = None
    table: str = ""
    preference: int | None = None
    next_hop: str = ""
    extended_next_hop: bool = False
    add_paths: str = ""
    gateway: str = ""
    igp_table: str = ""
    import_table: bool = False
    keep_filtered: bool = False
    import_limit: Limit | None = None
    receive_limit: Limit | None = None
    export_limit: Limit | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One protocol of BIRD's: a peer, met over one address family.

    Shape: exactly one of `neighbor` and `neighbor_range` is said; `interface` is where a
    link-local or unnumbered neighbour lives; `name` is the protocol's where it is not ours to
    choose (empty = made of the peer's).
    """

    family: Family
    neighbor: Address | None
    source: Address | None
    channels: tuple[Channel, ...]
    neighbor_range: Network | None = None
    interface: str = ""
    name: str = ""

    @property
    def carries(self) -> tuple[Family, ...]:
        """Return the families of the routes that it brings."""
        return tuple(channel.family for channel in self.channels)


@dataclass(frozen=True, slots=True)
class Timers:
    """A peer's timers; any change of them restarts its sessions.

    Shape: `keepalive_s` 0 = a third of the hold time.
    Units: seconds.
    """

    hold_s: int
    keepalive_s: int
    connect_delay_s: int
    connect_retry_s: int
    error_wait_min_s: int
    error_wait_max_s: int
    error_forget_s: int | None = None
    startup_hold_s: int | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why a peer is drained or disabled, and when that should end (RFC 3339; empty = open)."""

    reason: str
    until: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """A neighbouring speaker, with one session per family that it has an address in.

    Shape: `asn` is its AS number, or "internal" or "external"; `multihop` the hops it may be away,
    0 = on our own network; `ttl_security` as BIRD has it; `graceful_restart` is off, aware or on;
    `bfd` is off, on or graceful; `guard` are words of `guards`, in their order.
    """

    name: str
    asn: int | str
    sessions: tuple[Session, ...]
    timers: Timers
    local_as: int | None = None
    multihop: int = 0
    bfd: str = "off"
    passive: bool = False
    required: bool = True
    description: str = ""
    password_file: str = ""
    setkey: bool | None = None
    local_port: int | None = None
    port: int | None = None
    strict_bind: bool = False
    ttl_security: bool = False
    rr_client: bool = False
    rr_cluster_id: IPv4Address | None = None
    rs_client: bool = False
    allow_local_as: int | None = None
    enforce_first_as: bool = False
    role: str = ""
    graceful_restart: str = "aware"
    graceful_restart_s: int | None = None
    llgr: str = ""
    llgr_stale_s: int | None = None
    interpret_communities: bool = True
    path_metric: bool = True
    med_metric: bool = False
    default_med: int | None = None
    default_local_pref: int | None = None
    cost: int | None = None
    extended_messages: bool = False
    disable_after_error: bool = False
    check_link: bool | None = None
    dynamic_name: str = ""
    dynamic_name_digits: int | None = None
    guard: tuple[str, ...] = ()
    drain: Withheld | None = None
    disabled: Withheld | None = None

    def protocol(self, session: Session) -> str:
        """Return the name of a session's protocol.

        Why: BIRD takes no bare dash, and a quoted name needs quoting in every command too. Names
        in documents are lower case, so a capital D for the dash keeps different names different.
        """
        return session.name or f"cs_{self.name.replace('-', 'D')}_{session.family}"

    def session_id(self, session: Session) -> ObjectId:
        """Return how policy counts a session."""
        return ObjectId("session", f"{SECTION}.{session.family}", self.name)


# --- what feeds BGP, and what it feeds


@dataclass(frozen=True, slots=True)
class Announcement:
    """A prefix that this host originates."""

    name: str
    prefix: Network


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a static route leads: an address, an interface, or an address on an interface."""

    address: Address | None = None
    interface: str = ""
    weight: int | None = None
    bfd: bool = False
    onlink: bool = False


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A route that this host knows of itself; it is not announced unless a filter says so.

    Shape: exactly one of `via`, `recursive` and `dest` (blackhole, unreachable, prohibit);
    `protocol` is what brings it where its table has several (empty = the table's own).
    """

    name: str
    prefix: Network
    via: tuple[NextHop, ...] = ()
    recursive: Address | None = None
    dest: str = ""
    table: str = ""
    protocol: str = ""
    preference: int | None = None
    communities: tuple[str, ...] = ()
    local_pref: int | None = None
    kernel_metric: int | None = None
    source_address: Address | None = None


@dataclass(frozen=True, slots=True)
class Syncer:
    """One kernel protocol: a table of BIRD's and a table of the kernel's, kept alike.

    Shape: no `imports` = none, no `exports` = what BGP brought; `kernel_table` None = main.
    Units: `scan_s` seconds.
    """

    name: str
    table: str
    family: Family
    kernel_table: int | None = None
    imports: Policy | None = None
    exports: Policy | None = None
    learn: bool = False
    persist: bool = True
    scan_s: int = 20
    merge_paths: bool = True
    merge_limit: int | None = None
    metric: int | None = None
    preference: int | None = None
    graceful_restart: bool = False
    source_address: Address | None = None
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Pipe:
    """Routes that pass between two tables of one family; no policy = none pass."""

    name: str
    table: str
    peer_table: str
    family: Family
    imports: Policy | None = None
    exports: Policy | None = None
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Direct:
    """The host's own networks, as routes; no `interfaces` = all of them."""

    interfaces: tuple[str, ...] = ()
    ipv4: bool = True
    ipv6: bool = True
    check_link: bool | None = None
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A routing table of BIRD's, beside master4 and master6."""

    name: str
    family: Family


@dataclass(frozen=True, slots=True)
class BfdTiming:
    """BFD on some interfaces; `pattern` is a name, perhaps with a `*`.

    Shape: `rx_ms` None = as `interval_ms`, which is then of both ways.
    """

    pattern: str
    interval_ms: int
    multiplier: int
    passive: bool = False
    rx_ms: int | None = None


@dataclass(frozen=True, slots=True)
class BfdNeighbor:
    """A BFD neighbour that no session asks for."""

    address: Address
    interface: str = ""
    source: Address | None = None
    multihop: bool = False


@dataclass(frozen=True, slots=True)
class Bfd:
    """The timing of all BFD sessions of the host; `interfaces` may differ from it.

    Shape: `rx_ms` None = as `interval_ms`, which is then of both ways.
    """

    interval_ms: int
    multiplier: int
    interfaces: tuple[BfdTiming, ...] = ()
    neighbors: tuple[BfdNeighbor, ...] = ()
    protocol: str = ""
    rx_ms: int | None = None

    @property
    def detection_s(self) -> float:
        """Return after how much silence a neighbour is declared gone."""
        return self.interval_ms * self.multiplier / 1000


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file of another hand that BIRD reads with ours: its filters, sets, secrets or peers."""

    path: str
    kind: str
    writer: str


@dataclass(frozen=True, slots=True)
class Log:
    """Where BIRD logs: syslog, stderr or a file's path; `classes` empty = all."""

    target: str
    classes: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What concerns all of BIRD; device's scan interval in seconds."""

    log: tuple[Log, ...] = (Log("syslog"),)
    device_scan_s: int = 2
    device_protocol: str = ""
    graceful_restart_wait_s: int | None = None
    watchdog_warning_s: int | None = None
    watchdog_timeout_s: int | None = None


@dataclass(frozen=True, slots=True)
class Bgp:
    """One host's BGP speaker.

    Shape: `router_id` None = as BIRD finds it; `direct` None = only where next hops of several
    hops' distance need it.
    """

    router_id: IPv4Address | None
    local_as: int
    peers: tuple[Peer, ...]
    announce: tuple[Announcement, ...]
    syncers: tuple[Syncer, ...]
    bfd: Bfd
    routes: tuple[StaticRoute, ...] = ()
    tables: tuple[Table, ...] = ()
    pipes: tuple[Pipe, ...] = ()
    direct: Direct | None = None
    sets: tuple[NamedSet, ...] = ()
    filters: tuple[NamedFilter, ...] = ()
    foreign: tuple[ForeignFile, ...] = ()
    daemon: Daemon = Daemon()
    drain: Withheld | None = None

    def announced(self, family: Family) -> tuple[Network, ...]:
        """Return the prefixes that we originate in a family."""
        return tuple(one.prefix for one in self.announce if family_of(one.prefix) is family)

    def internal(self, peer: Peer) -> bool:
        """Tell whether a peer is of our own AS (iBGP)."""
        return peer.asn in ("internal", self.local_as if peer.local_as is None else peer.local_as)

    @property
    def pairs(self) -> tuple[tuple[Peer, Session], ...]:
        """Return every session with its peer."""
        return tuple((peer, session) for peer in self.peers for session in peer.sessions)
