"""What an operator does to other sites than home: look at an edit that was kept, move home.

Separate because these are rare acts of one person, each one read and one decision, while pushing
and copying are the daily ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from confsync.edge.online import may_read, may_write
from confsync.edge.publish import Published, Record, Tree, publish
from confsync.edge.transport import Client
from confsync.edge.writing import operation
from confsync.model.change import change_key
from confsync.model.errors import Conflict, HomeMoved, Torn
from confsync.model.ids import Digest, KeyPath, LayerPath, canonical, digest
from confsync.model.mirror import COPYING, MIRROR, MOVED, moved_to
from confsync.model.snapshot import HEAD, Head, Phase, manifest_key, parse_head, parse_manifest
from confsync.model.writes import Entry, Write


@dataclass(frozen=True, slots=True)
class Edit:
    """A document as one site has it, and as home gave it; None = not there."""

    site: str
    key: KeyPath
    text: bytes | None
    copied: Digest | None

    @property
    def found(self) -> Digest | None:
        """Return the digest of what is there."""
        return None if self.text is None else digest(self.text)


async def read_edit(client: Client, prefix: str, site: str, key: KeyPath) -> Edit:
    """Return a document of a site. Raises Conflict when it is what home gave, SourceError."""
    layers = _layers_of(key)
    for one in (MIRROR, key):
        await may_read(client, prefix, one)
    found = await _read(client, prefix, [MIRROR, key, *(manifest_key(one) for one in layers)])
    if MIRROR not in found:
        raise Conflict(f"nothing was ever copied to {site}; its documents are its own")
    copied = None
    for layer in layers:
        entry = found.get(manifest_key(layer))
        if entry is not None:
            name = key.removeprefix(f"desired/{layer}/")
            copied = parse_manifest(entry.value, manifest_key(layer)).documents.get(name, copied)
    edit = Edit(site, key, found[key].value if key in found else None, copied)
    if edit.found == copied:
        there = "is what home gave" if copied else "is not there"
        raise Conflict(f"{key} at {site} {there}: there is no edit to decide about")
    return edit


async def move_home(
    old: Client | None,
    new: Client,
    prefix: str,
    to: str,
    documents: Tree,
    record: Record,
) -> Published:
    """Make a site home; the old one publishes nothing from then on. May be done again when cut.

    Shape: `old` is None where the old home is lost for good.
    Raises: Conflict, while the site does not hold all that is published; as `publish`.
    """
    found = await _read(new, prefix, [MIRROR, COPYING])
    if any(key.startswith(COPYING) for key in found):
        raise Conflict(f"a copy to {to} is at work, or was cut; wait for its end")
    copied = _complete(found, MIRROR)
    for key in (HEAD, MOVED, change_key(copied.change + 1)):
        await may_write(new, prefix, key)  # before nobody may publish anywhere
    if old is not None:
        await _leave(old, prefix, to, copied, record)
    return await publish(new, prefix, documents, record, arriving=True)


async def _leave(client: Client, prefix: str, to: str, copied: Head, record: Record) -> None:
    """Let nobody publish here any more; whoever tries is told where."""
    found = await _read(client, prefix, [HEAD, MOVED])
    head = _complete(found, HEAD)
    if head.change != copied.change:
        raise Conflict(f"{to} has change {copied.change} yet, published is {head.change}; wait")
    place = canonical({"to": to, "by": record.by, "at": record.at, "why": record.why})
    if MOVED not in found:
        guard = {"Verb": "check-index", "Key": f"{prefix}/{HEAD}", "Index": found[HEAD].modified}
        await client.write([guard, operation(f"{prefix}/", Write(MOVED, place, 0))])
    elif json.loads(found[MOVED].value).get("to") != to:
        raise HomeMoved(moved_to(found[MOVED].value))


def _complete(found: dict[KeyPath, Entry], key: KeyPath) -> Head:
    if key not in found:
        raise Conflict(f"there is no {key}: nothing was published")
    head = parse_head(found[key].value, key)
    if head.phase is not Phase.COMPLETE:
        raise Conflict(f"change {head.change} is being published")
    return head


async def _read(client: Client, prefix: str, keys: list[KeyPath]) -> dict[KeyPath, Entry]:
    found = await client.read([f"{prefix}/{key}" for key in keys])
    return {KeyPath(key.removeprefix(f"{prefix}/")): entry for key, entry in found.items()}


def _layers_of(key: KeyPath) -> list[LayerPath]:
    """Return the layers that a document's key may belong to. Raises Torn."""
    parts = key.split("/")
    if parts[0] != "desired" or len(parts) < 3:  # noqa: PLR2004, desired, a layer and a name
        raise Torn(f"{key!r} is no key of a document, such as desired/nodes/n1/bgp")
    return [LayerPath("/".join(parts[1:end])) for end in range(2, len(parts))]
