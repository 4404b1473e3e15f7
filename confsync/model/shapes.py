"""Read a section's tree into pydantic's models, with every fault in an operator's words.

Separate because all sections are written in the same way: maps with known keys, read strictly.
Pydantic walks the tree and ends here. A faulty part is cut out and the rest read again, so that one
mistyped key does not hide the broken rules elsewhere.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Final, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from confsync.model.errors import Violation, Violations
from confsync.model.ids import Json, Path, Tree
from confsync.model.section import Place

_SHOWN_CHARS: Final = 60
_ANY: Final = "*"
_KINDS: Final = {
    "model_type": ("a map", "write its keys below it"),
    "dict_type": ("a map", "write each by its name, such as NAME: {...}"),
    "tuple_type": ("a list", "write each of its parts after a dash"),
}


class Shape(BaseModel):
    """A map with known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


D = TypeVar("D", bound=Shape)


def fault(code: str, message: str, hint: str = "") -> PydanticCustomError:
    """Return the refusal of one leaf, in our words."""
    return PydanticCustomError(code, "{message}", {"message": message, "hint": hint})


def shown(value: Json) -> str:
    """Return what was found, in ASCII and short."""
    text = json.dumps(value, default=lambda _: "...")
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."


def integer(low: int, high: int) -> Callable[[object], int]:
    """Return the reader of a whole number within bounds."""

    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            message = f"{shown(value)} is not a whole number from {low} to {high}"
            raise fault("CS-V046", message, f"use {low}..{high}")
        return value

    return read


def read_flag(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        hint = "write true or false (yes, no, on and off are plain text in YAML 1.2)"
        raise fault("CS-V047", f"{shown(value)} is neither true nor false", hint)
    return value


def choice(what: str, *known: str) -> Callable[[object], str]:
    """Return the reader of one of a few words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise fault("CS-V049", f"{shown(value)} is not {what}", f"use {listed(known)}")
        return value

    return read


def listed(words: Sequence[str]) -> str:
    """Return words as people list them."""
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


@dataclass(frozen=True, slots=True)
class Reading(Generic[D]):
    """What could be read, and every fault; `whole` = nothing but unknown keys was left out."""

    document: D | None
    faults: Violations
    whole: bool


@dataclass(frozen=True, slots=True)
class Reader(Generic[D]):
    """Reads one section.

    Shape: `parts` are the places whose content may be left out for the rest to be read, the
    deepest first; ``*`` stands for any name.
    """

    section: str
    kind: type[D]
    parts: tuple[tuple[str, ...], ...]

    def read(self, tree: Tree) -> Reading[D]:
        """Return the document with all faults of its shape."""
        plain = plainly(tree)
        try:
            return Reading(self.kind.model_validate(plain), (), whole=True)
        except ValidationError as refused:
            errors = refused.errors(include_url=False)
        faults = tuple(dict.fromkeys(self._violation(error, plain) for error in errors))
        cuts = [self._cut(error) for error in errors]
        if () in cuts:
            return Reading(None, faults, whole=False)
        for cut in cuts:
            _remove(plain, cut)
        whole = all(error["type"] == "extra_forbidden" for error in errors)
        try:
            return Reading(self.kind.model_validate(plain), faults, whole=whole)
        except ValidationError:
            return Reading(None, faults, whole=False)

    def described(self, path: Path) -> Place | None:
        """Return what may stand at a place of a document, None = there is no such key."""
        kind: Any = self.kind
        default: Json = None
        for part in path:
            found = _field(kind, part)
            kind = _below(kind, part)
            if kind is None:
                return None
            default = _said(found.get_default(call_default_factory=True)) if found else None
        if _is_shape(kind):
            return Place("a map", keys=_keys(kind))
        words = {dict: "a map by name", tuple: "a list"}
        return Place(words.get(get_origin(kind), "a value"), default)

    def _cut(self, error: Any) -> Path:
        """Return the part that must go for the rest to be readable; () = there is no rest."""
        path = _path(error["loc"])
        if error["type"] == "extra_forbidden":
            return path
        for part in self.parts:
            start = path[: len(part)]
            if len(start) == len(part) and all(
                want in (_ANY, at) for want, at in zip(part, start, strict=True)
            ):
                return start
        return ()

    def _violation(self, error: Any, tree: Json) -> Violation:
        """Translate one of pydantic's errors; values are shown only by our own readers."""
        path, kind = _path(error["loc"]), str(error["type"])
        if kind == "missing":
            return Violation("CS-V041", (self.section, *path), "missing", "it has no default")
        place = (self.section, *_place(path, tree))
        if kind.startswith("CS-V"):
            return Violation(kind, place, error["ctx"]["message"], error["ctx"]["hint"])
        if kind == "extra_forbidden":
            hint = self._nearest(str(path[-1]), path[:-1])
            return Violation("CS-V040", place, "unknown key", hint)
        wanted, hint = _KINDS.get(kind, ("of this kind", ""))
        return Violation("CS-V042", place, f"{shown(error['input'])} is not {wanted}", hint)

    def _nearest(self, key: str, path: Path) -> str:
        kind: Any = self.kind
        for part in path:
            kind = _below(kind, part)
        return nearest_key(key, _keys(kind))


def nearest_key(key: str, known: Sequence[str]) -> str:
    """Return the hint for a key that a map does not know."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def plainly(tree: Json) -> Json:
    """Return a copy made of dicts and lists, which is ours to cut."""
    if isinstance(tree, Mapping):
        return {key: plainly(part) for key, part in tree.items()}
    return [plainly(part) for part in tree] if isinstance(tree, list | tuple) else tree


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


def _said(default: object) -> Json:
    """Return a default that can be said in one word."""
    return default if isinstance(default, bool | int | str) and default != "" else None


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
