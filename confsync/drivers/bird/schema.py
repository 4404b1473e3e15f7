"""The shape of a `bgp` document, and how it becomes a value.

Separate because pydantic ends here: it walks the document and collects every fault, the words
are ours (`fields`), and what leaves is a `Bgp`. A faulty part is cut out and the rest read again,
so that one mistyped key does not hide the broken rules elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from confsync.drivers.bird import fields
from confsync.drivers.bird.bgp import SECTION, Address, Family, Network
from confsync.model import limits
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Json, Path, Tree

_Name = Annotated[str, PlainValidator(fields.read_name)]
_Asn = Annotated[int, PlainValidator(fields.read_asn)]
_Flag = Annotated[bool, PlainValidator(fields.read_flag)]
_Text = Annotated[str, PlainValidator(fields.read_text)]
_Path = Annotated[str, PlainValidator(fields.read_path)]
_Action = Annotated[bool, PlainValidator(fields.read_action)]
_Hold = Annotated[int, PlainValidator(fields.read_hold)]
_Seconds = Annotated[int, PlainValidator(fields.integer(1, limits.BGP_DELAY_MAX_S))]
_Keepalive = Annotated[int, PlainValidator(fields.integer(1, limits.BGP_TIMER_MAX_S))]
_Address4 = Annotated[Address, PlainValidator(fields.address_of(Family.IPV4))]
_Address6 = Annotated[Address, PlainValidator(fields.address_of(Family.IPV6))]
_Prefix4 = Annotated[Network, PlainValidator(fields.prefix_of(Family.IPV4))]
_Prefix6 = Annotated[Network, PlainValidator(fields.prefix_of(Family.IPV6))]
_Length4 = Annotated[int, PlainValidator(fields.integer(0, 32))]
_Length6 = Annotated[int, PlainValidator(fields.integer(0, 128))]


class Shape(BaseModel):
    """A map with known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class _Rule4(Shape):
    prefix: _Prefix4
    ge: _Length4 | None = None
    le: _Length4 | None = None
    action: _Action


class _Rule6(Shape):
    prefix: _Prefix6
    ge: _Length6 | None = None
    le: _Length6 | None = None
    action: _Action


class FilterShape4(Shape):
    """A filter of IPv4 prefixes; what no rule matches is denied unless `default` says otherwise."""

    rules: tuple[_Rule4, ...] = ()
    default: _Action = False


class FilterShape6(Shape):
    """A filter of IPv6 prefixes."""

    rules: tuple[_Rule6, ...] = ()
    default: _Action = False


class FiltersShape(Shape):
    """One filter for each family: a list can never be used for the wrong one."""

    ipv4: FilterShape4 | None = None
    ipv6: FilterShape6 | None = None


class _Sources(Shape):
    ipv4: _Address4 | None = None
    ipv6: _Address6 | None = None


def _spread(value: object) -> object:
    """Let a bare source address count for its own family."""
    if isinstance(value, str):
        return {Family.IPV6 if ":" in value else Family.IPV4: value}
    return value


AnyRule = _Rule4 | _Rule6
AnyFilter = FilterShape4 | FilterShape6


class PeerDefaults(Shape):
    """What `peer_defaults` may hold; every peer is laid over it."""

    asn: _Asn | None = None
    source: Annotated[_Sources, BeforeValidator(_spread)] = _Sources()
    multihop: _Flag = False
    bfd: _Flag = False
    passive: _Flag = False
    description: _Text = ""
    hold_s: _Hold = 90
    keepalive_s: _Keepalive = 30
    connect_delay_s: _Seconds = 1
    connect_retry_s: _Seconds = 5
    error_wait_min_s: _Seconds = 1
    error_wait_max_s: _Seconds = 30
    password_file: _Path = ""
    required: _Flag = True
    next_hop_self: _Flag | None = None
    imports: FiltersShape = Field(default=FiltersShape(), alias="import")
    exports: FiltersShape = Field(default=FiltersShape(), alias="export")


class PeerShape(PeerDefaults):
    """A peer: what the defaults may hold, and its addresses."""

    ipv4: _Address4 | None = None
    ipv6: _Address6 | None = None


class _Kernel(Shape):
    export: _Flag = True
    learn: _Flag = False


