"""One key as it is read and as it is written: an entry, and a write that may depend on it.

Separate because what is to be written is decided where nothing is written, for `push` and for the
copy between datacenters alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from confsync.model.ids import KeyPath


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as it was read; `modified` is the store's index of its last write."""

    value: bytes
    modified: int


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a key.

    Shape: `value` None = delete it; a key that ends with a slash stands for all below it.
    `index` None = whatever is there; else the write fails unless the entry is still at that index
    (0 = there is none).
    """

    key: KeyPath
    value: bytes | None
    index: int | None = None

    @property
    def size_bytes(self) -> int:
        """Return what it adds to a transaction."""
        return len(self.value or b"") + len(self.key)
