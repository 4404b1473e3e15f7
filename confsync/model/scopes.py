"""Whose document it is: a node's, or the whole site's.

Separate because a transaction never mixes the two: what is wrong with a site's documents keeps no
node from its own configuration, and the other way round; each side sees only what is its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from confsync.model.errors import SchemaViolated, Violation
from confsync.model.ids import KeyPath, LayerPath, SectionName
from confsync.model.section import AnySection, Scope
from confsync.model.snapshot import Layer, Snapshot, document_key

_ASKED: Final = re.compile(r"\{([^{}]*)\}")


def of_site(hierarchy: Sequence[str]) -> tuple[str, ...]:
    """Return the levels that every node of a site shares, weakest first."""
    return tuple(level for level in hierarchy if set(_ASKED.findall(level)) <= {"site"})


def share(
    snapshot: Snapshot,
    sections: Mapping[SectionName, AnySection],
    scope: Scope,
    patterns: Mapping[LayerPath, str],
) -> Snapshot:
    """Return a snapshot without the documents of the other scope.

    Shape: `patterns` are the levels of the layers. A word that no section has is everybody's.
    Raises: SchemaViolated for a site's document where only some of its nodes read.
    """
    if strays := tuple(_misplaced(snapshot, sections, patterns)):
        raise SchemaViolated(strays)

    def shared(layer: Layer) -> Layer:
        ours = {name: raw for name, raw in layer.documents.items() if _is_of(name, sections, scope)}
        return replace(layer, documents=ours)

    return replace(snapshot, layers=tuple(map(shared, snapshot.layers)))


def is_ours(
    key: KeyPath,
    layers: Collection[LayerPath],
    sections: Mapping[SectionName, AnySection],
    scope: Scope,
) -> bool:
    """Tell whether a document, by its key, is of this scope; an unknown word is everybody's."""
    for layer in layers:
        root = document_key(layer, "")
        if key.startswith(root):
            return _is_of(key.removeprefix(root), sections, scope)
    return True


def _is_of(name: str, sections: Mapping[SectionName, AnySection], scope: Scope) -> bool:
    section = sections.get(_word(name))
    return section is None or section.scope is scope


def _misplaced(
    snapshot: Snapshot,
    sections: Mapping[SectionName, AnySection],
    patterns: Mapping[LayerPath, str],
) -> Iterator[Violation]:
    shared = of_site(tuple(patterns.values()))
    for layer in snapshot.layers:
        for name in layer.documents if patterns[layer.path] not in shared else ():
            section = sections.get(_word(name))
            if section is not None and section.scope is Scope.SITE:
                message = f"{section.name} is one for the whole site, and not read here"
                hint = f"write it in {' or '.join(shared)}"
                yield Violation("CS-S03", (), message, hint, snapshot.place(layer, name))


def _word(name: str) -> SectionName:
    return SectionName(name.partition("/")[0])
