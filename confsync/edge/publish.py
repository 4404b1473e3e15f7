"""Write a whole tree to Consul as one numbered change: what `confsync push` does.

Separate because it is the only writer of documents. Readers are never shown a half of it as
complete: `head` says *publishing* until the last transaction, every transaction checks that the
head is still ours, and what somebody wrote past the head is never overwritten unseen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from confsync.edge.consul import bad_keys, is_folder
from confsync.edge.transport import Client
from confsync.edge.writing import RecordMoved, write_under
from confsync.model import limits
from confsync.model.change import change_key, outlived
from confsync.model.errors import Conflict, HomeMoved, InvalidConfig, Torn, Violation
from confsync.model.ids import KEY, Digest, KeyPath, LayerPath, canonical, digest
from confsync.model.mirror import DROP, MIRROR, MOVED, blob_key, moved_to, said
from confsync.model.snapshot import (
    HEAD,
    Head,
    Manifest,
    Phase,
    document_key,
    manifest_key,
    parse_head,
    parse_manifest,
)
from confsync.model.writes import Entry, Write

Tree = Mapping[LayerPath, Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """Who changes what was published, and why; `at` is RFC 3339 with an offset."""

    by: str
    at: str
    why: str = ""
    via: str = ""
    git: str = ""
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """What a push did; `change` is the old number when there was nothing to do.

    Shape: keys as ``desired/common/bgp``; `adopted` are edits past head that the tree now holds.
    """

    change: int
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Tell whether everything was published already."""
        return not (self.written or self.removed or self.adopted)


@dataclass(frozen=True, slots=True)
class State:
    """What Consul holds before a push; keys are relative to the prefix.

    Shape: `promised` holds the digests of a push that never ended; `copied` is the change that was
    copied here, while this was not home; `moved` says where home went from here (empty = nowhere).
    """

    head: Head | None
    head_index: int
    manifests: Mapping[LayerPath, Manifest]
    documents: Mapping[str, Entry]
    promised: Mapping[str, Digest]
    copied: int = 0
    moved: str = ""

    @property
    def change(self) -> int:
        """Return the highest number that was given so far."""
        numbers = [manifest.change for manifest in self.manifests.values()]
        return max([self.copied, *numbers, self.head.change if self.head else 0])

    @property
    def recorded(self) -> dict[str, Digest]:
        """Return the digest that each document has by its layer's manifest."""
        return {
            document_key(layer, name): recorded
            for layer, manifest in self.manifests.items()
            for name, recorded in manifest.documents.items()
        }

    def found(self, key: str) -> Digest | None:
        """Return the digest of a document as it is, None if it is not there."""
        return digest(self.documents[key].value) if key in self.documents else None

    def said(self, key: str) -> Digest | None:
        """Return the digest that its content has as canonical JSON, however it was written."""
        return said(self.documents.get(key)) or self.found(key)


