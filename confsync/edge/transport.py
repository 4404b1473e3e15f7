"""py-consul on a transport of our own: one place where a request to Consul may fail, and how.

Separate because py-consul's endpoints are sound but its transport is not: it forgets the token in
transactions, follows redirects to another key, gives up a blocking query at 300 s and lets aiohttp
send a write twice. Every answer that leaves here is whole, bounded and from a Consul with a leader;
everything else is one of our errors.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from aiohttp.connector import AddrInfoType
from consul import base
from consul.exceptions import ConsulException
from yarl import URL

from confsync.edge.endpoint import Endpoint, Token
from confsync.model import limits
from confsync.model.errors import Conflict, Denied, Oversized, SourceError, Torn, Unreachable
from confsync.model.ids import Json
from confsync.model.writes import Entry

PATH: Final = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+/?")
"""Paths that neither yarl nor Consul rewrites: a ``//`` or ``..`` would reach another key."""

Params = Sequence[tuple[str, Any]] | None


@dataclass(slots=True)
class Stats:
    """What happened on the wire so far, for health and metrics.

    Shape: `requests` counts by (op, HTTP status or ``error``); op is watch, txn, read or write.
    Units: `last_success_s` is the loop's clock, `last_success_at` is seconds since the epoch.
    """

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    last_success_s: float | None = None
    last_success_at: float | None = None


