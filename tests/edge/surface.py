"""A fake agent behind the real surface, and raw requests to it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confsync.edge.http import HttpServer, HttpSettings
from confsync.model.ids import Digest, DriverName, NodeId, RoleId, SiteId
from confsync.model.status import AgentState, DriverStatus, Mark, SourceStatus, Status

STATUS = Status(
    state=AgentState.IN_SYNC,
    node=NodeId("bgo-compute-03"),
    site=SiteId("bgo"),
    role=RoleId("compute"),
    since="2026-11-22T10:00:00Z",
    source=SourceStatus("consul", "2026-11-22T10:00:04Z", 12.0),
    desired=Mark(419, Digest("a" * 64)),
    applied=Mark(419, Digest("a" * 64)),
    drivers={
        DriverName("bird"): DriverStatus(
            "owned", sessions={"ipv4": {"up": 2, "down": 0, "expected": 2}}
        )
    },
)


@dataclass
class FakeAgent:
    """An agent that does as it is told."""

    now: Status = STATUS
    dead: str | None = None
    refusal: Exception | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def show(self, **changes: Any) -> None:
        self.now = dataclasses.replace(self.now, **changes)

    def status(self) -> Status:
        return self.now

    def live(self) -> str | None:
        return self.dead

    def metrics(self, accept: str) -> tuple[bytes, str]:
        return b"# metrics\n", "text/plain; version=0.0.4"

    async def explain(self, key: str, node: str) -> Any:
        return self._called("explain", key, node)

    async def reload(self, actor: str, *, wait: bool) -> Any:
        return self._called("reload", actor, wait)

    async def pause(self, actor: str, reason: str) -> Any:
        return self._called("pause", actor, reason)

    async def resume(self, actor: str, *, accept: bool) -> Any:
        return self._called("resume", actor, accept)

    async def retry(self, actor: str) -> Any:
        return self._called("retry", actor)

    async def apply(self, actor: str, allow: tuple[str, ...]) -> Any:
        return self._called("apply", actor, allow)

    async def adopt(self, actor: str, order: Any) -> Any:
        return self._called("adopt", actor, order)

    def _called(self, *call: Any) -> Any:
        if self.refusal:
            raise self.refusal
        self.calls.append(call)
        return {"done": call[0]}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.asynccontextmanager
async def serving(agent: FakeAgent, folder: Path, listen: str = "127.0.0.1:0"):
    """Serve an agent; yield its TCP port (0 = none) and its socket."""
    path = folder / "agent.sock"
    server = HttpServer(HttpSettings(listen=listen, socket=str(path)), agent)
    await server.start()
    ports = [int(a.rpartition(":")[2]) for a in server.addresses if not a.startswith("/")]
    try:
        yield (ports[0] if ports else 0), path
    finally:
        await server.stop()


async def connect(where: int | Path):
    """Open a connection to a port or a socket."""
    if isinstance(where, Path):
        return await asyncio.open_unix_connection(str(where))
    return await asyncio.open_connection("127.0.0.1", where)


async def raw(where: int | Path, request: bytes) -> Answer:
    """Send bytes, read to the end of the connection."""
    reader, writer = await connect(where)
    writer.write(request)
    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body.decode())


async def send(where: int | Path, method: str, path: str, body: Any = None, **headers: str):
    """Make one request."""
    text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Host": "x", **headers, **({"Content-Length": str(len(text))} if text else {})}
    head = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in lines.items())
    return await raw(where, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + text)
