"""Consul's KV as a Source: one consistent reading, a reason for what is missing, and wake-ups.

Separate because the tree's layout in KV is known here and in `publish` only. A transaction is
filtered by ACLs without a word, so nothing here concludes anything from what is not there: that
is judged by content, in the model.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping

from consul.exceptions import ConsulException
from pydantic import BaseModel, ConfigDict

from confsync.edge import watch
from confsync.edge.endpoint import Endpoint, Token, token_path
from confsync.edge.online import Check, Rights
from confsync.edge.transport import Client
from confsync.edge.wayhome import WayHome
from confsync.model import limits
from confsync.model.change import CHANGES, Change, parse_change
from confsync.model.errors import BadSettings, Denied, InvalidConfig, SourceError, Violation
from confsync.model.ids import KEY, Digest, KeyPath, LayerPath, digest
from confsync.model.snapshot import (
    HEAD,
    Absence,
    Layer,
    Snapshot,
    document_key,
    manifest_key,
    parse_head,
    parse_manifest,
)
from confsync.model.writes import Entry


class ConsulSettings(BaseModel):
    """The settings under ``[source.consul]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    address: str = "http://127.0.0.1:8500"
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    home_datacenter: str = ""

    def endpoint(self) -> Endpoint:
        """Return where Consul answers. Raises BadSettings."""
        return Endpoint.parse(self.address, self.ca_file, self.cert_file, self.key_file)

    def token(self) -> Token:
        """Return who we are there."""
        return Token(token_path(self.token_file))


class ConsulSource:
    """The tree below one prefix of this datacenter's KV.

    Shape: `record` is the key that says what is published: ``head`` at home, else ``mirror``.
    """

    name = "consul"

    def __init__(self, settings: ConsulSettings, prefix: str, record: KeyPath = HEAD) -> None:
        if not KEY.fullmatch(prefix):
            raise BadSettings(f"source.prefix {prefix!r}: wanted words like 'confsync/v1'")
        self._endpoint = settings.endpoint()
        self._token = settings.token()
        self._prefix = f"{prefix}/"
        self._record = record
        self.client = Client(self._endpoint, self._token)

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """Return how often Consul was asked, by operation and HTTP status."""
        return self.client.stats.requests

    def wakes(self, layers: tuple[LayerPath, ...]) -> AsyncGenerator[None, None]:
        """Yield whenever what is published or a layer may have changed; close with `aclosing`."""
        trees = [watch.Target(self._tree(layer), recurse=True) for layer in layers]
        return watch.wakes(self.client, [watch.Target(f"{self._prefix}{self._record}"), *trees])

    async def snapshot(self, layers: tuple[LayerPath, ...]) -> Snapshot:
        """Return `head` and, of each layer, documents and manifest, from one transaction.

        Raises: SourceError; InvalidConfig for a key that no document may have.
        """
        if 2 * len(layers) + 1 > limits.TXN_OPS:
            raise BadSettings(f"hierarchy: {len(layers)} layers do not fit in one transaction")
        wanted = [f"{self._prefix}{self._record}"]
        for layer in layers:
            wanted += [self._tree(layer), f"{self._prefix}{manifest_key(layer)}"]
        found = await self.client.read(wanted)
        self._check_keys(found)
        head = found.get(f"{self._prefix}{self._record}")
        return Snapshot(
            tuple(self._layer(layer, found) for layer in layers),
            parse_head(head.value, self._record) if head else None,
            f"consul:{self._prefix}",
            self._record,
        )

    async def why_absent(self, key: KeyPath) -> Absence:
        """Ask about one key by one plain consistent read; never raises.

        Why: only an answer of Consul itself counts, and only a consistent one: after a restart
        a server may say 404 for what is there.
        """
        try:
            _, record = await self.client.kv.get(f"{self._prefix}{key}", consistency="consistent")
        except Denied:
            return Absence.DENIED
        except (SourceError, ConsulException):
            return Absence.UNKNOWN
        return Absence.GONE if record is None else Absence.UNKNOWN

    async def changes(self) -> tuple[Change, ...]:
        """Return the records of what was pushed, newest first."""
        found = await self.client.read([f"{self._prefix}{CHANGES}"])
        records = (parse_change(entry.value, key) for key, entry in found.items())
        return tuple(sorted(records, key=lambda one: one.head.change, reverse=True))

    async def text(self, sha: Digest) -> bytes | None:
        """Return a document as a push wrote it, None where it is not kept."""
        key = f"{self._prefix}blobs/{sha}"
        found = (await self.client.read([key])).get(key)
        return found.value if found and digest(found.value) == sha else None

    def way_home(self) -> WayHome:
        """Return the probe that reads `head` over a new connection."""
        return WayHome(self._endpoint, self._token, f"{self._prefix}{self._record}")

    def checks(self, layers: tuple[LayerPath, ...], report: KeyPath) -> Iterator[Check]:
        """Yield what this host needs of Consul, to be asked by an operator."""
        rights = Rights(self.client, self._prefix.removesuffix("/"))
        return rights.of_agent(self._record, layers, report)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()

    def _tree(self, layer: LayerPath) -> str:
        return f"{self._prefix}{document_key(layer, '')}"

    def _layer(self, path: LayerPath, found: Mapping[str, Entry]) -> Layer:
        """Return one layer; `get-tree` is a match by prefix, so that names are compared exactly."""
        tree = self._tree(path)
        documents = {
            key.removeprefix(tree): entry.value
            for key, entry in found.items()
            if key.startswith(tree) and not is_folder(key, entry)
        }
        key = manifest_key(path)
        entry = found.get(f"{self._prefix}{key}")
        return Layer(path, documents, parse_manifest(entry.value, key) if entry else None)

    def _check_keys(self, found: Mapping[str, Entry]) -> None:
        """Refuse names that could not be read back or that no rule knows; used and ignored is bad.

        Raises: InvalidConfig.
        """
        bad = bad_keys(found, f"{self._prefix}desired/")
        if bad:
            raise InvalidConfig(
                tuple(
                    Violation(
                        "CS-K001",
                        (),
                        f"the key {key.removeprefix(self._prefix)!r} is no name of a document",
                        f"use words of a-z, 0-9, '.', '_', '-' with single slashes, at most "
                        f"{limits.KEY_BYTES} bytes; delete this key",
                        f"consul:{self._prefix}",
                    )
                    for key in bad
                )
            )


def is_folder(key: str, entry: Entry) -> bool:
    """Tell whether a key is the empty marker that Consul's UI makes for a folder."""
    return key.endswith("/") and "//" not in key and not entry.value


def bad_keys(found: Mapping[str, Entry], below: str) -> list[str]:
    """Return the keys below a prefix that may not name a document."""
    return sorted(
        key
        for key, entry in found.items()
        if key.startswith(below)
        and not is_folder(key, entry)
        and not (KEY.fullmatch(key) and len(key.encode()) <= limits.KEY_BYTES)
    )
