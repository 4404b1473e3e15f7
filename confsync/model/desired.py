"""The whole desired state of a node, built from the sections it is given.

Separate because it knows sections only by their protocol; a `Desired` exists only if every section
of it is whole, so that nobody further on asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confsync.model.errors import SchemaViolated, Violation, nearest
from confsync.model.ids import Digest, SectionName, Tree, canonical, digest
from confsync.model.layers import Merged
from confsync.model.section import Deadline, Section


def _as_it_is(fault: Violation) -> Violation:
    return fault


@dataclass(frozen=True, slots=True)
class Desired:
    """What a node shall run.

    Shape: `values` has the sections that some document mentions, `texts` their canonical texts;
    `revision` is the digest of them, facts included; `tree` is the merged tree before defaults;
    `blame` adds to a violation which document it comes from.
    """

    values: Mapping[SectionName, object]
    texts: Mapping[SectionName, str]
    revision: Digest
    tree: Tree
    warnings: tuple[str, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    blame: Callable[[Violation], Violation] = field(default=_as_it_is, compare=False, repr=False)


def build(sections: Mapping[SectionName, Section[Any]], merged: Merged) -> Desired:
    """Return the desired state of a merged tree.

    Raises: SchemaViolated with every fault of every section, each with its document.
    """
    values: dict[SectionName, object] = {}
    faults: list[Violation] = []
    for word, tree in merged.tree.items():
        name = SectionName(word)
        if name not in sections:
            faults.append(Violation("CS-S01", (name,), "unknown section", nearest(name, sections)))
            continue
        parsed = sections[name].parse(tree)
        if isinstance(parsed, tuple):
            faults.extend(parsed)
        else:
            values[name] = parsed
    for name, value in values.items():
        faults.extend(sections[name].rules(value, values))
    if faults:
        raise SchemaViolated(tuple(map(merged.blame, faults)))
    noted = (note for name, value in values.items() for note in sections[name].warnings(value))
    texts = {name: sections[name].canonical(value) for name, value in values.items()}
    return Desired(
        values,
        {name: text.decode() for name, text in texts.items()},
        digest(canonical({name: digest(text) for name, text in texts.items()})),
        merged.tree,
        (*merged.warnings, *noted),
        tuple(one for name, value in values.items() for one in sections[name].deadlines(value)),
        merged.blame,
    )
