"""What a whole site tells of itself in Consul: its nodes' reports, its copy, its conflicts.

Separate because it is about many nodes: an agent writes its own report here, and an operator reads
those of every site, each by its own datacenter and within its own time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confsync.edge.online import PROBE, may_read
from confsync.edge.transport import Client
from confsync.edge.writing import operation
from confsync.model import limits
from confsync.model.errors import Denied, SourceError, Torn, Unreachable
from confsync.model.ids import Json, KeyPath, canonical
from confsync.model.mirror import CONFLICTS, MIRROR, MOVED
from confsync.model.snapshot import HEAD, Head, parse_head
from confsync.model.writes import Write

REPORTS = KeyPath("report/")
SITE_REPORT = KeyPath("site/report")


class ConsulBoard:
    """One report in its own datacenter: a node's, or the whole site's."""

    def __init__(self, client: Client, prefix: str, key: KeyPath) -> None:
        self._client = client
        self._prefix = f"{prefix}/"
        self._key = key

    async def post(self, report: Json) -> None:
        """Put up a report in place of the one before."""
        write = operation(self._prefix, Write(self._key, canonical(report)))
        try:
            await self._client.write([write])
        except Denied as fault:
            raise Denied(f"{self._prefix}{self._key} may not be written: {fault}") from fault

    async def close(self) -> None:
        """Give up all connections."""
        await self._client.close()


@dataclass(frozen=True, slots=True)
class SiteReading:
    """What one site tells.

    Shape: `problem` says why it could not be asked (empty = it was); `head` is what is published
    there, or was copied there; `conflicts` maps a document to ``{"here", "home"}`` digests;
    `reports` are the nodes' records as they wrote them; `work` is the site's own, by the agent
    that acts for it (None = nobody ever did).
    """

    site: str
    problem: str = ""
    home: bool = False
    head: Head | None = None
    conflicts: Mapping[str, Json] = field(default_factory=dict)
    reports: Sequence[Json] = ()
    work: Json = None


async def sites(client: Client) -> list[str]:
    """Return the datacenters that this Consul knows, sorted. Raises SourceError."""
    try:
        async with asyncio.timeout(limits.FLEET_S):
            reply = await client.http.request("GET", "/v1/catalog/datacenters")
    except TimeoutError as error:
        raise Unreachable(f"no answer from Consul in {limits.FLEET_S:g} s") from error
    try:
        return sorted(str(name) for name in json.loads(reply.body))
    except (ValueError, TypeError) as error:
        raise Torn(f"Consul's list of datacenters cannot be read: {error}") from error


async def read_site(client: Client, prefix: str, site: str) -> SiteReading:
    """Return what a site tells, or why it could not be asked; never raises.

    Why a time of its own: a line that is cut without a word makes Consul wait for half a minute.
    """
    try:
        async with asyncio.timeout(limits.FLEET_S):
            return await _read(client, prefix, site)
    except TimeoutError:
        fault: SourceError = Unreachable(f"no answer in {limits.FLEET_S:g} s")
    except SourceError as error:
        fault = error
    return SiteReading(site, str(fault))


async def _read(client: Client, prefix: str, site: str) -> SiteReading:
    """Read a site.

    Why each key by itself first: a transaction hides what a token may not read, so that a node
    would look as if it had never reported, and a document as if nobody had edited it.
    """
    reports = KeyPath(f"{REPORTS}{site}/")
    keys = (HEAD, MIRROR, MOVED, CONFLICTS, SITE_REPORT, reports)
    probes = (_seen(client, prefix, key) for key in (*keys[:-1], KeyPath(reports + PROBE)))
    for fault in await asyncio.gather(*probes, return_exceptions=True):
        if fault is not None:
            raise fault
    found = await client.read([f"{prefix}/{key}" for key in keys], limits.CONSUL_TREE_BYTES)
    at = {key.removeprefix(f"{prefix}/"): entry.value for key, entry in found.items()}
    home = HEAD in at and MOVED not in at
    record = HEAD if home else MIRROR
    return SiteReading(
        site,
        home=home,
        head=parse_head(at[record], record) if record in at else None,
        conflicts=_record(at.get(CONFLICTS, b"{}"), CONFLICTS).get("documents", {}),
        reports=[_report(raw, key) for key, raw in sorted(at.items()) if key.startswith(REPORTS)],
        work=_told(at[SITE_REPORT], SITE_REPORT) if SITE_REPORT in at else None,
    )


async def _seen(client: Client, prefix: str, key: KeyPath) -> None:
    """Raise Denied, naming the key, where a token may not read it."""
    try:
        await may_read(client, prefix, key)
    except Denied as fault:
        raise Denied(f"{prefix}/{key.removesuffix(PROBE)} may not be read: {fault}") from fault


def _report(raw: bytes, key: str) -> Json:
    """Return a node's report.

    Why the node from the key: that is what its token lets it write, and nothing else.
    """
    return {**_told(raw, key), "node": key.rpartition("/")[2]}


def _told(raw: bytes, key: str) -> Json:
    """Return a report, whole whatever is written there: it is one node's word only."""
    told: Json = dict.fromkeys(("node", "role", "reason", "next", "at"), "")
    told |= {"state": "unknown", "applied": None}
    try:
        found = _record(raw, key)
    except Torn as fault:
        found = {"reason": str(fault)}
    fits = {
        name: value
        for name, value in found.items()
        if name not in told or isinstance(value, int if told[name] is None else str)
    }
    return {**told, **fits}


def _record(raw: bytes, key: str) -> Json:
    try:
        record = json.loads(raw)
    except ValueError as error:
        raise Torn(f"{key} is not JSON") from error
    if not isinstance(record, dict):
        raise Torn(f"{key} is not a JSON object")
    return record
