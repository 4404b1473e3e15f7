"""The shape of a `bgp` document, and how it becomes a value.

Separate because this is the whole of what may be written; the words of its leaves are in
`fields`.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainValidator

from confsync.drivers.bird import fields
from confsync.drivers.bird.bgp import SECTION
from confsync.drivers.bird.host_shapes import (
    BfdShape,
    DaemonShape,
    DirectShape,
    ForeignShape,
    KernelShape,
    PipeShape,
    RouteShape,
    SyncerShape,
    as_direct,
)
from confsync.drivers.bird.peer_shapes import PeerDefaults, PeerShape
from confsync.drivers.bird.policy import Family
from confsync.drivers.bird.policy_shapes import (
    AnyPrefix,
    Asn,
    FiltersShape,
    Name,
    Policies,
    Set,
    Symbol,
    Withhold,
)
from confsync.model import shapes
from confsync.model.shapes import Reader, Shape

_Id = Annotated[IPv4Address | str, PlainValidator(fields.read_router_id)]
_Family = Annotated[str, PlainValidator(shapes.choice("a family", *Family))]


class Document(Shape):
    """A whole `bgp` section as documents write it."""

    router_id: _Id | None = None
    local_as: Asn
    peer_defaults: PeerDefaults = PeerDefaults()
    groups: dict[Name, PeerDefaults] = Field(default_factory=dict)
    peers: dict[Name, PeerShape] = Field(default_factory=dict)
    announce: dict[Name, AnyPrefix] = Field(default_factory=dict)
    routes: dict[Name, RouteShape] = Field(default_factory=dict)
    imports: Policies = Field(default=FiltersShape(), alias="import")
    exports: Policies = Field(default=FiltersShape(), alias="export")
    sets: dict[Name, Set] = Field(default_factory=dict)
    filters: dict[Name, FiltersShape] = Field(default_factory=dict)
    foreign: tuple[ForeignShape, ...] = ()
    tables: dict[Symbol, _Family] = Field(default_factory=dict)
    kernel: KernelShape | None = None
    kernels: dict[Name, SyncerShape] | None = None
    pipes: dict[Name, PipeShape] = Field(default_factory=dict)
    direct: Annotated[DirectShape, BeforeValidator(as_direct)] | None = None
    bfd: BfdShape = BfdShape()
    daemon: DaemonShape = DaemonShape()
    drain: Withhold | None = None


_MAPS: Final = ("peers", "groups", "announce", "routes", "sets", "filters", "kernels", "pipes")
READER: Final = Reader(SECTION, Document, tuple((part, "*") for part in _MAPS))