class _Bfd(Shape):
    interval_ms: Annotated[
        int,
        PlainValidator(fields.integer(limits.BFD_INTERVAL_MIN_MS, limits.BFD_INTERVAL_MAX_MS)),
    ] = 300
    multiplier: Annotated[int, PlainValidator(fields.integer(1, limits.BFD_MULTIPLIER_MAX))] = 3


class Document(Shape):
    """A whole `bgp` section as documents write it."""

    router_id: Annotated[IPv4Address, PlainValidator(fields.read_router_id)] | None = None
    local_as: _Asn
    peer_defaults: PeerDefaults = PeerDefaults()
    peers: dict[_Name, PeerShape] = Field(default_factory=dict)
    announce: dict[_Name, Annotated[Network, PlainValidator(fields.read_any_prefix)]] = Field(
        default_factory=dict
    )
    imports: FiltersShape = Field(default=FiltersShape(), alias="import")
    exports: FiltersShape = Field(default=FiltersShape(), alias="export")
    kernel: _Kernel = _Kernel()
    bfd: _Bfd = _Bfd()


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read, and every fault; `whole` = nothing but unknown keys was left out."""

    document: Document | None
    faults: Violations
    whole: bool


def read(tree: Tree) -> Reading:
    """Return the document with all faults of its shape."""
    plain = _plain(tree)
    try:
        return Reading(Document.model_validate(plain), (), whole=True)
    except ValidationError as refused:
        errors = refused.errors(include_url=False)
    faults = tuple(_violation(error) for error in errors)
    cuts = [_cut(error) for error in errors]
    if () in cuts:
        return Reading(None, faults, whole=False)
    for cut in cuts:
        _remove(plain, cut)
    whole = all(error["type"] == "extra_forbidden" for error in errors)
    try:
        return Reading(Document.model_validate(plain), faults, whole=whole)
    except ValidationError:
        return Reading(None, faults, whole=False)


def _plain(tree: Json) -> Json:
    """Return a copy made of dicts and lists, which is ours to cut."""
    if isinstance(tree, Mapping):
        return {key: _plain(part) for key, part in tree.items()}
    return [_plain(part) for part in tree] if isinstance(tree, list | tuple) else tree


def _cut(error: Any) -> Path:
    """Return the part that must go for the rest to be readable; () = there is no rest."""
    path = _path(error["loc"])
    if error["type"] == "extra_forbidden":
        return path
    return path[:2] if len(path) > 1 and path[0] in ("peers", "announce") else ()


def _remove(tree: Json, path: Path) -> None:
    for part in path[:-1]:
        if isinstance(tree, Mapping) and part not in tree:
            return
        tree = tree[part]
    tree.pop(path[-1], None)


def _path(loc: Path) -> Path:
    """Return a fault's place; pydantic marks a map's bad key by a part of its own."""
    return loc[:-1] if loc and loc[-1] == "[key]" else loc


_KINDS: Final = {"model_type": "a map", "dict_type": "a map", "tuple_type": "a list"}


def _violation(error: Any) -> Violation:
    """Translate one of pydantic's errors; values are shown only by our own readers."""
    path, kind = _path(error["loc"]), str(error["type"])
    place = (SECTION, *path)
    if kind.startswith("CS-V"):
        return Violation(kind, place, error["ctx"]["message"], error["ctx"]["hint"])
    if kind == "extra_forbidden":
        hint = _nearest(str(path[-1]), path[:-1])
        return Violation("CS-V040", place, "unknown key", hint)
    if kind == "missing":
        return Violation("CS-V041", place, "missing", "it has no default")
    wanted = _KINDS.get(kind, "of this kind")
    return Violation("CS-V042", place, f"{fields.shown(error['input'])} is not {wanted}")


def _nearest(key: str, path: Path) -> str:
    known = _known_keys(path)
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _known_keys(path: Path) -> tuple[str, ...]:
    """Return the keys that the map at a path may have."""
    kind: Any = Document
    for part in path:
        kind = _below(kind, part)
    return tuple(field.alias or name for name, field in kind.model_fields.items())


def _below(kind: Any, part: str | int) -> Any:
    """Return the type of one part of a type, without its `| None`."""
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    found = next(f for name, f in kind.model_fields.items() if part == (f.alias or name))
    if get_origin(found.annotation) in (dict, tuple):
        return found.annotation
    return next((one for one in get_args(found.annotation) if _is_shape(one)), found.annotation)


def _is_shape(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Shape)
