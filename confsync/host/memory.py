"""Last-known-good: the last snapshot that was accepted, on disk, for a start without the source.

Separate because it is no journal: losing it costs a wait, believing a damaged one costs a network.
The file is written whole beside the old one and renamed; it is believed only if its checksum and
every part of it can be read, and dropped otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Final

import structlog

from confsync.host.files import Attributes, read_file, write_durable
from confsync.model import limits
from confsync.model.errors import ConfsyncError
from confsync.model.ids import Json, LayerPath, canonical
from confsync.model.snapshot import Layer, Snapshot, parse_head, parse_manifest

FILE: Final = "last-known-good"
MAGIC: Final = b"confsync-snapshot-1"
FILE_BYTES: Final = 2 * limits.SNAPSHOT_BYTES
"""Documents are base64 here: four thirds of a snapshot, and its names."""

_log = structlog.get_logger(__name__)


class FileMemory:
    """One snapshot in one file: a line with format and checksum, then JSON."""

    def __init__(self, state_dir: Path) -> None:
        self._path = str(state_dir / FILE)

    def load(self) -> Snapshot | None:
        """Return the stored snapshot; None if there is none or it cannot be believed."""
        try:
            found = read_file(self._path, FILE_BYTES)
            return _decode(found.data) if found else None
        except (ValueError, TypeError, KeyError, RecursionError, ConfsyncError) as error:
            _log.warning("memory.dropped", path=self._path, reason=str(error)[:256])
            return None

    def store(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, atomically and durably. Raises HostBusy when the disk refuses."""
        owner = Attributes(0o600, os.geteuid(), os.getegid())
        write_durable(self._path, _encode(snapshot), owner)


def _encode(snapshot: Snapshot) -> bytes:
    """Return the file's content."""
    body = canonical(
        {
            "origin": snapshot.origin,
            "head": snapshot.head.as_json() if snapshot.head else None,
            "layers": [_layer(layer) for layer in snapshot.layers],
        }
    )
    return MAGIC + b" " + _checksum(body) + b"\n" + body


def _layer(layer: Layer) -> Json:
    """Return a layer as JSON."""
    return {
        "path": layer.path,
        "manifest": layer.manifest.as_json() if layer.manifest else None,
        "documents": {
            name: base64.b64encode(raw).decode() for name, raw in layer.documents.items()
        },
        "places": dict(layer.places),
    }


def _decode(raw: bytes) -> Snapshot:
    """Read the file's content. Raises ValueError and whatever else a wrong shape raises."""
    first, _, body = raw.partition(b"\n")
    if first != MAGIC + b" " + _checksum(body):
        raise ValueError("the checksum does not fit")
    stored = json.loads(body)
    layers = tuple(
        Layer(
            LayerPath(layer["path"]),
            {
                name: base64.b64decode(text, validate=True)
                for name, text in layer["documents"].items()
            },
            parse_manifest(canonical(layer["manifest"]), FILE) if layer["manifest"] else None,
            layer["places"],
        )
        for layer in stored["layers"]
    )
    head = parse_head(canonical(stored["head"])) if stored["head"] else None
    return Snapshot(layers, head, stored["origin"])


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
