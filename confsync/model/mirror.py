"""What a datacenter must write to hold what home publishes, and what it must leave alone.

Separate because the whole safety of replication is decided here, on values: nothing is deleted by
difference but by what home's manifests say, and a document that somebody edited here since the last
complete copy is kept, and called a conflict. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from confsync.model.change import CHANGES, outlived
from confsync.model.document import parse
from confsync.model.errors import InvalidConfig, Torn
from confsync.model.ids import Digest, Json, KeyPath, LayerPath, canonical, digest
from confsync.model.snapshot import (
    Head,
    Manifest,
    Phase,
    document_key,
    manifest_key,
    parse_head,
    parse_manifest,
)
from confsync.model.writes import Entry, Write

MIRROR: Final = KeyPath("mirror")
"""In place of `head` in every datacenter but home."""
CONFLICTS: Final = KeyPath("conflicts")
MOVED: Final = KeyPath("moved")
"""Where home has been, and is no more: ``{"to": site, "by", "at", "why"}``."""
OPS: Final = KeyPath("ops/")
COPIED_OPS: Final = KeyPath("mirror-ops")
COPYING: Final = KeyPath("copying/")
"""What a copy is at, while it is: enough to finish it or to undo it."""
COPYING_FROM: Final = KeyPath(f"{COPYING}mirror")
COPYING_LAYERS: Final = KeyPath(f"{COPYING}layers/")
NOTHING: Final = b"null"
DROP: Final = "drop:"

Kept = dict[KeyPath, tuple[Digest | None, Digest | None]]
"""Documents that were edited here: their digests here and at home, None = not there."""


@dataclass(frozen=True, slots=True)
class Published:
    """What home publishes.

    Shape: `manifests` of the layers that changed since what was copied before, or of all; `records`
    are the changes since then, by key; `allow` are the allowances of all of them; `ops` what home's
    operators ordered, by key.
    """

    head: Head
    manifests: Mapping[LayerPath, Manifest]
    records: Mapping[KeyPath, bytes] = field(default_factory=dict)
    allow: frozenset[str] = frozenset()
    ops: Mapping[KeyPath, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Copying:
    """What a copy does to one layer.

    Shape: `was` is the manifest before it; `wrote` maps a document to every digest that a copy may
    have given it since, None = it may have removed it.
    """

    was: Manifest | None
    wrote: Mapping[str, tuple[Digest | None, ...]]

    def as_json(self) -> Json:
        """Return the record as it is written."""
        return {"was": self.was.as_json() if self.was else None, "wrote": dict(self.wrote)}


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the copy in this datacenter is.

    Shape: `head` is what `mirror` says, None = nothing was ever copied; `index` is its entry's (0 =
    none). `copying` and `before` are what a copy that was cut left: what it did, and what `mirror`
    said before it.
    """

    head: Head | None = None
    index: int = 0
    copying: Mapping[LayerPath, Copying] = field(default_factory=dict)
    before: Head | None = None
    copied_ops: Mapping[KeyPath, Digest] = field(default_factory=dict)

    @property
    def torn(self) -> bool:
        """Tell whether a copy was begun and not ended."""
        return self.head is not None and self.head.phase is not Phase.COMPLETE


@dataclass(frozen=True, slots=True)
class Copy:
    """What is to be written, and what is left alone.

    Shape: `prepare` is written first when all of it does not fit in one transaction; `puts` maps
    each document to the digest that it gets (None = it goes) and the index that it was read at;
    `at_hand` are texts that are here, those that give way among them.
    """

    head: Head
    prepare: tuple[Write, ...]
    puts: Mapping[KeyPath, tuple[Digest | None, int]]
    tail: tuple[Write, ...]
    at_hand: Mapping[Digest, bytes]

    @property
    def wanted(self) -> frozenset[Digest]:
        """Return the digests of the texts that are not here yet."""
        return frozenset(sha for sha, _ in self.puts.values() if sha) - self.at_hand.keys()

    def writes(self, texts: Mapping[Digest, bytes]) -> tuple[Write, ...]:
        """Return all of it in order: texts, documents, manifests and records."""
        known = {**self.at_hand, **texts}
        blobs = (Write(blob_key(sha), known[sha]) for sha in sorted(known))
        documents = (
            Write(key, known[sha] if sha else None, index)
            for key, (sha, index) in self.puts.items()
        )
        return (*blobs, *documents, *self.tail)


def blob_key(sha: Digest) -> KeyPath:
    """Return the key of a text by its digest."""
    return KeyPath(f"blobs/{sha}")


def copying_key(layer: LayerPath) -> KeyPath:
    """Return the key that says what a copy does to a layer."""
    return KeyPath(f"{COPYING_LAYERS}{layer}")


