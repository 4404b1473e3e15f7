"""The shape of what feeds BGP and what it feeds: kernel tables, pipes, routes, BFD, the daemon.

Separate because a compute node's document says little of it: every part has a default that fits.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator

from confsync.drivers.bird import fields
from confsync.drivers.bird.policy import Family
from confsync.drivers.bird.policy_fields import community_of
from confsync.drivers.bird.policy_shapes import (
    AnyAddress,
    AnyPolicy,
    AnyPrefix,
    Count,
    FiltersShape,
    Flag,
    Listed,
    Policies,
    Sources,
    Symbol,
    spread,
)
from confsync.model import limits, shapes
from confsync.model.shapes import Shape

_Text = Annotated[str, PlainValidator(fields.read_text)]
_Path = Annotated[str, PlainValidator(fields.read_path)]
_Interface = Annotated[str, PlainValidator(fields.read_interface)]
_Pattern = Annotated[str, PlainValidator(fields.read_interfaces)]
_Timer = Annotated[int, PlainValidator(shapes.integer(1, limits.BGP_TIMER_MAX_S))]
_Small = Annotated[int, PlainValidator(shapes.integer(0, 65_535))]
_Scan = Annotated[int, PlainValidator(shapes.integer(1, limits.BGP_DELAY_MAX_S))]
_Dead = Annotated[
    str, PlainValidator(shapes.choice("an end", "blackhole", "unreachable", "prohibit"))
]
_Interval = Annotated[
    int, PlainValidator(shapes.integer(limits.BFD_INTERVAL_MIN_MS, limits.BFD_INTERVAL_MAX_MS))
]
_Multiplier = Annotated[int, PlainValidator(shapes.integer(1, limits.BFD_MULTIPLIER_MAX))]


class _Syncing(Shape):
    """What both forms of a kernel's table may say."""

    learn: Flag = False
    persist: Flag = True
    scan_s: _Scan = 20
    merge_paths: Annotated[bool | int, PlainValidator(fields.read_merge)] = True
    metric: Count | None = None
    preference: _Small | None = None
    graceful_restart: Flag = False


def _as_flagged(value: object) -> object:
    """Let true and false stand for the usual policy and for none."""
    if isinstance(value, bool):
        return FiltersShape() if value else {str(family): {} for family in Family}
    return value


class KernelShape(_Syncing):
    """The short form: one kernel table of each family."""

    export: Annotated[Policies, BeforeValidator(_as_flagged)] = FiltersShape()
    imports: Policies | None = Field(default=None, alias="import")
    source_address: Annotated[Sources, BeforeValidator(spread)] = Sources()


class SyncerShape(_Syncing):
    """The deep form: one table of BIRD's and one of the kernel's."""

    table: Symbol
    kernel_table: Annotated[int, PlainValidator(shapes.integer(1, 2**32 - 1))] | None = None
    imports: AnyPolicy | None = Field(default=None, alias="import")
    exports: AnyPolicy | None = Field(default=None, alias="export")
    source_address: AnyAddress | None = None
    name: Symbol = ""


class PipeShape(Shape):
    """Routes that pass between two tables."""

    table: Symbol
    peer_table: Symbol
    imports: AnyPolicy | None = Field(default=None, alias="import")
    exports: AnyPolicy | None = Field(default=None, alias="export")
    name: Symbol = ""


class DirectShape(Shape):
    """The host's own networks."""

    interfaces: Annotated[tuple[_Pattern, ...], Listed] = ()
    ipv4: Flag = True
    ipv6: Flag = True
    check_link: Flag | None = None
    name: Symbol = ""


def as_direct(value: object) -> object:
    """Let true and false stand for all of the host's networks and for none."""
    if isinstance(value, bool):
        return {"ipv4": value, "ipv6": value}
    return value


class HopShape(Shape):
    """Where a static route leads."""

    address: AnyAddress | None = None
    interface: _Interface = ""
    weight: Annotated[int, PlainValidator(shapes.integer(1, 256))] | None = None
    bfd: Flag = False
    onlink: Flag = False


def _as_hop(value: object) -> object:
    """Let an address or an interface stand for itself."""
    if isinstance(value, str):
        is_address = ":" in value or value.replace(".", "").isdigit()
        return {"address" if is_address else "interface": value}
    return value


class RouteShape(Shape):
    """A route that this host knows of itself."""

    prefix: AnyPrefix
    via: Annotated[tuple[Annotated[HopShape, BeforeValidator(_as_hop)], ...], Listed] = ()
    recursive: AnyAddress | None = None
    dest: _Dead = ""
    table: Symbol = ""
    protocol: Symbol = ""
    preference: _Small | None = None
    communities: Annotated[
        tuple[Annotated[str, PlainValidator(community_of(2, patterns=False))], ...], Listed
    ] = ()
    local_pref: Count | None = None
    kernel_metric: Count | None = None
    source_address: AnyAddress | None = None


class BfdTimingShape(Shape):
    """BFD on some interfaces; what is not said is as for all."""

    interval_ms: _Interval | None = None
    multiplier: _Multiplier | None = None
    passive: Flag = False
    rx_ms: _Interval | None = None


class BfdNeighbourShape(Shape):
    """A BFD neighbour that no session asks for."""

    address: AnyAddress
    interface: Annotated[str, PlainValidator(fields.read_interface)] = ""
    source: AnyAddress | None = None
    multihop: Flag = False


class BfdShape(Shape):
    """The timing of all BFD sessions."""

    interval_ms: _Interval = 300
    multiplier: _Multiplier = 3
    interfaces: dict[_Pattern, BfdTimingShape] = Field(default_factory=dict)
    neighbors: tuple[BfdNeighbourShape, ...] = ()
    name: Symbol = ""
    rx_ms: _Interval | None = None


class LogShape(Shape):
    """Where BIRD logs, and what."""

    target: Annotated[str, PlainValidator(fields.read_log_target)]
    classes: tuple[
        Annotated[
            str,
            PlainValidator(
                shapes.choice(
                    "a class",
                    *("debug", "trace", "info", "remote", "warning", "error", "auth", "fatal"),
                    "bug",
                )
            ),
        ],
        ...,
    ] = ()
    name: _Text = ""


class DaemonShape(Shape):
    """What concerns all of BIRD."""

    log: tuple[LogShape, ...] = (LogShape(target="syslog"),)
    device_scan_s: _Scan = 2
    device_name: Symbol = ""
    graceful_restart_wait_s: _Timer | None = None
    watchdog_warning_s: _Scan | None = None
    watchdog_timeout_s: _Scan | None = None


class ForeignShape(Shape):
    """A file of another hand that BIRD reads with ours."""

    path: _Path
    kind: Annotated[
        str, PlainValidator(shapes.choice("a kind", "filters", "sets", "secrets", "peers", "other"))
    ]
    writer: Annotated[str, PlainValidator(fields.read_reason)]
