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
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError
from pydantic.fields import FieldInfo

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
    Shape,
    Symbol,
    Withhold,
)
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Json, Path, Tree
from confsync.model.section import Place

_Id = Annotated[IPv4Address | str, PlainValidator(fields.read_router_id)]
_Family = Annotated[str, PlainValidator(fields.choice("a family", *Family))]


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
    faults = tuple(dict.fromkeys(_violation(error, plain) for error in errors))
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
    return path[:2] if len(path) > 1 and path[0] in _MAPS else ()


def _remove(tree: Json, path: Path) -> None:
    for part in path[:-1]:
        if isinstance(tree, Mapping) and part not in tree:
            return
        tree = tree[part]
    tree.pop(path[-1], None)


def _path(loc: Path) -> Path:
    """Return a fault's place; pydantic marks a map's bad key by a part of its own."""
    return loc[:-1] if loc and loc[-1] == "[key]" else loc


def _place(path: Path, tree: Json) -> Path:
    """Return the part of a fault's path that the document itself has.

    Why: what is written once may be read as something for both families, or as a member of a list.
    """
    for end, part in enumerate(path):
        inside = isinstance(tree, Mapping) and part in tree
        if not inside and not (isinstance(tree, list) and part in range(len(tree))):
            return path[:end]
        tree = tree[part]
    return path


_MAPS: Final = ("peers", "groups", "announce", "routes", "sets", "filters", "kernels", "pipes")
_KINDS: Final = {
    "model_type": ("a map", "write its keys below it"),
    "dict_type": ("a map", "write each by its name, such as NAME: {...}"),
    "tuple_type": ("a list", "write each of its parts after a dash"),
}


def _violation(error: Any, tree: Json) -> Violation:
    """Translate one of pydantic's errors; values are shown only by our own readers."""
    path, kind = _path(error["loc"]), str(error["type"])
    if kind == "missing":
        return Violation("CS-V041", (SECTION, *path), "missing", "it has no default")
    place = (SECTION, *_place(path, tree))
    if kind.startswith("CS-V"):
        return Violation(kind, place, error["ctx"]["message"], error["ctx"]["hint"])
    if kind == "extra_forbidden":
        hint = _nearest(str(path[-1]), path[:-1])
        return Violation("CS-V040", place, "unknown key", hint)
    wanted, hint = _KINDS.get(kind, ("of this kind", ""))
    return Violation("CS-V042", place, f"{fields.shown(error['input'])} is not {wanted}", hint)


def _nearest(key: str, path: Path) -> str:
    known = _known_keys(path)
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def described(path: Path) -> Place | None:
    """Return what may stand at a place of a document, None = there is no such key."""
    kind: Any = Document
    default: Json = None
    for part in path:
        found = _field(kind, part)
        kind = _below(kind, part)
        if kind is None:
            return None
        default = _shown(found.get_default(call_default_factory=True)) if found else None
    if _is_shape(kind):
        return Place("a map", keys=_keys(kind))
    words = {dict: "a map by name", tuple: "a list"}
    return Place(words.get(get_origin(kind), "a value"), default)


def _shown(default: object) -> Json:
    """Return a default that can be said in one word."""
    return default if isinstance(default, bool | int | str) and default != "" else None


def _known_keys(path: Path) -> tuple[str, ...]:
    """Return the keys that the map at a path may have."""
    kind: Any = Document
    for part in path:
        kind = _below(kind, part)
    return _keys(kind)


def _keys(shape: Any) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in shape.model_fields.items())


def _below(kind: Any, part: str | int) -> Any:
    """Return the type of one part of a type, without what is said about it; None = no part."""
    if get_origin(kind) is dict:
        return _bare(get_args(kind)[1])
    if get_origin(kind) is tuple:
        return _bare(get_args(kind)[0]) if isinstance(part, int) else None
    found = _field(kind, part)
    return _bare(found.annotation) if found else None


def _field(kind: Any, part: str | int) -> FieldInfo | None:
    fields_ = kind.model_fields.items() if _is_shape(kind) else ()
    return next((field for name, field in fields_ if part == (field.alias or name)), None)


def _is_shape(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Shape)


def _bare(kind: Any) -> Any:
    """Return the type below `Annotated` and `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return _bare(next(one for one in get_args(kind) if one is not type(None)))
    return kind
