"""A folder of YAML and JSON files as a Source: try-out, break-glass, and what `push` publishes.

Separate because it needs no Consul and has the same rules: a file is a document, its folder the
layer. A folder that cannot be read is unreachable and never empty; a file that would be read in
silence as something else (a link out of the folder, two files for one document) is refused.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from confsync.model import limits
from confsync.model.change import Change
from confsync.model.errors import (
    BadSettings,
    Denied,
    InvalidConfig,
    Oversized,
    Unreachable,
    Violation,
)
from confsync.model.ids import KEY, Digest, KeyPath, LayerPath
from confsync.model.snapshot import HEAD, Absence, Head, Layer, Snapshot, parse_head
from confsync.ports import Judgement, Sample, Verdict

SUFFIXES: Final = (".yaml", ".yml", ".json")
HEAD_FILE: Final = f"{HEAD}.json"
POLL_S: Final = limits.TICK_S


class DirectorySettings(BaseModel):
    """The settings under ``[source]`` when ``kind = "directory"``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str


class File(NamedTuple):
    """One document's file: its name below the root without suffix, and where it lies."""

    name: str
    path: Path
    stamp: tuple[int, int, int]


class DirectorySource:
    """The tree of files below one folder."""

    name = "directory"

    def __init__(self, settings: DirectorySettings) -> None:
        if not settings.path:
            raise BadSettings("source.path is empty: wanted the folder of the tree")
        self._root = Path(settings.path).absolute()

    async def wakes(self, layers: tuple[LayerPath, ...]) -> AsyncGenerator[None, None]:
        """Yield at once, and whenever names, sizes or times of the files changed.

        Why: polling, since it is right on every file system and costs a hundred `stat`s.
        """
        del layers
        seen = _fingerprint(self._root)
        yield
        while True:
            await asyncio.sleep(POLL_S)
            before, seen = seen, _fingerprint(self._root)
            if seen != before and seen is not None:
                yield

    async def snapshot(self, layers: tuple[LayerPath, ...]) -> Snapshot:
        """Read the files of these layers. Raises Unreachable, Denied, Oversized, InvalidConfig."""
        files = _files(self._root)
        grouped = {layer: _below(files, layer) for layer in layers}
        content = _contents([file for group in grouped.values() for file in group.values()])
        read = tuple(
            Layer(
                layer,
                {name: content[file.path] for name, file in group.items()},
                places={name: str(file.path) for name, file in group.items()},
            )
            for layer, group in grouped.items()
        )
        return Snapshot(read, self._head(), f"{self._root}/")

    async def why_absent(self, key: KeyPath) -> Absence:
        """Ask the system about one file; never raises."""
        plain = self._root / key.removeprefix("desired/")
        try:
            self._root.stat()
            for suffix in SUFFIXES:
                if _exists(plain.with_name(plain.name + suffix)):
                    return Absence.UNKNOWN
        except PermissionError:
            return Absence.DENIED
        except OSError:
            return Absence.UNKNOWN
        return Absence.GONE

    async def changes(self) -> tuple[Change, ...]:
        """Return nothing: a folder keeps no records, its history is with who keeps the folder."""
        return ()

    async def text(self, sha: Digest) -> bytes | None:
        """Return nothing: a folder keeps no earlier documents."""
        del sha
        return None

    def way_home(self) -> AlwaysHome:
        """Return a probe that is always satisfied: a folder is on this host."""
        return AlwaysHome()

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """Return nothing: reading a folder is no request."""
        return {}

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    def _head(self) -> Head | None:
        """Return the head beside the layers, if somebody keeps one."""
        path = self._root / HEAD_FILE
        return parse_head(_contents([File(HEAD, path, (0, 0, 0))])[path]) if _exists(path) else None


