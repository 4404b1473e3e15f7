"""A Source in memory that can do what a folder cannot: hide keys, refuse, publish by halves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from confsync.model.change import Change
from confsync.model.errors import SourceError, Unreachable
from confsync.model.ids import Digest, KeyPath, LayerPath, digest
from confsync.model.snapshot import (
    Absence,
    Head,
    Layer,
    Manifest,
    Phase,
    Snapshot,
    document_key,
    manifest_key,
    parse_head,
)
from confsync.ports import Judgement, Verdict

AWAY = Unreachable("the source does not answer")


class ScriptedSource:
    """Documents by key; `fault` is what every reading fails with, `hidden` what an ACL filters."""

    name = "scripted"

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.manifests: dict[LayerPath, Manifest] = {}
        self.head: Head | None = None
        self.fault: Exception | None = None
        self.hidden: set[str] = set()
        self.home = Judgement(Verdict.OK)
        self.asked: list[KeyPath] = []
        self.homes = 0
        self.closed = False
        self.records: list[Change] = []
        self.blobs: dict[Digest, bytes] = {}
        self._version = 0

    # --- what an operator does

    @property
    def source(self) -> ScriptedSource:
        return self

    def put(self, key: str, text: str) -> None:
        """Write plainly, as `consul kv put` does."""
        if key == "head":
            self.head = parse_head(text.encode())
        else:
            self.documents[key] = text.encode()
        self._move()

    def delete(self, key: str) -> None:
        del self.documents[key]
        self._move()

    def publish(self, change: int, *layers: str, allow: tuple[str, ...] = ()) -> None:
        """Put what is written on record, as `confsync push` does."""
        for path in map(LayerPath, layers):
            said = {
                key.removeprefix(f"desired/{path}/"): digest(raw)
                for key, raw in self.documents.items()
                if key.startswith(f"desired/{path}/")
            }
            self.manifests[path] = Manifest(change, said)
        self.head = Head(Phase.COMPLETE, change, by="ann", allow=allow)
        self._move()

    def leave(self) -> None:
        self.fault = AWAY

    def come_back(self) -> None:
        self.fault = None
        self._move()

    def _move(self) -> None:
        self._version += 1

    # --- the port

    async def wakes(self, layers: tuple[LayerPath, ...]) -> AsyncGenerator[None, None]:
        seen = -1
        while True:
            while seen == self._version or self.fault is not None:
                await asyncio.sleep(0.1)
            seen = self._version
            yield

    async def snapshot(self, layers: tuple[LayerPath, ...]) -> Snapshot:
        if self.fault is not None:
            raise self.fault
        return Snapshot(tuple(map(self._layer, layers)), self.head, "scripted:")

    def _layer(self, path: LayerPath) -> Layer:
        prefix = f"desired/{path}/"
        documents = {
            key.removeprefix(prefix): raw
            for key, raw in sorted(self.documents.items())
            if key.startswith(prefix) and key not in self.hidden
        }
        shown = manifest_key(path) not in self.hidden
        return Layer(path, documents, self.manifests.get(path) if shown else None)

    async def why_absent(self, key: KeyPath) -> Absence:
        self.asked.append(key)
        if isinstance(self.fault, SourceError):
            return Absence.UNKNOWN
        if key in self.hidden:
            return Absence.DENIED
        there = {*self.documents, *map(manifest_key, self.manifests)}
        return Absence.UNKNOWN if key in there else Absence.GONE

    async def changes(self) -> tuple[Change, ...]:
        if self.fault is not None:
            raise self.fault
        return tuple(self.records)

    async def text(self, sha: Digest) -> bytes | None:
        return self.blobs.get(sha)

    def way_home(self) -> ScriptedSource:
        self.homes += 1
        return self

    async def sample(self) -> Any:
        return {"ok": self.home.verdict is Verdict.OK}

    def judge(self, baseline: Any, seen: Any) -> Judgement:
        return self.home

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        return {}

    async def close(self) -> None:
        self.closed = True


def node_key(name: str) -> KeyPath:
    return document_key(LayerPath("nodes/n1"), name)
