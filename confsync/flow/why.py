"""Which word holds at a place of one node's configuration, and where it is from if nobody says it.

Separate from asking and showing because it is pure: layers first, then the places of a section
that a silent one takes its value from, then defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from confsync.model import facts, nodes
from confsync.model.errors import UnknownKey, nearest
from confsync.model.explain import (
    Said,
    below,
    has,
    join,
    leaves,
    parse_key,
    plain,
    said,
    value_at,
)
from confsync.model.ids import Json, Path, SectionName, dotted
from confsync.model.layers import Stack
from confsync.model.nodes import Branch, Node
from confsync.model.section import AnySection, Place
from confsync.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class View:
    """What one node goes by.

    Shape: `known` are its names and facts; `explicit` has each section with its defaults, as far
    as that can be told; `notes` say what stands against believing all of it.
    """

    snapshot: Snapshot
    known: Mapping[str, str]
    layers: Stack
    explicit: Json
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One value, and why it is so.

    Shape: `source` is layer, inherited (from `inherits`, in the same section), default, removed,
    map, unset, or fact (it needs some); `value` is with facts put in; `words` are weakest first.
    """

    path: Path
    value: Json = None
    source: str = "unset"
    words: tuple[Said, ...] = ()
    winner: Said | None = None
    inherits: Path = ()
    needs: tuple[str, ...] = field(default=())


class Why:
    """Answers about one view; `applied` are further places that may be asked for."""

    def __init__(
        self, sections: Mapping[SectionName, AnySection], view: View, applied: Json
    ) -> None:
        self._sections = sections
        self._view = view
        self._trees: tuple[Node, ...] = tuple(tree for _, tree in view.layers.trees)
        pile: Node = nodes.EMPTY
        for tree in self._trees:
            pile = nodes.overlay(pile, tree)
        assert isinstance(pile, Branch)
        self._pile = pile
        self._merged = nodes.bare(pile)
        self._places = join(join(view.explicit, applied), plain(self._trees))

    def find(self, key: str) -> tuple[Finding, list[Finding]]:
        """Return the value at a key and, of a map, those below it. Raises UnknownKey."""
        path = parse_key(key, self._places)
        self._check(path)
        parts = {one: self._finding(one) for one in leaves(self._trees, path) if one != path}
        for base in self._fallbacks(path):
            for leaf in leaves(self._trees, base):
                place = (*path, *leaf[len(base) :])
                found = self._finding(place)
                if place not in parts and found.inherits:
                    parts[place] = found
        return self._finding(path), list(parts.values())

    def describe(self, path: Path) -> Place | None:
        """Return what may stand at a place."""
        section = self._sections.get(SectionName(str(path[0])))
        return section.describe(path[1:]) if section else None

    def _check(self, path: Path) -> None:
        """Refuse a place that there cannot be, with the nearest known. Raises UnknownKey."""
        for depth, part in enumerate(path):
            if has(self._places, path[: depth + 1]):
                continue
            there = value_at(self._places, path[:depth])
            shape = self.describe(path[:depth]) if depth else Place("", keys=self._names())
            keys = shape.keys if shape else ()
            if part not in keys:
                names = {*keys, *there} if isinstance(there, Mapping) else {*keys}
                what = dotted(path[:depth]) if depth else "the sections"
                raise UnknownKey(f"{dotted((part,))} is not in {what}; {nearest(str(part), names)}")

    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, self._sections))

    def _finding(self, path: Path) -> Finding:
        """Return what holds at a place, and every word about it."""
        words = said(self._trees, path)
        spoken = self._spoken(path, words)
        if spoken.source != "removed":
            return spoken
        for base in self._fallbacks(path):
            there = self._spoken(base, said(self._trees, base))
            if there.source not in {"removed", "map"}:
                every = (*there.words, *words)
                source = there.source if there.needs else "inherited"
                return replace(there, path=path, source=source, words=every, inherits=base)
        return self._unspoken(spoken)

    def _spoken(self, path: Path, words: tuple[Said, ...]) -> Finding:
        """Return what the layers say of a place; removed = nothing, or that it shall go."""
        node = below(self._pile, path)
        if isinstance(node, Branch):
            value, _ = facts.substitute(nodes.bare(node), self._view.known)
            return Finding(path, value, "map", words)
        last = words[-1] if words else None
        if last is None or last.value is None:
            return Finding(path, None, "removed", words, last)
        if needs := facts.lacking(last.value, self._view.known):
            return Finding(path, None, "fact", words, last, needs=needs)
        put, _ = facts.substitute({"": last.value}, self._view.known)
        value = put[""] if last.at == path else value_at(self._view.explicit, path)
        return Finding(path, value, "layer", words, last)

    def _unspoken(self, silent: Finding) -> Finding:
        """Return the default of a place that no layer gives a value."""
        path = silent.path
        if has(self._view.explicit, path):
            value = value_at(self._view.explicit, path)
            return replace(silent, value=value, source="default")
        shape = self.describe(path)
        if shape is not None and shape.default is not None:
            return replace(silent, value=shape.default, source="default")
        return silent if silent.words else replace(silent, source="unset")

    def _fallbacks(self, path: Path) -> tuple[Path, ...]:
        """Return the places that a silent one takes its value from, the nearest first."""
        name = SectionName(str(path[0]))
        if name not in self._sections:
            return ()
        tree = self._merged.get(name)
        tree = tree if isinstance(tree, Mapping) else {}
        found = self._sections[name].fallbacks(tree, path[1:])
        return tuple((name, *base) for base in found)
