"""The last question before a change becomes final: this host must still reach its source.

Separate because it must not share anything with the other requests: a NEW connection each time,
since an old one may live on while nobody could connect any more.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from confsync.edge.endpoint import Endpoint, Token
from confsync.model import limits
from confsync.model.errors import Denied
from confsync.model.ids import Json
from confsync.ports import Judgement, Sample, Verdict

STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
NO_LEADER: Final = re.compile(rb"^x-consul-knownleader: *false\r$", re.IGNORECASE | re.MULTILINE)
INDEX: Final = re.compile(rb"^x-consul-index: *\d+\r$", re.IGNORECASE | re.MULTILINE)


class WayHome:
    """A consistent read of one key over a new connection; there or not, Consul must answer.

    Why: a raw stream, since a new aiohttp session costs 0.7 ms more, before every commit.
    """

    name = "way home"

    def __init__(self, endpoint: Endpoint, token: Token, key: str) -> None:
        self._endpoint = endpoint
        self._token = token
        self._path = f"/v1/kv/{key}?consistent"

    async def sample(self) -> Sample:
        """Return ``{"ok": bool, "reason": str}``; never raises."""
        try:
            async with asyncio.timeout(limits.WAY_HOME_S):
                reason = _fault(await self._ask())
        except TimeoutError:
            reason = f"no answer in {limits.WAY_HOME_S:g} s"
        except (OSError, EOFError, ssl.SSLError, asyncio.LimitOverrunError, Denied) as error:
            reason = str(error) or type(error).__name__
        if reason:
            return {"ok": False, "reason": f"{self._endpoint}: {reason}"}
        return {"ok": True, "reason": ""}

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Ask for no more than there was before; the source has just answered if not told."""
        last: Json = seen[-1] if seen else {"ok": False, "reason": "not asked"}
        if last["ok"] or not (baseline is None or baseline["ok"]):
            return Judgement(Verdict.OK)
        return Judgement(Verdict.FAILED, f"the way home is lost: {last['reason']}")

    async def _ask(self) -> bytes:
        """Return the head of the answer."""
        where = self._endpoint
        headers = {"Host": where.authority, "Connection": "close"} | self._token.headers()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if where.socket:
            reader, writer = await asyncio.open_unix_connection(where.socket)
        else:
            reader, writer = await asyncio.open_connection(where.host, where.port, ssl=where.tls)
        try:
            writer.write(f"GET {self._path} HTTP/1.1\r\n{lines}\r\n".encode("ascii"))
            return await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


def _fault(head: bytes) -> str:
    """Return why the head of an answer is not that of a Consul with a leader; empty = it is."""
    status = STATUS.match(head)
    if status is None:
        return "not an HTTP answer"
    if status[1] not in {b"200", b"404"}:
        return f"answered {status[1].decode()}"
    if NO_LEADER.search(head) or not INDEX.search(head):
        return "answered without a leader"
    return ""
