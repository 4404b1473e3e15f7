"""A snapshot of the source, and the judgement whether it may be believed.

Separate because "nothing is ever concluded from absence" is decided here and nowhere else: a
source that is empty, filtered, half-written or edited past its head is recognised by content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Final

from confsync.model.errors import Torn
from confsync.model.ids import Digest, Json, KeyPath, LayerPath, canonical, digest

HEAD: Final = KeyPath("head")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Phase(StrEnum):
    """What a head says of itself."""

    PUBLISHING = "publishing"
    COMPLETE = "complete"


class Absence(StrEnum):
    """Why a key was not in a reading."""

    GONE = "gone"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Head:
    """What is published here, by whom and why; `allow` are the change's allowances."""

    phase: Phase
    change: int
    by: str = ""
    at: str = ""
    via: str = ""
    why: str = ""
    git: str = ""
    allow: tuple[str, ...] = ()

    def as_json(self) -> Json:
        """Return the head as it is written."""
        return {**asdict(self), "phase": str(self.phase), "allow": list(self.allow)}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one layer holds when it is complete: document names and digests of their bytes."""

    change: int
    documents: Mapping[str, Digest]

    def as_json(self) -> Json:
        """Return the manifest as it is written."""
        return {"change": self.change, "documents": dict(self.documents)}


@dataclass(frozen=True, slots=True)
class Layer:
    """One level of the hierarchy as it was read.

    Shape: `documents` maps the name below the layer (``bgp``, ``bgp/peers/rr3``) to its bytes;
    `places` maps a name to what messages call it, where that is not the key (a file).
    """

    path: LayerPath
    documents: Mapping[str, bytes] = field(default_factory=dict)
    manifest: Manifest | None = None
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def digests(self) -> Mapping[str, Digest]:
        """Return the digest of each document, as a manifest has them."""
        return {name: digest(raw) for name, raw in self.documents.items()}

    @property
    def as_published(self) -> bool:
        """Tell whether the layer holds what its manifest says; without one: whether it is empty."""
        said = self.manifest.documents if self.manifest else {}
        return dict(said) == self.digests


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent reading of everything that concerns one node; layers weakest first."""

    layers: tuple[Layer, ...]
    head: Head | None = None
    origin: str = ""
    """Where a key lives, for messages: ``consul:confsync/v1/`` or a folder."""
    record: KeyPath = field(default=HEAD, compare=False)
    """The key that the head was read from: another one where changes are copied to."""

    def place(self, layer: Layer, name: str) -> str:
        """Return what messages call a document."""
        return layer.places.get(name, f"{self.origin}{document_key(layer.path, name)}")


def document_key(layer: LayerPath, name: str) -> KeyPath:
    """Return the key of a document below the tree's root."""
    return KeyPath(f"desired/{layer}/{name}")


def manifest_key(layer: LayerPath) -> KeyPath:
    """Return the key of a layer's manifest below the tree's root."""
    return KeyPath(f"manifest/{layer}")


def parse_head(raw: bytes, key: str = HEAD) -> Head:
    """Return a head; fields that we do not know belong to a newer confsync.

    Raises: Torn, with the key, when it is not a head.
    """
    record = _record(raw, key)
    texts = {name: record.get(name, "") for name in ("by", "at", "via", "why", "git")}
    allow = record.get("allow", [])
    for name, value in texts.items():
        _demand(isinstance(value, str), key, f"{name} is not a text")
    _demand(_texts(allow), key, "allow is not a list of texts")
    _demand(record.get("phase") in list(Phase), key, "phase is neither publishing nor complete")
    return Head(Phase(record["phase"]), _change(record, key), **texts, allow=tuple(allow))


def parse_manifest(raw: bytes, key: str) -> Manifest:
    """Return a layer's manifest. Raises: Torn, with the key, when it is not one."""
    record = _record(raw, key)
    documents: Json = record.get("documents")
    _demand(isinstance(documents, dict), key, "documents is not a mapping")
    for name, value in documents.items():
        fits = isinstance(value, str) and _DIGEST.fullmatch(value)
        _demand(bool(fits), key, f"the digest of {name} is not one")
    return Manifest(_change(record, key), documents)


def _record(raw: bytes, key: str) -> Json:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Torn(f"{key} is not JSON; what was read before is kept") from error
    if not isinstance(record, dict):
        raise Torn(f"{key} is not a JSON object; what was read before is kept")
    return record


def _change(record: Json, key: str) -> int:
    change: Json = record.get("change")
    _demand(type(change) is int and change >= 0, key, "change is not a number")
    number: int = change
    return number


def _texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _demand(holds: bool, key: str, complaint: str) -> None:
    if not holds:
        raise Torn(f"{key}: {complaint}; what was read before is kept")