async def publish(
    client: Client, prefix: str, documents: Tree, record: Record, *, arriving: bool = False
) -> Published:
    """Make Consul hold exactly this tree; the caller has validated it and made it canonical JSON.

    Shape: `documents` maps a layer to its documents by name; what it does not name is removed.
    `arriving` = home is moved here by this change, which may change nothing else.
    Raises: Conflict, for a rival or edits past head; HomeMoved; SourceError; InvalidConfig.
    """
    wanted: dict[str, bytes] = {
        document_key(layer, name): raw
        for layer, named in documents.items()
        for name, raw in named.items()
    }
    _check_names(wanted)
    state = await _read(client, f"{prefix}/")
    if state.moved and not arriving:
        raise HomeMoved(state.moved)
    _refuse_rival(state, record)
    _refuse_edits(state, wanted)
    result = _compare(state, wanted)
    if arriving and not result.nothing:
        raise Conflict(
            "the tree is not what was copied here; push it at home first, and move home then: "
            + ", ".join((*result.written, *result.removed, *result.adopted))
        )
    complete = state.head is not None and state.head.phase is Phase.COMPLETE
    if result.nothing and complete and not record.allow and not arriving:
        return replace(result, change=state.change)
    head = Head(phase=Phase.COMPLETE, change=result.change, **_fields(record))
    manifests = dict(_manifests(state, documents, result.change))
    writes = [
        _history(state, head, wanted, result, manifests.keys()),
        *_documents(state, wanted, result),
        *manifests.values(),
    ]
    writes += [Write(key, None) for key in outlived(result.change)]
    if arriving:
        writes.append(Write(MOVED, None))
    stays = {"Verb": "check-not-exists", "Key": f"{prefix}/{MOVED}"}
    fence = () if arriving else (stays,)
    try:
        await write_under(client, f"{prefix}/", (HEAD, state.head_index), head, writes, fence=fence)
    except RecordMoved as error:
        message = "another push is at work: the head has changed; push again"
        raise Conflict(message, error.op) from error
    return result


async def _read(client: Client, prefix: str) -> State:
    """Read everything that a push depends on, in one transaction."""
    parts = [f"{prefix}{part}" for part in (HEAD, MIRROR, MOVED, "manifest/", "desired/")]
    found = await client.read(parts, limits.CONSUL_TREE_BYTES)
    if bad := bad_keys(found, f"{prefix}desired/"):
        raise Conflict(f"keys that no document may have, delete them first: {', '.join(bad)}")
    at = {key.removeprefix(prefix): entry for key, entry in found.items()}
    head = parse_head(at["head"].value) if "head" in at else None
    return State(
        head,
        at["head"].modified if "head" in at else 0,
        {
            LayerPath(key.removeprefix("manifest/")): parse_manifest(entry.value, key)
            for key, entry in at.items()
            if key.startswith("manifest/")
        },
        {
            key: entry
            for key, entry in at.items()
            if key.startswith("desired/") and not is_folder(key, entry)
        },
        await _promised(client, prefix, head),
        parse_head(at[MIRROR].value, MIRROR).change if MIRROR in at else 0,
        moved_to(at[MOVED].value) if MOVED in at else "",
    )