class AlwaysHome:
    """The way home of a folder: nothing lies between."""

    name = "way home"

    async def sample(self) -> Sample:
        """Return a good sample."""
        return {"ok": True, "reason": ""}

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Agree."""
        del baseline, seen
        return Judgement(Verdict.OK)


def read_tree(path: Path, hierarchy: Sequence[str]) -> Mapping[LayerPath, Mapping[str, bytes]]:
    """Read a whole tree, all layers that the hierarchy can name, as `validate` and `push` need it.

    Shape: `hierarchy` holds patterns like ``sites/{site}/common``.
    Raises: Unreachable, Denied, Oversized, InvalidConfig; a file in no layer is a fault.
    """
    patterns = [_pattern(layer) for layer in hierarchy]
    files = [file for file in _files(path) if file.name != HEAD]
    layers: dict[LayerPath, list[File]] = {}
    lost: list[Violation] = []
    for file in files:
        found = next((m for p in patterns if (m := p.fullmatch(file.name))), None)
        if found is None:
            lost.append(_fault(file.path, "is in no layer of the hierarchy", ", ".join(hierarchy)))
        else:
            layers.setdefault(LayerPath(found["layer"]), []).append(file)
    if lost:
        raise InvalidConfig(tuple(lost))
    content = _contents(files, limits.CONSUL_TREE_BYTES)
    return {
        layer: {file.name.removeprefix(f"{layer}/"): content[file.path] for file in group}
        for layer, group in layers.items()
    }


def _pattern(layer: str) -> re.Pattern[str]:
    """Return what matches a file's name and gives its layer."""
    parts = re.split(r"\{[^{}]*\}", layer)
    return re.compile(f"(?P<layer>{'[^/]+'.join(map(re.escape, parts))})/.+")


def _files(root: Path) -> list[File]:
    """Return all documents' files, sorted. Raises Unreachable, Denied, InvalidConfig."""
    faults: list[Violation] = []
    try:
        files = sorted(_walk(root, root.resolve(strict=True), root, faults))
    except PermissionError as error:
        raise Denied(f"the folder {root} cannot be read: {error}") from error
    except OSError as error:
        raise Unreachable(f"the folder {root} cannot be read: {error}") from error
    first: dict[str, File] = {}
    for file in files:
        other = first.setdefault(file.name, file)
        if other is not file:
            faults.append(_fault(file.path, f"is the same document as {other.path}", "keep one"))
        if not KEY.fullmatch(file.name) or len(file.name) > limits.KEY_BYTES:
            faults.append(_fault(file.path, "has no name of a document", "use a-z 0-9 . _ -"))
    if faults:
        raise InvalidConfig(tuple(faults))
    return files


def _walk(root: Path, real: Path, folder: Path, faults: list[Violation]) -> Iterator[File]:
    """Yield the documents' files below a folder; dot-files and other suffixes are not ours."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, real, path, faults)
            elif entry.is_symlink() and (entry.is_dir() or not _inside(path, real)):
                faults.append(_fault(path, "is a link that leaves the tree", "copy the files"))
            elif path.suffix in SUFFIXES:
                found = entry.stat()
                if not stat.S_ISREG(found.st_mode):
                    faults.append(_fault(path, "is not a regular file", "remove it"))
                name = path.relative_to(root).as_posix().removesuffix(path.suffix)
                yield File(name, path, (found.st_ino, found.st_size, found.st_mtime_ns))


def _inside(path: Path, real: Path) -> bool:
    """Tell whether a link ends below the real root."""
    return path.resolve().is_relative_to(real)


def _below(files: Sequence[File], layer: LayerPath) -> dict[str, File]:
    """Return the files of one layer by their name below it."""
    prefix = f"{layer}/"
    return {f.name.removeprefix(prefix): f for f in files if f.name.startswith(prefix)}


def _contents(files: Sequence[File], total_bytes: int = limits.SNAPSHOT_BYTES) -> dict[Path, bytes]:
    """Read files, each up to one byte more than a document may have, so that it is refused."""
    content: dict[Path, bytes] = {}
    try:
        for file in files:
            with file.path.open("rb") as opened:
                content[file.path] = opened.read(limits.DOCUMENT_BYTES + 1)
            total_bytes -= len(content[file.path])
            if total_bytes < 0:
                raise Oversized(f"the tree is too large: the limit is passed at {file.path}")
    except PermissionError as error:
        raise Denied(f"a document cannot be read: {error}") from error
    except OSError as error:
        raise Unreachable(f"a document cannot be read: {error}") from error
    return content


def _fingerprint(root: Path) -> tuple[tuple[str, tuple[int, int, int]], ...] | None:
    """Return names, sizes and times of all files; None while the folder cannot be read."""
    faults: list[Violation] = []
    try:
        files = sorted(_walk(root, root.resolve(strict=True), root, faults))
    except OSError:
        return None
    bad = tuple((str(fault), (0, 0, 0)) for fault in faults)
    return tuple((str(file.path), file.stamp) for file in files) + bad


def _exists(path: Path) -> bool:
    """Tell whether a file is there. Raises OSError when that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _fault(path: Path, message: str, hint: str) -> Violation:
    """Return a violation that names a file."""
    return Violation("CS-K002", (), message, hint, str(path))
