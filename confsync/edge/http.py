"""The agent's HTTP surface: one application behind two doors, read-only on TCP.

Separate because operators, probes and the command line all meet the agent here. Invariants: an
open TCP port can change nothing; a write is made in the name of the peer that the kernel vouches
for; liveness never depends on anything that a restart would not mend.
"""

from __future__ import annotations

import asyncio
import json
import pwd
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, field_validator

from confsync.edge.health import Finding, entity_tag, health_document, readiness
from confsync.edge.listen import Factory, open_tcp, open_unix, remove_socket
from confsync.model import limits
from confsync.model.errors import (
    BadSettings,
    ConfsyncError,
    Held,
    HostBusy,
    InvalidConfig,
    NotOwned,
    PlanRefused,
    SourceError,
    UnknownKey,
)
from confsync.model.ids import Json
from confsync.model.status import Health, Status

NO_STORE: Final = "no-store"
READS: Final = ("GET", "HEAD")
DURATION: Final = re.compile(r"(\d{1,9})(s|m|h|d|)")
UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
PROBLEMS: Final[tuple[tuple[type[ConfsyncError], HTTPStatus], ...]] = (
    (Held, HTTPStatus.LOCKED),
    (PlanRefused, HTTPStatus.CONFLICT),
    (NotOwned, HTTPStatus.CONFLICT),
    (HostBusy, HTTPStatus.CONFLICT),
    (InvalidConfig, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnknownKey, HTTPStatus.NOT_FOUND),
    (BadSettings, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SourceError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ConfsyncError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpSettings(BaseModel):
    """Where the agent can be reached; an empty `listen` leaves only the unix socket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = "127.0.0.1:9469"
    socket: str = "/run/confsync/agent.sock"

    @field_validator("listen")
    @classmethod
    def _loopback(cls, listen: str) -> str:
        if not listen:
            return listen
        host, _, port = listen.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004, the largest port
            raise ValueError("must be ADDRESS:PORT")
        try:
            loopback = ip_address(host.strip("[]")).is_loopback
        except ValueError:
            raise ValueError("must be ADDRESS:PORT with an IP address") from None
        if not loopback:
            raise ValueError("must be a loopback address, the surface has no encryption")
        return listen

    @field_validator("socket")
    @classmethod
    def _absolute(cls, path: str) -> str:
        # The kernel keeps 108 bytes for a socket's name, and we first bind it as NAME.new.
        if not path.startswith("/") or len(path.encode()) > 103:  # noqa: PLR2004
            raise ValueError("must be an absolute path of at most 103 bytes")
        return path


class Port(Protocol):
    """What the surface needs of the agent. A write raises ConfsyncError when it is refused."""

    def status(self) -> Status:
        """Return the status of this moment."""

    def live(self) -> str | None:
        """Return why only a restart would help, or None."""

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type."""

    async def explain(self, key: str, node: str) -> Json:
        """Return why a value is so, here or on another host (`node` not empty)."""

    async def reload(self, actor: str, *, wait: bool) -> Json:
        """Read the settings and the source again; `wait` = until the pass has ended."""

    async def pause(self, actor: str, reason: str) -> Json:
        """Stop writing on this host."""

    async def resume(self, actor: str, *, accept: bool) -> Json:
        """Write again; `accept` also ends HALTED with the host as it is."""

    async def retry(self, actor: str) -> Json:
        """Lift the quarantine of the newest revision."""

    async def apply(self, actor: str, allow: tuple[str, ...]) -> Json:
        """Run one pass now, with these allowances."""

    async def adopt(self, actor: str, order: Json) -> Json:
        """Take over what a driver finds here: ``{driver, plan, draft, allow}``."""


class Surface:
    """The application's handlers, around the agent's port."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def application(self) -> web.Application:
        """Return the one application, to be served behind each door."""
        app = web.Application(
            middlewares=[_problems, _doors], client_max_size=limits.HTTP_BODY_BYTES
        )
        app.on_response_prepare.append(_sign)
        app.router.add_get("/livez", self.livez)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/api/v1/node", self.node)
        app.router.add_get("/api/v1/explain", self.explain)
        app.router.add_post("/v1/reload", self.reload)
        app.router.add_post("/v1/pause", self.pause)
        app.router.add_post("/v1/resume", self.resume)
        app.router.add_post("/v1/retry", self.retry)
        app.router.add_post("/v1/apply", self.apply)
        app.router.add_post("/v1/adopt", self.adopt)
        return app

    async def livez(self, request: web.Request) -> web.Response:
        """Tell whether a restart would help."""
        reason = self._port.live()
        return _probe(request, (Finding("loop", reason is None, reason or "ok"),))

    async def readyz(self, request: web.Request) -> web.Response:
        """Tell whether the node can be relied on."""
        asked = request.query.get("lag")
        lag_s = None if asked is None else _duration_s(asked)
        return _probe(request, readiness(self._port.status(), lag_s))

    async def health(self, _: web.Request) -> web.Response:
        """Return the health document."""
        status = self._port.status()
        failed = status.lamps.health is Health.FAIL
        return web.json_response(
            health_document(status),
            status=HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK,
            headers={"Cache-Control": "max-age=5"},
            content_type="application/health+json",
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """Return the metrics, in the format the scraper prefers."""
        body, content_type = self._port.metrics(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": NO_STORE}
        return web.Response(body=body, headers=headers)

    async def node(self, request: web.Request) -> web.Response:
        """Return the status record."""
        status = self._port.status()
        tag = entity_tag(status)
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        known = request.if_none_match or ()
        if any(etag.value in {tag, "*"} for etag in known):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.json_response(status.as_json(), headers=headers)

    async def explain(self, request: web.Request) -> web.Response:
        """Say why a value is so: ``?key=``, and ``&node=`` for another host's."""
        key = request.query.get("key", "").strip()
        if not key:
            raise web.HTTPBadRequest(text="key: the place of a value is wanted, as bgp.local_as")
        return _done(await self._port.explain(key, request.query.get("node", "")))

    async def reload(self, request: web.Request) -> web.Response:
        """Read settings and source again."""
        order = await _order(request, wait=False)
        return _done(await self._port.reload(actor(request), wait=order["wait"]))

    async def pause(self, request: web.Request) -> web.Response:
        """Stop writing here, with a reason."""
        reason = str((await _order(request, reason=""))["reason"]).strip()
        if not reason:
            raise web.HTTPBadRequest(text="a pause needs a reason")
        return _done(await self._port.pause(actor(request), reason))

    async def resume(self, request: web.Request) -> web.Response:
        """Write again."""
        order = await _order(request, accept=False)
        return _done(await self._port.resume(actor(request), accept=order["accept"]))

    async def retry(self, request: web.Request) -> web.Response:
        """Lift a quarantine."""
        await _order(request)
        return _done(await self._port.retry(actor(request)))

    async def apply(self, request: web.Request) -> web.Response:
        """Run one pass now."""
        allow = _allowances(await _order(request, allow=[]))
        return _done(await self._port.apply(actor(request), allow))

    async def adopt(self, request: web.Request) -> web.Response:
        """Take over what runs here, changing nothing."""
        order = await _order(request, driver="", plan=False, draft=False, allow=[])
        _allowances(order)
        return _done(await self._port.adopt(actor(request), order))


def _allowances(order: dict[str, Json]) -> tuple[str, ...]:
    if not all(isinstance(rule, str) for rule in order["allow"]):
        raise web.HTTPBadRequest(text="allow: a list of RULE:PATH is wanted")
    return tuple(order["allow"])


def _probe(request: web.Request, findings: tuple[Finding, ...]) -> web.Response:
    excluded = {name for text in request.query.getall("exclude", ()) for name in text.split(",")}
    asked = tuple(finding for finding in findings if finding.name not in excluded)
    ok = all(finding.ok for finding in asked)
    lines = [str(finding) for finding in asked]
    if excluded:
        lines.append(f"excluded: {', '.join(sorted(excluded))}")
    failed = "\n".join(str(finding) for finding in asked if not finding.ok)
    body = "\n".join(lines) if "verbose" in request.query else failed or "ok"
    return web.Response(
        text=body + "\n",
        status=HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Cache-Control": NO_STORE},
    )


def _duration_s(text: str) -> float:
    match = DURATION.fullmatch(text)
    if not match:
        raise web.HTTPBadRequest(text="lag: a duration such as 90s, 5m or 1h is wanted")
    return int(match[1]) * UNITS_S[match[2]]


async def _order(request: web.Request, **defaults: Json) -> dict[str, Json]:
    """Return a write's JSON object, each member of its default's type."""
    try:
        async with asyncio.timeout(limits.HTTP_REQUEST_S):
            text = await request.text()
        given = json.loads(text) if text.strip() else {}
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from None
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="the body is not JSON") from None
    if not isinstance(given, dict) or not given.keys() <= defaults.keys():
        known = ", ".join(defaults) or "none"
        raise web.HTTPBadRequest(text=f"a JSON object is wanted; known members: {known}")
    for name, default in defaults.items():
        if name in given and type(given[name]) is not type(default):
            raise web.HTTPBadRequest(text=f"{name}: a {type(default).__name__} is wanted")
    return {**defaults, **given}


def _done(data: Json) -> web.Response:
    return web.json_response(data, headers={"Cache-Control": NO_STORE})


def _peer_socket(request: web.Request) -> socket.socket | None:
    """Return the connection's socket if it came through the unix door."""
    found: socket.socket | None = (
        request.transport.get_extra_info("socket") if request.transport else None
    )
    return found if found is not None and found.family == socket.AF_UNIX else None


def actor(request: web.Request) -> str:
    """Return the user at the other end, as the kernel knows him."""
    peer = _peer_socket(request)
    if peer is None:
        raise web.HTTPForbidden(text="writes come through the unix socket")
    record = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", record)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _problem(status: int, detail: str, **more: Json) -> web.Response:
    """Return an RFC 9457 problem document."""
    title = HTTPStatus(status).phrase
    return web.json_response(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, **more},
        status=status,
        headers={"Cache-Control": NO_STORE},
        content_type="application/problem+json",
    )


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal into a problem document; end the connection after each answer."""
    answer = await _answer(request, handler)
    answer.force_close()
    return answer


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        answer = _problem(refusal.status, refusal.text or refusal.reason)
        if "Allow" in refusal.headers:
            answer.headers["Allow"] = refusal.headers["Allow"]
        return answer
    except ConfsyncError as error:
        status = next(status for kind, status in PROBLEMS if isinstance(error, kind))
        return _problem(status, str(error), code=type(error).__name__, exit=error.exit_code)


@web.middleware
async def _doors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep the TCP door read-only, whatever the path."""
    if request.method not in READS and _peer_socket(request) is None:
        raise web.HTTPMethodNotAllowed(request.method, READS)
    return await handler(request)


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    """Name the program without its version."""
    response.headers["Server"] = "confsync"
    response.headers["X-Content-Type-Options"] = "nosniff"