async def _promised(client: Client, prefix: str, head: Head | None) -> dict[str, Digest]:
    """Return what a push that never ended was about to write."""
    if head is None or head.phase is Phase.COMPLETE:
        return {}
    key = f"{prefix}{change_key(head.change)}"
    record = (await client.read([key])).get(key)
    try:
        documents = json.loads(record.value)["documents"] if record else {}
        return {key: after for key, (_, after) in documents.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Torn(f"{key} is not a record of a change: {error!r}") from error


def _check_names(wanted: Mapping[str, bytes]) -> None:
    """Refuse names that no document may have. Raises InvalidConfig."""
    bad = [k for k in wanted if not KEY.fullmatch(k) or len(k) > limits.KEY_BYTES]
    if bad:
        raise InvalidConfig(
            tuple(Violation("CS-K001", (), f"{key!r} is no name of a document") for key in bad)
        )


def _refuse_rival(state: State, record: Record) -> None:
    """Give way to a push that is at work; one that never ended is overtaken. Raises Conflict."""
    head = state.head
    if head is None or head.phase is Phase.COMPLETE:
        return
    age_s = _seconds_between(head.at, record.at)
    if age_s is not None and abs(age_s) < limits.PUBLISHING_S:
        raise Conflict(
            f"{head.by or 'somebody'} is publishing change {head.change} since {head.at}; "
            f"try again in {limits.PUBLISHING_S:g} s"
        )


def _refuse_edits(state: State, wanted: Mapping[str, bytes]) -> None:
    """Never overwrite unseen what somebody wrote past the head. Raises Conflict.

    Why: an edit that the tree holds as well is no conflict, so that both ways out are open; nor is
    one that says the same in YAML, or with a line's end more.
    """
    recorded = state.recorded
    edits = []
    for key in sorted(state.documents.keys() | recorded.keys()):
        known = {recorded.get(key), state.promised.get(key, recorded.get(key))}
        known.add(digest(wanted[key]) if key in wanted else None)
        if state.found(key) not in known and state.said(key) not in known:
            edits.append(key)
    if edits:
        raise Conflict(
            f"edited past head, not by push: {', '.join(edits)}; take each edit over into the "
            f"tree, or write the tree's document there, then push again"
        )


def _compare(state: State, wanted: Mapping[str, bytes]) -> Published:
    """Return what a push of this tree does."""
    recorded = state.recorded
    digests = {key: digest(raw) for key, raw in wanted.items()}
    written = {key for key in wanted if state.found(key) != digests[key]}
    removed = state.documents.keys() - wanted.keys()
    known = recorded.keys() | wanted.keys()
    unrecorded = {key for key in known if recorded.get(key) != digests.get(key)}
    return Published(
        state.change + 1,
        tuple(sorted(written)),
        tuple(sorted(removed)),
        tuple(sorted(unrecorded - written - removed)),
    )


def _history(
    state: State,
    head: Head,
    wanted: Mapping[str, bytes],
    result: Published,
    layers: Collection[LayerPath],
) -> Write:
    """Return the write of the change's record: each path with its digest before and after.

    Why some are left out: a record is one key, and thousands of documents at once do not fit in it.
    Then nobody is told who wrote them, and a push that died must be done again as it was.
    """
    paths = (*result.written, *result.removed, *result.adopted)
    documents = {
        key: [state.recorded.get(key), digest(wanted[key]) if key in wanted else None]
        for key in paths
    }
    concerned = {*layers, *(layer for layer in state.manifests if _gives_up(head, layer))}
    told = {**head.as_json(), "layers": sorted(concerned)}
    record = Write(change_key(head.change), canonical({**told, "documents": documents}))
    if record.size_bytes > limits.RECORD_BYTES:
        told |= {"documents": {}, "left_out": len(documents)}
        record = Write(change_key(head.change), canonical(told))
    return record


def _documents(state: State, wanted: Mapping[str, bytes], result: Published) -> Iterator[Write]:
    """Yield the writes of documents and texts; one fails if its document changed since the read."""
    texts = (wanted[key] for key in (*result.written, *result.adopted) if key in wanted)
    yield from (Write(blob_key(sha), raw) for sha, raw in {digest(t): t for t in texts}.items())
    for key in result.written:
        entry = state.documents.get(key)
        yield Write(KeyPath(key), wanted[key], entry.modified if entry else 0)
    for key in result.removed:
        yield Write(KeyPath(key), None, state.documents[key].modified)


def _gives_up(head: Head, layer: LayerPath) -> bool:
    """Tell whether the change gives up an edit of this layer at some site."""
    return any(
        word.startswith(DROP) and f":{document_key(layer, '')}" in word for word in head.allow
    )


def _manifests(state: State, documents: Tree, change: int) -> Iterator[tuple[LayerPath, Write]]:
    """Yield the writes of manifests that differ; a layer that is left empty says so."""
    for layer in sorted(documents.keys() | state.manifests.keys()):
        now = {name: digest(raw) for name, raw in documents.get(layer, {}).items()}
        old = state.manifests.get(layer)
        if old is None or dict(old.documents) != now:
            yield layer, Write(manifest_key(layer), canonical(Manifest(change, now).as_json()))


def _fields(record: Record) -> dict[str, Any]:
    """Return a record's fields as a head has them."""
    return {name: getattr(record, name) for name in ("by", "at", "via", "why", "git", "allow")}


def _seconds_between(earlier: str, later: str) -> float | None:
    """Return the seconds between two times, None if one cannot be read."""
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except (ValueError, TypeError):
        return None
