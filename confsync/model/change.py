"""The record of one change: who published what, why, and each document before and after.

Separate because `push` writes it for everybody who asks later: what is not in a record is not
known, and nobody makes it up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confsync.model.errors import Torn
from confsync.model.ids import Digest, Json, KeyPath
from confsync.model.snapshot import Head, parse_head

CHANGES: Final = "changes/"
"""Where the records are, below the tree's root, by number."""


@dataclass(frozen=True, slots=True)
class Change:
    """One published change.

    Shape: `documents` maps each key that it touched to the digests before and after; None = there
    was no such document, or there is none any more.
    """

    head: Head
    documents: Mapping[KeyPath, tuple[Digest | None, Digest | None]]


def parse_change(raw: bytes, key: str) -> Change:
    """Return a change's record. Raises: Torn, with the key, when it is not one."""
    head = parse_head(raw, key)
    documents: Json = json.loads(raw).get("documents")
    if not isinstance(documents, dict) or not all(map(_pair, documents.values())):
        raise Torn(f"{key}: documents is not a mapping of digests")
    return Change(head, {KeyPath(name): (old, new) for name, (old, new) in documents.items()})


def _pair(value: Json) -> bool:
    texts = isinstance(value, list) and all(isinstance(one, str | None) for one in value)
    return texts and len(value) == 2  # noqa: PLR2004, before and after