class Transport(base.HTTPClient):  # type: ignore[misc]  # py-consul ships no types
    """Consul's HTTP API over aiohttp; watches have a session of their own and starve nobody."""

    def __init__(self, endpoint: Endpoint, token: Token, stats: Stats, dc: str) -> None:
        super().__init__(endpoint.host, endpoint.port, endpoint.scheme)
        self._dc = dc
        self._where = f"Consul at {endpoint}" + (f" for datacenter {dc}" if dc else "")
        self._endpoint = endpoint
        self._token = token
        self._stats = stats
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._not_before_s = 0.0

    def get(
        self,
        callback: Callable[[base.Response], Any],
        path: str,
        params: Params = None,
        headers: Mapping[str, str] | None = None,
        raw: bool = False,
    ) -> Awaitable[Any]:
        """Read; a query with ``index`` blocks until something changed."""
        del raw
        return self._call(callback, "GET", path, params, headers)

    def put(
        self,
        callback: Callable[[base.Response], Any],
        path: str,
        params: Params = None,
        data: str | bytes = "",
        headers: Mapping[str, str] | None = None,
    ) -> Awaitable[Any]:
        """Write, or run a transaction."""
        return self._call(callback, "PUT", path, params, headers, data)

    def delete(
        self,
        callback: Callable[[base.Response], Any],
        path: str,
        params: Params = None,
        data: str | bytes = "",
        headers: Mapping[str, str] | None = None,
    ) -> Awaitable[Any]:
        """Delete."""
        return self._call(callback, "DELETE", path, params, headers, data)

    def post(
        self,
        callback: Callable[[base.Response], Any],
        path: str,
        params: Params = None,
        data: str | bytes = "",
        headers: Mapping[str, str] | None = None,
    ) -> Awaitable[Any]:
        """Post."""
        return self._call(callback, "POST", path, params, headers, data)

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _call(
        self,
        callback: Callable[[base.Response], Any],
        method: str,
        path: str,
        params: Params,
        headers: Mapping[str, str] | None,
        data: str | bytes = "",
    ) -> Any:
        """Send one request and hand the answer to py-consul's own reader."""
        response = await self.request(
            method, path, params=params, headers=headers, data=data or None
        )
        text = response.body.decode("utf-8", "replace")
        try:
            return callback(base.Response(response.code, response.headers, text))
        except ConsulException as error:
            raise Torn(f"{self._where}: {_cut(str(error))}") from error

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params = None,
        headers: Mapping[str, str] | None = None,
        data: str | bytes | None = None,
        body_bytes: int = limits.SNAPSHOT_BYTES,
    ) -> base.Response:
        """Send one request; return status, headers and raw body of a 2xx or 404.

        Raises: Unreachable, Denied, Conflict, Oversized, Torn.
        """
        blocking = any(name == "index" for name, _ in params or ())
        op = _op(method, path, blocking=blocking)
        if not PATH.fullmatch(path):
            raise SourceError(f"{path!r} is not a path that Consul would take as it stands")
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before_s:
            wait_s = self._not_before_s - loop.time()
            raise Unreachable(f"{self._where} asked us to wait {wait_s:.1f} s more")
        asked = [*(params or ()), *([("dc", self._dc)] if self._dc else [])]
        query = "?" + urlencode(asked) if asked else ""
        url = URL(
            f"{self._endpoint.scheme}://{self._endpoint.authority}{path}{query}", encoded=True
        )
        sent = self._token.headers() | dict(headers or {})
        try:
            async with (
                asyncio.timeout(_deadline_s(blocking=blocking)),
                self._session(watching=blocking).request(
                    method, url, headers=sent, data=data, allow_redirects=False
                ) as reply,
            ):
                body = await _bounded(reply, body_bytes)
        except (aiohttp.ClientError, OSError) as error:
            self._stats.requests[op, "error"] += 1
            reason = _cut(str(error) or type(error).__name__)
            raise Unreachable(f"no answer from {self._where}: {reason}") from error
        self._stats.requests[op, str(reply.status)] += 1
        self._judge(reply, body)
        self._stats.last_success_s = loop.time()
        self._stats.last_success_at = time.time()
        return base.Response(reply.status, reply.headers, body)

    def _session(self, *, watching: bool) -> aiohttp.ClientSession:
        """Return the session for watches, or the one for everything else."""
        if watching not in self._sessions:
            where, limit = self._endpoint, 0 if watching else 8
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(where.socket, limit=limit)
                if where.socket
                else aiohttp.TCPConnector(
                    limit=limit, ssl=where.tls or True, socket_factory=_watchful_socket
                )
            )
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.CONSUL_CONNECT_S),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # aiohttp sends PUT and DELETE once more after a disconnect, so that a transaction
            # could happen twice and compare-and-set would lose against itself.
            session._retry_connection = False  # noqa: SLF001
            self._sessions[watching] = session
        return self._sessions[watching]

    def _judge(self, reply: aiohttp.ClientResponse, body: bytes) -> None:
        """Raise what a status means; 2xx and 404 of a Consul with a leader pass."""
        status = reply.status
        text = _cut(body.decode("utf-8", "replace"))
        said = f"{self._where} answered {status}: {text}"
        if status == 429:  # noqa: PLR2004
            wait_s = _retry_after_s(reply.headers.get("Retry-After", ""))
            self._not_before_s = asyncio.get_running_loop().time() + wait_s
            raise Unreachable(said)
        if status in {401, 403}:
            raise Denied(said)
        if status == 409:  # noqa: PLR2004
            raise _conflict(body, said)
        if status == 413:  # noqa: PLR2004
            raise Oversized(said)
        if status >= 500:  # noqa: PLR2004
            raise Unreachable(said)
        if not (200 <= status < 300 or status == 404):  # noqa: PLR2004
            raise SourceError(said)
        if reply.headers.get("X-Consul-KnownLeader") == "false":
            raise Unreachable(f"{self._where} has no leader")


