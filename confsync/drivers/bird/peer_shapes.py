"""The shape of peers in a `bgp` document: what each may say, and what many may share.

Separate because a peer says most of what there is to say; `peer_defaults`, a group and the peer
itself have one shape, so that they can be laid over each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from confsync.drivers.bird import fields, guards
from confsync.drivers.bird.policy import Address, Family, Network
from confsync.drivers.bird.policy_shapes import (
    EACH,
    Asn,
    Count,
    Each,
    FiltersShape,
    Flag,
    Listed,
    Name,
    Policies,
    Sources,
    Symbol,
    Withhold,
    spread,
)
from confsync.model import limits, shapes
from confsync.model.shapes import Shape

_Text = Annotated[str, PlainValidator(fields.read_text)]
_Path = Annotated[str, PlainValidator(fields.read_path)]
_Interface = Annotated[str, PlainValidator(fields.read_interface)]
_PeerAs = Annotated[int | str, PlainValidator(fields.read_peer_as)]
_Hold = Annotated[int, PlainValidator(fields.read_hold)]
_Multihop = Annotated[int, PlainValidator(fields.read_multihop)]
_Seconds = Annotated[int, PlainValidator(shapes.integer(1, limits.BGP_DELAY_MAX_S))]
_Keepalive = Annotated[int, PlainValidator(shapes.integer(0, limits.BGP_TIMER_MAX_S))]
_Stale = Annotated[int, PlainValidator(shapes.integer(0, 2**24 - 1))]
_Timer = Annotated[int, PlainValidator(shapes.integer(1, limits.BGP_TIMER_MAX_S))]
_Small = Annotated[int, PlainValidator(shapes.integer(0, 65_535))]
_Port = Annotated[int, PlainValidator(shapes.integer(1, 65_535))]
_Neighbour4 = Annotated[tuple[Address, str], PlainValidator(fields.neighbour_of(Family.IPV4))]
_Neighbour6 = Annotated[tuple[Address, str], PlainValidator(fields.neighbour_of(Family.IPV6))]
_Prefix4 = Annotated[Network, PlainValidator(fields.prefix_of(Family.IPV4))]
_Prefix6 = Annotated[Network, PlainValidator(fields.prefix_of(Family.IPV6))]
_Family = Annotated[str, PlainValidator(shapes.choice("a family", *Family))]
_Families = Annotated[tuple[_Family, ...], AfterValidator(fields.not_empty)]
_Bfd = Annotated[str, PlainValidator(fields.flag_or("a use of BFD", "graceful"))]
_Graceful = Annotated[str, PlainValidator(fields.flag_or("a use of graceful restart", "aware"))]
_NextHop = Annotated[str, PlainValidator(fields.read_next_hop)]
_AddPaths = Annotated[str, PlainValidator(shapes.choice("a way", "rx", "tx", "both", "off"))]
_Gateway = Annotated[str, PlainValidator(shapes.choice("a gateway", "direct", "recursive"))]
_Guard = Annotated[str, PlainValidator(shapes.choice("a guard", *guards.WORDS))]
_Role = Annotated[
    str,
    PlainValidator(
        shapes.choice("a role", "customer", "provider", "peer", "rs_server", "rs_client")
    ),
]


class _Limit(Shape):
    routes: Annotated[int, PlainValidator(shapes.integer(1, 2**31 - 1))]
    action: Annotated[
        str, PlainValidator(shapes.choice("an action", "warn", "block", "restart", "disable"))
    ] = "disable"


def _as_limit(value: object) -> object:
    """Let a bare number stand for a limit that disables."""
    return value if isinstance(value, Mapping) else {"routes": value}


_Limits = Annotated[Each[Annotated[_Limit, BeforeValidator(_as_limit)]], EACH]


class PeerDefaults(Shape):
    """What `peer_defaults` and a group may hold; every peer is laid over it."""

    asn: _PeerAs | None = None
    local_as: Asn | None = None
    source: Annotated[Sources, BeforeValidator(spread)] = Sources()
    multihop: _Multihop = 0
    bfd: _Bfd = "off"
    passive: Flag = False
    description: _Text = ""
    hold_s: _Hold = 90
    keepalive_s: _Keepalive = 30
    connect_delay_s: _Seconds = 1
    connect_retry_s: _Seconds = 5
    error_wait_min_s: _Seconds = 1
    error_wait_max_s: _Seconds = 30
    error_forget_s: _Seconds | None = None
    startup_hold_s: _Timer | None = None
    password_file: _Path = ""
    setkey: Flag | None = None
    local_port: _Port | None = None
    port: _Port | None = None
    strict_bind: Flag = False
    ttl_security: Flag = False
    rr_client: Flag = False
    rr_cluster_id: Annotated[IPv4Address, PlainValidator(fields.read_cluster_id)] | None = None
    rs_client: Flag = False
    allow_local_as: Annotated[int, PlainValidator(shapes.integer(0, 255))] | None = None
    enforce_first_as: Flag = False
    role: _Role = ""
    graceful_restart: _Graceful = "aware"
    graceful_restart_s: _Small | None = None
    llgr: _Graceful = ""
    llgr_stale_s: _Stale | None = None
    interpret_communities: Flag = True
    path_metric: Flag = True
    med_metric: Flag = False
    default_med: Count | None = None
    default_local_pref: Count | None = None
    cost: Annotated[int, PlainValidator(shapes.integer(1, 2**31 - 1))] | None = None
    extended_messages: Flag = False
    disable_after_error: Flag = False
    check_link: Flag | None = None
    dynamic_name: Symbol = ""
    dynamic_name_digits: Annotated[int, PlainValidator(shapes.integer(0, 10))] | None = None
    guard: Annotated[tuple[_Guard, ...], Listed] = ()
    drain: Withhold | None = None
    disabled: Withhold | None = None
    required: Flag = True
    families: Annotated[Each[_Families], EACH] = Each[_Families]()
    next_hop_self: Flag | None = None
    next_hop: Annotated[Each[_NextHop], EACH] = Each[_NextHop]()
    table: Annotated[Each[Symbol], EACH] = Each[Symbol]()
    preference: Annotated[Each[_Small], EACH] = Each[_Small]()
    extended_next_hop: Annotated[Each[Flag], EACH] = Each[Flag]()
    add_paths: Annotated[Each[_AddPaths], EACH] = Each[_AddPaths]()
    gateway: Annotated[Each[_Gateway], EACH] = Each[_Gateway]()
    igp_table: Annotated[Each[Symbol], EACH] = Each[Symbol]()
    import_table: Annotated[Each[Flag], EACH] = Each[Flag]()
    keep_filtered: Annotated[Each[Flag], EACH] = Each[Flag]()
    import_limit: _Limits = Each()
    receive_limit: _Limits = Each()
    export_limit: _Limits = Each()
    imports: Policies = Field(default=FiltersShape(), alias="import")
    exports: Policies = Field(default=FiltersShape(), alias="export")


class PeerShape(PeerDefaults):
    """A peer: what the defaults may hold, and where it is."""

    group: Name = ""
    ipv4: _Neighbour4 | None = None
    ipv6: _Neighbour6 | None = None
    ipv4_range: _Prefix4 | None = None
    ipv6_range: _Prefix6 | None = None
    interface: Annotated[Each[_Interface], EACH] = Each[_Interface]()
    name: Annotated[Each[Symbol], EACH] = Each[Symbol]()