def differing(
    home: Published, here: Mapping[LayerPath, Manifest], standing: Standing, site: str
) -> Mapping[LayerPath, tuple[str, ...]]:
    """Return the documents of each layer that the copy must look at.

    They are those that home and this datacenter do not say the same of, those that a cut copy may
    have written, and those whose edit here an operator gave up.
    """
    found: dict[LayerPath, tuple[str, ...]] = {}
    for layer, manifest in home.manifests.items():
        was, cut = _was(layer, here, standing), standing.copying.get(layer)
        old, new = was.documents if was else {}, manifest.documents
        names = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        names |= cut.wrote.keys() if cut else set()
        start = f"{DROP}{site}:{document_key(layer, '')}"
        dropped = (word.removeprefix(start) for word in home.allow if word.startswith(start))
        names |= {word.rpartition("@")[0] for word in dropped}
        found[layer] = tuple(sorted(names))
    return found


def _was(
    layer: LayerPath, here: Mapping[LayerPath, Manifest], standing: Standing
) -> Manifest | None:
    """Return a layer's manifest as the last complete copy left it."""
    cut = standing.copying.get(layer)
    return cut.was if cut else here.get(layer)


def plan_copy(
    home: Published,
    here: Mapping[LayerPath, Manifest],
    documents: Mapping[KeyPath, Entry],
    standing: Standing,
    site: str,
) -> Copy:
    """Return what to write, given the documents that `differing` names as they are here."""
    plan = _Plan(home, site)
    for layer, names in differing(home, here, standing, site).items():
        was, cut = _was(layer, here, standing), standing.copying.get(layer)
        wrote = dict(cut.wrote) if cut else {}
        for name in names:
            before = was.documents.get(name) if was else None
            ours = (before, *wrote.get(name, ()))
            key, after = document_key(layer, name), home.manifests[layer].documents.get(name)
            if plan.puts_document(key, documents.get(key), after, ours):
                wrote[name] = tuple(dict.fromkeys((*wrote.get(name, ()), after)))
        if wrote or was != home.manifests[layer]:
            record = Copying(was, wrote)
            plan.prepare.append(Write(copying_key(layer), canonical(record.as_json())))
    if not standing.torn:
        told = canonical(standing.head.as_json()) if standing.head else NOTHING
        plan.prepare.insert(0, Write(COPYING_FROM, told))
    tail = _tail(home, here)
    return Copy(home.head, tuple(plan.prepare), plan.puts, tail, plan.at_hand)


class _Plan:
    """A copy in the making."""

    def __init__(self, home: Published, site: str) -> None:
        self._allow, self._site = home.allow, site
        self.prepare: list[Write] = []
        self.puts: dict[KeyPath, tuple[Digest | None, int]] = {}
        self.at_hand: dict[Digest, bytes] = {}

    def puts_document(
        self,
        key: KeyPath,
        entry: Entry | None,
        after: Digest | None,
        ours: Collection[Digest | None],
    ) -> bool:
        """Plan one document; tell whether it is written.

        Why an edit is told by content: what a copy may have written is on record, so that a digest
        which is neither before nor after was somebody else's.
        """
        found = digest(entry.value) if entry else None
        edited = found != after and found not in ours and said(entry) != after
        if edited and drop_word(self._site, key, found) not in self._allow:
            return False
        if entry and found:
            self.at_hand[found] = entry.value
        if found == after:
            return False
        self.puts[key] = (after, entry.modified if entry else 0)
        return True


def _tail(home: Published, here: Mapping[LayerPath, Manifest]) -> tuple[Write, ...]:
    manifests = (
        Write(manifest_key(layer), canonical(manifest.as_json()))
        for layer, manifest in sorted(home.manifests.items())
        if manifest != here.get(layer)
    )
    records = (Write(key, raw) for key, raw in sorted(home.records.items()))
    numbers = (int(key.removeprefix(CHANGES)) for key in home.records)
    gone = (Write(key, None) for number in sorted(numbers) for key in outlived(number))
    return (*manifests, *records, *gone)


def plan_undo(
    standing: Standing, documents: Mapping[KeyPath, Entry], texts: Mapping[Digest, bytes]
) -> tuple[Write, ...]:
    """Return what puts back the last complete copy after one that was cut.

    Shape: `documents` are those that the copy may have written, as they are now; `texts` the old
    ones by digest. An edit that came since is left alone.
    """
    return tuple(_undo(standing, documents, texts))


