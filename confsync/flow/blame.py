"""Who wrote a value, in which change: found in the records of changes, never made up.

Separate because a layer's manifest knows only that something in it changed; the records say which
document each change touched, and the texts they keep say whether this very value did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from confsync.model import document, limits
from confsync.model.errors import InvalidConfig, SourceError
from confsync.model.explain import has, value_at
from confsync.model.ids import Digest, Json, KeyPath, Path, Tree, digest
from confsync.model.nodes import Origin
from confsync.model.snapshot import Head, Snapshot, document_key
from confsync.ports import Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Author:
    """What is known of how a value came to be.

    Shape: `change` None = no record names one; `record` is there only if that very change wrote
    the value, else it was that change or one before; `recorded` False = written past the last
    push.
    """

    change: int | None = None
    record: Head | None = None
    recorded: bool = True

    def as_json(self) -> Json:
        """Return what is known, for programs and people."""
        said = {name: getattr(self.record, name, "") for name in ("by", "at", "via", "why")}
        return {
            "change": self.change,
            "exact": self.record is not None,
            "recorded": self.recorded,
            **said,
        }


class _Touch(NamedTuple):
    head: Head
    before: Digest | None
    after: Digest | None


class Blame:
    """The authors of one snapshot's values; texts that were read are kept.

    Shape: `trouble` says why records or texts could not be read, so that less is known.
    """

    def __init__(self, source: Source, snapshot: Snapshot) -> None:
        self._source = source
        self.trouble = ""
        self._manifests = {layer.path: layer.manifest for layer in snapshot.layers}
        documents = {
            document_key(layer.path, name): raw
            for layer in snapshot.layers
            for name, raw in layer.documents.items()
        }
        self._now = {key: digest(raw) for key, raw in documents.items()}
        self._texts: dict[Digest, bytes | None] = {digest(raw): raw for raw in documents.values()}
        self._trees: dict[Digest, Json] = {}
        self._history: dict[KeyPath, list[_Touch]] = {}

    async def read(self) -> None:
        """Read the records of changes; without them there is less to know."""
        for one in await self._asked(self._source.changes()) or ():
            for key, (before, after) in one.documents.items():
                self._history.setdefault(key, []).append(_Touch(one.head, before, after))

    async def author(self, origin: Origin) -> Author:
        """Return who wrote the value at a place of a document, as far as it is known."""
        manifest = self._manifests[origin.layer]
        name = origin.key.removeprefix(document_key(origin.layer, ""))
        said = manifest.documents.get(name) if manifest else None
        now = self._now[origin.key]
        if manifest is None or said is None:
            return Author(recorded=False)
        if now != said and not await self._same(now, said, origin.path):
            return Author(recorded=False)
        last = Author(manifest.change)
        for touch in self._history.get(origin.key, ()):
            if touch.head.change > manifest.change:
                continue  # a push that never ended
            if touch.after != said:
                break
            last = Author(touch.head.change)
            if touch.before is None:
                return Author(touch.head.change, touch.head)
            if await self._tree(touch.before) is None:
                break
            if not await self._same(touch.before, said, origin.path):
                return Author(touch.head.change, touch.head)
            said = touch.before
        return last

    async def _same(self, one: Digest, other: Digest, path: Path) -> bool:
        """Tell whether two texts of a document can be read and hold the same at a place."""
        old, new = await self._tree(one), await self._tree(other)
        if old is None or new is None:
            return False
        return has(old, path) == has(new, path) and value_at(old, path) == value_at(new, path)

    async def _tree(self, sha: Digest) -> Json:
        """Return what a text says, None where it is not kept or cannot be read."""
        if sha not in self._trees:
            if sha not in self._texts:
                self._texts[sha] = await self._asked(self._source.text(sha))
            self._trees[sha] = _parsed(self._texts[sha])
        return self._trees[sha]

    async def _asked(self, question: Coroutine[Any, Any, T]) -> T | None:
        """Return the source's answer; one that gives none is not asked again."""
        if self.trouble:
            question.close()
            return None
        try:
            async with asyncio.timeout(limits.RECORDS_S):
                return await question
        except SourceError as fault:
            self.trouble = str(fault)
        except TimeoutError:
            self.trouble = f"the source gave no answer in {limits.RECORDS_S:g} s"
        return None


def _parsed(raw: bytes | None) -> Tree | None:
    try:
        return None if raw is None else document.parse(raw, "")
    except InvalidConfig:
        return None
