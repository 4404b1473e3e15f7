"""What a configuration that another hand wrote says, in our words.

Separate because here alone the driver meets the importer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.importer.lexer import Unreadable
from confsync.drivers.bird.importer.whole import Read, whole
from confsync.drivers.bird.ownership import Found


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration, as far as our model can say it.

    Shape: `names` maps our names of protocols to the file's; `sessions` are the file's BGP
    protocols with their neighbours (None = not known), `protocols` all that it defines;
    `fragment` = the file is a part of an operator's own.
    """

    fragment: bool
    value: Bgp | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, str] | None = None
    protocols: frozenset[str] = frozenset()
    lost: tuple[str, ...] = ()
    draft: str = ""
    problem: str = ""


def read(found: Found) -> Reading:
    """Return what the file that we would write says now; an empty one says nothing."""
    tree, main = found.tree, found.main or found.file
    if tree is None or main not in tree.files:
        return Reading(bool(found.main))
    try:
        said = whole(tree.texts, main, os.path.normpath(found.file) if found.main else "")
    except Unreadable as fault:
        return Reading(bool(found.main), problem=f"{main} cannot be read: {fault}")
    return Reading(bool(found.main), **{key: getattr(said, key) for key in Read.__slots__})
