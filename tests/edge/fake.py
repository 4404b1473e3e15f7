"""A scripted HTTP server for what a real Consul never does; it records what it was asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable


class Request(NamedTuple):
    """One request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class FakeConsul:
    """Answers with what `answer` returns; None closes the connection without an answer."""

    def __init__(self, answer: Callable[[Request], Awaitable[bytes | None]]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                pairs = (line.partition(": ") for line in lines if line)
                headers = {name.lower(): value for name, _, value in pairs}
                method, target, _ = first.split(" ")
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(method, target, headers, body)
                self.requests.append(request)
                reply = await self.answer(request)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
                if b"\r\nConnection: close\r\n" in reply:
                    break
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def reply(
    status: int = 200, body: bytes = b"", *, length: int | None = None, **headers: str
) -> bytes:
    """Return an answer as bytes; keyword `X_Consul_Index` makes the header X-Consul-Index."""
    lines = [
        f"HTTP/1.1 {status} Fake",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def fake_consul(
    answer: Callable[[Request], Awaitable[bytes | None]] | bytes,
    *,
    tls: ssl.SSLContext | None = None,
    socket: str = "",
) -> AsyncIterator[FakeConsul]:
    """Serve on a free port of 127.0.0.1, or on a unix socket."""

    async def always(_: Request) -> bytes | None:
        assert isinstance(answer, bytes)
        return answer

    fake = FakeConsul(always if isinstance(answer, bytes) else answer)
    if socket:
        server = await asyncio.start_unix_server(fake.serve, socket)
        fake.address = f"unix://{socket}"
    else:
        server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        fake.address = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield fake
    finally:
        server.close()
