"""The record of one change: who published what, why, and each document before and after.

Separate because `push` writes it for everybody who asks later: what is not in a record is not
known, and nobody makes it up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confsync.model import limits
from confsync.model.errors import Torn
from confsync.model.ids import Digest, Json, KeyPath, LayerPath
from confsync.model.snapshot import Head, parse_head

CHANGES: Final = "changes/"
"""Where the records are, below the tree's root, by number."""


@dataclass(frozen=True, slots=True)
class Change:
    """One published change.

    Shape: `documents` maps each key that it touched to the digests before and after; None = there
    was no such document, or there is none any more. `layers` are those that it concerns, None = an
    older confsync wrote it.
    """

    head: Head
    documents: Mapping[KeyPath, tuple[Digest | None, Digest | None]]
    layers: tuple[LayerPath, ...] | None = None


def change_key(number: int) -> KeyPath:
    """Return the key of a change's record."""
    return KeyPath(f"{CHANGES}{number}")


def outlived(number: int) -> tuple[KeyPath, ...]:
    """Return the keys of records that are not kept once this change is published."""
    old = number - limits.CHANGES_KEPT
    return (change_key(old),) if old > 0 else ()


def parse_change(raw: bytes, key: str) -> Change:
    """Return a change's record. Raises: Torn, with the key, when it is not one."""
    head = parse_head(raw, key)
    record: Json = json.loads(raw)
    documents, layers = record.get("documents"), record.get("layers")
    if not isinstance(documents, dict) or not all(map(_pair, documents.values())):
        raise Torn(f"{key}: documents is not a mapping of digests")
    if layers is not None and not _texts(layers):
        raise Torn(f"{key}: layers is not a list of names")
    touched = {KeyPath(name): (old, new) for name, (old, new) in documents.items()}
    return Change(head, touched, None if layers is None else tuple(layers))


def _texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _pair(value: Json) -> bool:
    texts = isinstance(value, list) and all(isinstance(one, str | None) for one in value)
    return texts and len(value) == 2  # noqa: PLR2004, before and after