class HttpServer:
    """Both doors, opened and closed together."""

    def __init__(self, settings: HttpSettings, port: Port) -> None:
        self._settings = settings
        self._runner = web.AppRunner(
            Surface(port).application(),
            access_log=None,
            shutdown_timeout=limits.HTTP_STOP_S,
            lingering_time=limits.HTTP_REQUEST_S,
        )
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Open the doors. Raises HostBusy, BadSettings."""
        await self._runner.setup()
        try:
            self._servers.append(await open_unix(Path(self._settings.socket), self._factory()))
            if self._settings.listen:
                self._servers.append(await open_tcp(self._settings.listen, self._factory()))
        except BaseException:
            await self.stop()
            raise

    def _factory(self) -> Factory:
        server = self._runner.server
        assert server is not None, "the runner is set up"
        return server

    @property
    def addresses(self) -> Iterator[str]:
        """Yield where the agent listens, with the ports that were really taken."""
        for server in self._servers:
            for door in server.sockets:
                name = door.getsockname()
                yield f"{name[0]}:{name[1]}" if isinstance(name, tuple) else self._settings.socket

    async def stop(self) -> None:
        """Close the doors; requests in hand get a moment."""
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        if self._servers:
            remove_socket(Path(self._settings.socket))
        self._servers.clear()
