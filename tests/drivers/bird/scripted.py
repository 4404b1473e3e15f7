"""A daemon that speaks BIRD's protocol from a script, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


@asynccontextmanager
async def answering(
    path: str, version: str, answers: Mapping[str, str | Sequence[str]]
) -> AsyncIterator[list[str]]:
    """Greet as a version and answer; several answers come in turn, the last one for ever.

    Shape: yields the commands as they came; what has no answer is a syntax error.
    """
    asked: list[str] = []
    served: list[asyncio.Task[None] | None] = []

    def answer(command: str) -> bytes:
        found = answers.get(command, "9001 syntax error\n")
        texts = (found,) if isinstance(found, str) else found
        asked.append(command)
        return texts[min(asked.count(command), len(texts)) - 1].encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        writer.write(f"0001 BIRD {version} ready.\n".encode())
        while line := await reader.readline():
            writer.write(answer(line.decode().strip()))
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield asked
    finally:
        server.close()
        await asyncio.gather(*filter(None, served))  # each ends with its connection
