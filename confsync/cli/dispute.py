"""Documents that were edited at a site: taken over into a folder's tree, or given up by name.

Separate because `push` decides about them together with the change that ends the conflict: what is
taken is published, what is dropped is named in the change's record with the digest of what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from confsync.edge.directory import SUFFIXES
from confsync.edge.sites import Edit, read_edit
from confsync.edge.transport import Client
from confsync.model.document import parse
from confsync.model.errors import BadSettings, Conflict, InvalidConfig
from confsync.model.ids import KEY, KeyPath, canonical, digest
from confsync.model.mirror import drop_word
from confsync.settings import Settings


def parse_place(text: str) -> tuple[str, KeyPath]:
    """Read SITE:KEY; the key may lack its ``desired/``. Raises UsageError."""
    site, colon, key = text.partition(":")
    if not (site and colon and KEY.fullmatch(key)):
        raise click.UsageError(f"{text!r}: wanted SITE:KEY, as osl:nodes/osl-compute-11/bgp")
    return site, KeyPath(key if key.startswith("desired/") else f"desired/{key}")


async def edits(settings: Settings, places: Iterable[str]) -> list[Edit]:
    """Return what the sites have there. Raises SourceError, UsageError, BadSettings."""
    found = []
    for place in places:
        site, key = parse_place(place)
        client = client_of(settings, site)
        try:
            found.append(await read_edit(client, settings.source.prefix, site, key))
        finally:
            await client.close()
    return found


def client_of(settings: Settings, site: str) -> Client:
    """Return a client of one site's datacenter, of ours for an empty one. Raises BadSettings."""
    consul = settings.source.consul
    if settings.source.kind != "consul":
        raise BadSettings('[source] kind = "directory": there are no other sites')
    return Client(consul.endpoint(), consul.token(), site)


def take(tree: Path, found: Iterable[Edit]) -> Iterator[str]:
    """Write edits into the tree; yield what was written.

    Raises: Conflict for a file that holds changes of its own, before anything is written.
    """
    files = [(edit, _file(tree, edit)) for edit in found]
    for edit, file in files:
        if file.exists() and not _published(file, edit):
            raise Conflict(
                f"{file} holds a change that is not published: put the edit of {edit.site} into "
                f"it by hand, and give that one up with --drop {edit.site}:{edit.key}"
            )
    for edit, file in files:
        if edit.text is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(edit.text)
        yield f"{file}: {'removed' if edit.text is None else 'written'}, as {edit.site} has it"


def drop(found: Iterable[Edit]) -> tuple[str, ...]:
    """Return the allowances that give edits up."""
    return tuple(drop_word(edit.site, edit.key, edit.found) for edit in found)


def _file(tree: Path, edit: Edit) -> Path:
    plain = tree / edit.key.removeprefix("desired/")
    files = [plain.with_name(plain.name + suffix) for suffix in SUFFIXES]
    return next((file for file in files if file.exists()), files[0])


def _published(file: Path, edit: Edit) -> bool:
    try:
        return digest(canonical(parse(file.read_bytes(), str(file)))) in {edit.copied, edit.found}
    except InvalidConfig:
        return False
