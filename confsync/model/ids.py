"""Typed names for things that would otherwise be bare strings, and the digest of content.

Separate because every other module imports it; it imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NewType

Json = Any
"""A JSON value."""

SiteId = NewType("SiteId", str)
NodeId = NewType("NodeId", str)
RoleId = NewType("RoleId", str)
SectionName = NewType("SectionName", str)
DriverName = NewType("DriverName", str)
Digest = NewType("Digest", str)
"""SHA-256 of content, 64 lower-case hex digits."""
LayerPath = NewType("LayerPath", str)
"""One level of the hierarchy for this node, e.g. ``sites/bgo/common``."""
KeyPath = NewType("KeyPath", str)
"""A key below the tree's root, e.g. ``desired/sites/bgo/common/bgp``."""
ChangeNumber = NewType("ChangeNumber", int)
TxnId = NewType("TxnId", int)

Path = tuple[str | int, ...]
"""The place of a value in a tree: ``("peers", "rr1", "asn")``."""
Tree = Mapping[str, Json]

KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class ObjectId(NamedTuple):
    """One thing on a host that a change may remove or disturb; all that policy ever counts.

    Shape: ``ObjectId("session", "bgp.ipv4", "rr1")``: kind, group (the set within which a
    budget counts), name.
    """

    kind: str
    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}.{self.name}"


def digest(content: bytes) -> Digest:
    """Return the SHA-256 of content."""
    return Digest(hashlib.sha256(content).hexdigest())


def canonical(value: Json) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as operators read it: ``peers.rr1.asn``, ``rules[2].prefix``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
