"""What a peer says nothing of: where else in the document its value comes from.

Separate from `build`, which does it to whole shapes, because an operator asks for one value and
wants the place; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from confsync.drivers.bird.peer_shapes import PeerDefaults
from confsync.drivers.bird.policy import Family
from confsync.model.ids import Json, Path, Tree

POLICIES: Final = ("import", "export")
_WHOLE: Final = ("drain", "disabled")
_SHARED: Final = frozenset(field.alias or name for name, field in PeerDefaults.model_fields.items())


def fallbacks(tree: Tree, path: Path) -> tuple[Path, ...]:
    """Return the places whose values hold where a peer, or its group, is silent."""
    match path:
        case ("peers", str(name), *rest):
            own = _map(_map(tree.get("peers")).get(name))
            group = own.get("group")
            bases = [("groups", group)] if isinstance(group, str) and group else []
            return tuple(_of_bases(tree, own, [*bases, ("peer_defaults",)], tuple(rest)))
        case _:
            return ()


def _of_bases(
    tree: Tree, own: Tree, bases: Sequence[tuple[str, ...]], rest: Path
) -> Iterator[Path]:
    if not rest:
        yield from bases
        return
    key = str(rest[0])
    if key not in _SHARED or (key in _WHOLE and own.get(key) is not None):
        return
    above = [own]
    for base in bases:
        shape = _shape(tree, base)
        if key in POLICIES and len(rest) > 1 and _apart(above, shape, key, str(rest[1])):
            return
        yield (*base, *rest)
        above.append(shape)
        if key in _WHOLE and shape.get(key) is not None:
            return
    if key in POLICIES and not any(_policy(one, key, rest) is not None for one in above):
        yield rest


def _shape(tree: Tree, base: tuple[str, ...]) -> Tree:
    found: Json = tree
    for part in base:
        found = _map(found).get(part)
    return _map(found)


def _apart(above: Sequence[Tree], base: Tree, key: str, family: str) -> bool:
    """Tell whether policies cannot be laid over each other, since one is a filter's name."""
    under = _policy(base, key, (key, family))
    over = [found for one in above if (found := _policy(one, key, (key, family))) is not None]
    return bool(over) and under is not None and any(map(_named, (*over, under)))


def _policy(shape: Tree, key: str, rest: Path) -> Json:
    """Return what a shape says of a policy; a name or another hand's filter counts for both."""
    found = shape.get(key)
    both = not isinstance(found, Mapping) or found.keys().isdisjoint(set(Family))
    return found if both or len(rest) < 2 else _map(found).get(str(rest[1]))  # noqa: PLR2004


def _named(policy: Json) -> bool:
    return not isinstance(policy, Mapping) or not policy.keys().isdisjoint({"use", "foreign"})


def _map(value: Json) -> Tree:
    return value if isinstance(value, Mapping) else {}