class Standing(StrEnum):
    """What a reading is worth."""

    PUBLISHING = "publishing"  # half-written: keep what we have
    COMPLETE = "complete"  # exactly what the head and the manifests say: act at once
    EDITED = "edited"  # somebody wrote past the head: act after the quiet period


@dataclass(frozen=True, slots=True)
class Reading:
    """A judged snapshot.

    Shape: `edited` are the layers that differ from their manifests; `missing` are keys of
    last-known-good that are gone without a word; `lower` are keys whose change went back, as
    after a restored backup.
    """

    standing: Standing
    edited: tuple[LayerPath, ...] = ()
    missing: tuple[KeyPath, ...] = ()
    lower: tuple[KeyPath, ...] = ()

    @property
    def unrecorded(self) -> bool:
        """Tell whether nobody put on record who wrote this and why."""
        return self.standing is Standing.EDITED


def judge(snapshot: Snapshot, known_good: Snapshot | None) -> Reading:
    """Say what a snapshot is worth, beside the last one that was believed."""
    edited = tuple(layer.path for layer in snapshot.layers if not layer.as_published)
    standing = _standing(snapshot, edited)
    if known_good is None:
        return Reading(standing, edited)
    missing = _missing(snapshot, known_good, standing)
    return Reading(standing, edited, missing, _lower(snapshot, known_good))


def _standing(snapshot: Snapshot, edited: tuple[LayerPath, ...]) -> Standing:
    head = snapshot.head
    if head is None:
        return Standing.EDITED
    if head.phase is Phase.PUBLISHING:
        return Standing.PUBLISHING
    manifests = [layer.manifest for layer in snapshot.layers if layer.manifest]
    ahead = any(manifest.change > head.change for manifest in manifests)
    return Standing.EDITED if edited or ahead else Standing.COMPLETE


def _missing(snapshot: Snapshot, known_good: Snapshot, standing: Standing) -> tuple[KeyPath, ...]:
    """Return the keys that are gone though nobody said so; nothing is asked of half a tree.

    Why: only a manifest that is there and does not list a document says that it was removed, and
    only together with a newer head. A manifest never goes: the last document of a layer leaves
    an empty one. A reading that an ACL filters lacks the manifest too, and is not believed.
    """
    if standing is Standing.PUBLISHING:
        return ()
    newer = _said(snapshot.head) > _said(known_good.head) and standing is Standing.COMPLETE
    before = {layer.path: layer for layer in known_good.layers}
    gone = [snapshot.record] if known_good.head and not snapshot.head else []
    for layer in snapshot.layers:
        had = before.get(layer.path, Layer(layer.path))
        if had.manifest and not layer.manifest:
            gone.append(manifest_key(layer.path))
        if not (newer and layer.manifest):
            names = sorted(set(had.documents) - set(layer.documents))
            gone.extend(document_key(layer.path, name) for name in names)
    return tuple(gone)


def _lower(snapshot: Snapshot, known_good: Snapshot) -> tuple[KeyPath, ...]:
    before = {layer.path: layer.manifest for layer in known_good.layers}
    older = snapshot.head and _said(snapshot.head) < _said(known_good.head)
    lower = [snapshot.record] if older else []
    lower.extend(
        manifest_key(layer.path)
        for layer in snapshot.layers
        if layer.manifest and _said(layer.manifest) < _said(before.get(layer.path))
    )
    return tuple(lower)


def _said(record: Head | Manifest | None) -> int:
    return record.change if record else -1


def content_digest(snapshot: Snapshot) -> Digest:
    """Return the digest of all documents; what heads and manifests say does not change it."""
    return digest(canonical([[layer.path, layer.digests] for layer in snapshot.layers]))


@dataclass(frozen=True, slots=True)
class Burst:
    """A row of edits that nobody acted upon yet. Units: seconds of the caller's clock."""

    content: Digest
    first_s: float
    latest_s: float


@dataclass(frozen=True, slots=True)
class QuietPeriod:
    """All the atomicity that plain writes have: act after silence, but not for ever later."""

    min_s: float
    max_s: float

    def see(
        self, burst: Burst | None, content: Digest, acted: Digest | None, now_s: float
    ) -> Burst | None:
        """Return the burst after one more look; None = there is nothing to act upon.

        Shape: `acted` is the content that was acted upon last; coming back to it ends a burst.
        """
        if content == acted:
            return None
        if burst is None:
            return Burst(content, now_s, now_s)
        if content == burst.content:
            return burst
        return replace(burst, content=content, latest_s=now_s)

    def due_s(self, burst: Burst) -> float:
        """Return when to act: after the silence, or when the first edit has waited long enough."""
        return min(burst.latest_s + self.min_s, burst.first_s + self.max_s)
