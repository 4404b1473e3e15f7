"""Two Consul datacenters as replication sees them: home from far, and the copy here.

Separate because the tree is read there and written here in units that fit Consul's transactions,
and because each write carries the fence: the check, in the same transaction, that our session
holds the lease and that the record of the copy is still ours.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from typing import Final

from confsync.edge import watch
from confsync.edge.consul import is_folder
from confsync.edge.lease import ConsulFence
from confsync.edge.online import Check, Rights
from confsync.edge.transport import Client
from confsync.edge.writing import operation, write_under
from confsync.model import limits
from confsync.model.change import change_key, parse_change
from confsync.model.errors import Conflict, HomeMoved, LeaseLost, SourceError, Torn
from confsync.model.ids import Digest, Json, KeyPath, LayerPath, digest
from confsync.model.mirror import (
    COPIED_OPS,
    COPYING,
    COPYING_FROM,
    COPYING_LAYERS,
    MIRROR,
    MOVED,
    OPS,
    Published,
    Standing,
    blob_key,
    moved_to,
    parse_before,
    parse_copied_ops,
    parse_copying,
)
from confsync.model.snapshot import (
    HEAD,
    Head,
    Manifest,
    Phase,
    manifest_key,
    parse_head,
    parse_manifest,
)
from confsync.model.writes import Entry, Write
from confsync.ports.site import Fence

MANIFESTS: Final = KeyPath("manifest/")
DOCUMENTS: Final = KeyPath("desired/")


class _Tree:
    """The keys below one prefix of one datacenter."""

    def __init__(self, client: Client, prefix: str, site: str) -> None:
        self.site = site
        self.client = client
        self._root = prefix
        self._prefix = f"{prefix}/"

    async def entries(self, keys: Collection[KeyPath]) -> dict[KeyPath, Entry]:
        """Return single keys, and all below those that end with a slash."""
        found: dict[KeyPath, Entry] = {}
        for portion in _portions(sorted(keys)):
            wanted = {f"{self._prefix}{key}" for key in portion}
            read = await self.client.read(sorted(wanted), limits.CONSUL_TREE_BYTES)
            trees = tuple(key for key in wanted if key.endswith("/"))
            for key, entry in read.items():
                if (key in wanted or key.startswith(trees)) and not is_folder(key, entry):
                    found[KeyPath(key.removeprefix(self._prefix))] = entry
        return found

    async def manifests(self, layers: Collection[LayerPath]) -> dict[LayerPath, Manifest]:
        """Return the manifests of layers, where there are."""
        return _manifests(await self.entries([manifest_key(layer) for layer in layers]))

    async def close(self) -> None:
        """Give up all connections."""
        await self.client.close()


class ConsulHome(_Tree):
    """The datacenter where changes are published."""

    def wakes(self) -> AsyncGenerator[None, None]:
        """Yield whenever `head` may have changed, and when home is back."""
        return watch.wakes(self.client, [watch.Target(f"{self._prefix}{HEAD}")])

    async def published(self, since: Head | None) -> Published | None:
        """Return what differs from a head that was copied, all for None.

        Why the records: they name the layers that a change touched, so that one change of one
        document costs no more than that, however large the tree is.
        """
        found = await self.entries([HEAD, MOVED, OPS])
        if MOVED in found:
            raise HomeMoved(moved_to(found[MOVED].value))
        if HEAD not in found:
            return None
        head = parse_head(found[HEAD].value)
        ops = {key: entry.value for key, entry in found.items() if key.startswith(OPS)}
        if head == since or head.phase is Phase.PUBLISHING:
            return Published(head, {}, ops=ops)
        records, layers = await self._records(head, since)
        wanted = [manifest_key(layer) for layer in layers] if layers is not None else [MANIFESTS]
        read = await self.entries([HEAD, *wanted])
        if HEAD not in read or parse_head(read[HEAD].value) != head:
            raise Torn(f"{self.site} has published something else meanwhile")
        manifests = _manifests(read)
        if hidden := set(layers or ()) - manifests.keys():
            raise Torn(f"{self.site} hides manifests from us: {', '.join(sorted(hidden))}")
        allow = {word for raw in records.values() for word in parse_head(raw).allow}
        return Published(head, manifests, records, frozenset({*head.allow, *allow}), ops)

    async def _records(
        self, head: Head, since: Head | None
    ) -> tuple[dict[KeyPath, bytes], set[LayerPath] | None]:
        """Return the changes since then and the layers they touched; None = nobody can tell."""
        behind = head.change - since.change if since else 0
        if since and 0 < behind <= limits.MIRROR_GAP:
            numbers = range(since.change + 1, head.change + 1)
            found = await self.entries([change_key(number) for number in numbers])
            touched = [parse_change(entry.value, key).layers for key, entry in found.items()]
            if len(touched) == behind and None not in touched:
                layers = {layer for named in touched for layer in named or ()}
                return {key: entry.value for key, entry in found.items()}, layers
        last = range(max(1, head.change - limits.MIRROR_GAP + 1), head.change + 1)
        found = await self.entries([change_key(number) for number in last])
        return {key: entry.value for key, entry in found.items()}, None

    async def texts(self, digests: Collection[Digest]) -> dict[Digest, bytes]:
        """Return texts, each as its digest says."""
        return _texts(await self.entries([blob_key(sha) for sha in digests]), digests, self.site)

    def checks(self) -> Iterator[Check]:
        """Yield what a copy needs here, to be asked by an operator."""
        return Rights(self.client, self._root).at_home(HEAD)


class ConsulMirror(_Tree):
    """The copy in this datacenter."""

    def checks(self) -> Iterator[Check]:
        """Yield what a copy needs here, to be asked by an operator."""
        return Rights(self.client, self._root).of_replicator()

    def wakes(self) -> AsyncGenerator[None, None]:
        """Yield whenever a document here may have changed."""
        record = watch.Target(f"{self._prefix}{MIRROR}")
        documents = watch.Target(f"{self._prefix}{DOCUMENTS}", recurse=True, names=True)
        return watch.wakes(self.client, [record, documents])

    async def standing(self) -> Standing:
        """Return how far the copy is."""
        found = await self.entries([MIRROR, COPYING, COPIED_OPS])
        copied_ops = parse_copied_ops(found[COPIED_OPS].value) if COPIED_OPS in found else {}
        if MIRROR not in found:
            return Standing(copied_ops=copied_ops)
        before = found.get(COPYING_FROM)
        return Standing(
            parse_head(found[MIRROR].value, MIRROR),
            found[MIRROR].modified,
            {
                LayerPath(key.removeprefix(COPYING_LAYERS)): parse_copying(entry.value, key)
                for key, entry in found.items()
                if key.startswith(COPYING_LAYERS)
            },
            parse_before(before.value) if before else None,
            copied_ops,
        )

    async def tree(self) -> tuple[dict[LayerPath, Manifest], dict[KeyPath, Entry]]:
        """Return all manifests and documents, of one moment."""
        found = await self.entries([MANIFESTS, DOCUMENTS])
        documents = {key: entry for key, entry in found.items() if key.startswith(DOCUMENTS)}
        return _manifests(found), documents

    async def copy(
        self,
        fence: Fence,
        standing: Standing,
        head: Head,
        prepare: Sequence[Write],
        writes: Sequence[Write],
    ) -> None:
        """Write a copy whole, or so that another agent can finish it; its record goes last."""
        record = (MIRROR, standing.index)
        last = [Write(COPYING, None)]
        guard = [_operation(fence)]
        try:
            await write_under(
                self.client, self._prefix, record, head, writes,
                prepare=prepare, last=last, fence=guard,
            )  # fmt: skip
        except Conflict as error:
            raise _lost(error) from error

    async def note(self, fence: Fence, writes: Sequence[Write]) -> None:
        """Write keys that no reader goes by, in one transaction."""
        ops = [_operation(fence), *(operation(self._prefix, write) for write in writes)]
        try:
            await self.client.write(ops)
        except Conflict as error:
            raise _lost(error) from error


def _operation(fence: Fence) -> Json:
    assert isinstance(fence, ConsulFence)
    return fence.operation


def _lost(error: Conflict) -> SourceError:
    """Return what a conflict means: the fence is the first operation of each transaction."""
    return LeaseLost(f"another agent acts for this site: {error}") if error.op == 0 else error


def _manifests(found: Mapping[KeyPath, Entry]) -> dict[LayerPath, Manifest]:
    return {
        LayerPath(key.removeprefix(MANIFESTS)): parse_manifest(entry.value, key)
        for key, entry in found.items()
        if key.startswith(MANIFESTS)
    }


def _texts(
    found: Mapping[KeyPath, Entry], digests: Collection[Digest], site: str
) -> dict[Digest, bytes]:
    """Return texts by digest. Raises Torn for one that is not there, or is another."""
    texts = {}
    for sha in digests:
        entry = found.get(blob_key(sha))
        if entry is None or digest(entry.value) != sha:
            raise Torn(f"{site} does not keep the text {sha[:12]}; push there once more")
        texts[sha] = entry.value
    return texts


def _portions(keys: Sequence[KeyPath]) -> Iterator[Sequence[KeyPath]]:
    """Yield keys in portions that fit in one transaction."""
    for first in range(0, len(keys), limits.TXN_OPS):
        yield keys[first : first + limits.TXN_OPS]