class Client(base.Consul):  # type: ignore[misc]  # py-consul ships no types
    """py-consul's endpoints over `Transport`, and the two shapes of transaction that we use.

    Shape: `dc` is the datacenter that every request is for, empty = the one that answers here.
    """

    http: Transport

    def __init__(self, endpoint: Endpoint, token: Token, dc: str = "") -> None:
        self.stats = Stats()
        self._transport = Transport(endpoint, token, self.stats, dc)
        super().__init__(endpoint.host, endpoint.port, scheme=endpoint.scheme, verify=True)

    def http_connect(self, *_: object, **__: object) -> Transport:
        """Give py-consul our transport; it knows address, TLS and time-outs already."""
        return self._transport

    def prepare_headers(self, token: str | None = None) -> dict[str, str]:
        """Name a token for one request only; py-consul would prefer the environment's to ours."""
        return {"X-Consul-Token": token} if token else {}

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def read(
        self, prefixes: Iterable[str], body_bytes: int = limits.SNAPSHOT_BYTES
    ) -> dict[str, Entry]:
        """Return everything under the prefixes, in one consistent transaction.

        Why: `get-tree`, since a `get` of a missing key fails the whole. Raises as `request`.
        """
        ops = [{"KV": {"Verb": "get-tree", "Key": prefix}} for prefix in prefixes]
        return await self._txn(ops, [("consistent", "1")], body_bytes)

    async def write(self, ops: Sequence[Json]) -> dict[str, Entry]:
        """Run one transaction of writes and checks; return the entries with their new index."""
        return await self._txn([{"KV": op} for op in ops], None, limits.SNAPSHOT_BYTES)

    async def _txn(self, ops: Sequence[Json], params: Params, body_bytes: int) -> dict[str, Entry]:
        """Run a transaction.

        Why: not py-consul's `txn.put`, which sends neither token nor consistency (1.8.0).
        """
        if len(ops) > limits.TXN_OPS:
            raise Oversized(f"{len(ops)} operations; Consul takes {limits.TXN_OPS}")
        reply = await self._transport.request(
            "PUT", "/v1/txn", params=params, data=json.dumps(ops), body_bytes=body_bytes
        )
        if len(reply.body) > limits.LARGE_ANSWER_BYTES:
            return await asyncio.to_thread(_entries, reply.body)
        return _entries(reply.body)


def _watchful_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket that ends when nobody is there, though nobody says so.

    Why: a blocking query has nothing to send for a minute, and a line that swallows everything
    looks like a Consul without news.
    """
    family, kind, proto, _, _ = address
    made = socket.socket(family, kind, proto)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, limits.CONSUL_IDLE_S),
        (socket.TCP_KEEPINTVL, limits.CONSUL_PROBE_S),
        (socket.TCP_KEEPCNT, limits.CONSUL_PROBES),
        (socket.TCP_USER_TIMEOUT, limits.CONSUL_UNHEARD_MS),
    ):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _entries(body: bytes) -> dict[str, Entry]:
    """Read a transaction's answer. Raises Torn."""
    try:
        results = json.loads(body)["Results"] or ()
        return {item["KV"]["Key"]: _entry(item["KV"]) for item in results}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Torn(f"a transaction's answer is not what Consul answers: {error!r}") from error


def _entry(record: Json) -> Entry:
    """Read one key as a transaction gives it. Raises ValueError, TypeError, KeyError."""
    return Entry(base64.b64decode(record["Value"] or "", validate=True), record["ModifyIndex"])


def _op(method: str, path: str, *, blocking: bool) -> str:
    """Return the word under which a request is counted."""
    if path == "/v1/txn":
        return "txn"
    if method != "GET":
        return "write"
    return "watch" if blocking else "read"


def _deadline_s(*, blocking: bool) -> float:
    """Return how long a whole request may take."""
    wait_s = limits.CONSUL_WAIT_S + limits.CONSUL_WAIT_SLACK_S if blocking else limits.CONSUL_READ_S
    return limits.CONSUL_CONNECT_S + wait_s


async def _bounded(reply: aiohttp.ClientResponse, body_bytes: int) -> bytes:
    """Read a body up to a limit, and not one chunk more."""
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > body_bytes:
            reply.close()
            raise Oversized(f"an answer of Consul is larger than {body_bytes} bytes")
    return bytes(body)


def _conflict(body: bytes, said: str) -> SourceError:
    """Return what a 409 of a transaction means: an operation that lost, or a right we lack."""
    try:
        error = json.loads(body)["Errors"][0]
        op, what = int(error["OpIndex"]), str(error["What"])
    except (ValueError, TypeError, KeyError, IndexError):
        return Conflict(said)
    if "permission denied" in what.lower():
        return Denied(f"operation {op}: {_cut(what)}")
    return Conflict(f"operation {op}: {_cut(what)}", op)


def _retry_after_s(text: str) -> float:
    """Return the seconds that a server asks us to wait; a date or nonsense counts as one."""
    return min(float(text), limits.CONSUL_RETRY_AFTER_S) if text.isdecimal() else 1.0


def _cut(text: str) -> str:
    """Return what fits in a log line."""
    return " ".join(text.split())[: limits.CONSUL_ERROR_CHARS]