def _undo(
    standing: Standing, documents: Mapping[KeyPath, Entry], texts: Mapping[Digest, bytes]
) -> Iterator[Write]:
    for layer, cut in sorted(standing.copying.items()):
        for name, wrote in sorted(cut.wrote.items()):
            key = document_key(layer, name)
            entry = documents.get(key)
            found = digest(entry.value) if entry else None
            before = cut.was.documents.get(name) if cut.was else None
            if found == before or found not in wrote:
                continue
            if before is not None and before not in texts:
                raise Torn(f"{key}: the text before the copy, {before[:12]}, is not kept here")
            yield Write(key, texts[before] if before else None, entry.modified if entry else 0)
        if cut.was is not None:
            yield Write(manifest_key(layer), canonical(cut.was.as_json()))
        else:
            yield Write(manifest_key(layer), None)


def undone(standing: Standing) -> tuple[tuple[KeyPath, ...], frozenset[Digest]]:
    """Return the documents that undoing looks at, and the digests of the texts that it needs."""
    keys = [
        document_key(layer, name) for layer, cut in standing.copying.items() for name in cut.wrote
    ]
    before = {
        cut.was.documents[name]
        for cut in standing.copying.values()
        if cut.was
        for name in cut.wrote
        if name in cut.was.documents
    }
    return tuple(keys), frozenset(before)


def plan_ops(
    home: Mapping[KeyPath, bytes], here: Mapping[KeyPath, Entry], copied: Mapping[KeyPath, Digest]
) -> tuple[Write, ...]:
    """Return the writes that bring home's orders here; what was ordered here stays.

    Why nothing is removed: an order ends by being written, never by not being read.
    """
    writes, known = [], dict(copied)
    for key, raw in sorted(home.items()):
        now, entry = digest(raw), here.get(key)
        ours = entry is None or digest(entry.value) == copied.get(key)
        if copied.get(key) == now or not ours:
            continue
        writes.append(Write(key, raw, entry.modified if entry else 0))
        known[key] = now
    return (*writes, Write(COPIED_OPS, canonical(known))) if writes else ()


def conflicts(manifests: Mapping[LayerPath, Manifest], documents: Mapping[KeyPath, Entry]) -> Kept:
    """Return the documents that do not say what was copied."""
    home = {
        document_key(layer, name): sha
        for layer, manifest in manifests.items()
        for name, sha in manifest.documents.items()
    }
    here = {key: digest(entry.value) for key, entry in documents.items()}
    return {
        key: (here.get(key), home.get(key))
        for key in sorted(home.keys() | here.keys())
        if here.get(key) != home.get(key) and said(documents.get(key)) != home.get(key)
    }


def conflicts_record(change: int, found: Kept) -> bytes:
    """Return conflicts as they are written: what is here, and what home has."""
    documents = {key: {"here": here, "home": home} for key, (here, home) in found.items()}
    return canonical({"change": change, "documents": documents})


def drop_word(site: str, key: KeyPath, found: Digest | None) -> str:
    """Return the allowance by which an operator gives up one edit at one site, and no later one."""
    return f"{DROP}{site}:{key}@{found[:12] if found else 'removed'}"


def said(entry: Entry | None) -> Digest | None:
    """Return the digest of a document as canonical JSON, however it was written."""
    if entry is None:
        return None
    try:
        return digest(canonical(parse(entry.value, "")))
    except InvalidConfig:
        return None


def parse_copying(raw: bytes, key: str) -> Copying:
    """Return what a copy did to a layer. Raises: Torn, with the key."""
    try:
        record = json.loads(raw)
        was, wrote = record["was"], record["wrote"]
        manifest = None if was is None else parse_manifest(canonical(was), key)
        return Copying(manifest, {name: tuple(shas) for name, shas in wrote.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Torn(f"{key} is not a record of a copy: {error!r}") from error


def parse_before(raw: bytes) -> Head | None:
    """Return what `mirror` said before a copy. Raises: Torn."""
    return None if raw == NOTHING else parse_head(raw, COPYING_FROM)


def parse_copied_ops(raw: bytes) -> Mapping[KeyPath, Digest]:
    """Return which orders of home were copied, by digest. Raises: Torn."""
    try:
        return {KeyPath(key): Digest(sha) for key, sha in json.loads(raw).items()}
    except (ValueError, AttributeError) as error:
        raise Torn(f"{COPIED_OPS} is not a record of digests: {error!r}") from error


def moved_to(raw: bytes) -> str:
    """Return what to tell of a home that is somewhere else now."""
    try:
        record = json.loads(raw)
        to, by, at = (str(record[name]) for name in ("to", "by", "at"))
    except (ValueError, TypeError, KeyError):
        return f"home is not here any more, and the key {MOVED} does not say where it is"
    return (
        f'home has moved to {to} (by {by}, {at}); set home_datacenter = "{to}" under '
        f"[source.consul] on this host"
    )
