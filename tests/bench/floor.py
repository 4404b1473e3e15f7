"""The floor as a program: one blocking query, one durable write, one `configure`; no more."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys

import aiohttp
import uvloop


async def follow(consul: str, key: str, template: str, config: str, control: str) -> None:
    """Carry every value of the key to BIRD, for ever."""
    with open(template) as file:  # noqa: PTH123
        text = file.read()
    reader, writer = await asyncio.open_unix_connection(control)
    await reader.readline()
    index = "0"
    async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as session:
        while True:
            params = {"index": index, "wait": "55s"}
            async with session.get(f"{consul}/v1/kv/{key}", params=params) as reply:
                record = json.loads(await reply.read())[0]
            if reply.headers["X-Consul-Index"] == index:
                continue
            index = reply.headers["X-Consul-Index"]
            value = base64.b64decode(record["Value"]).decode()
            put_in_place(config, text.replace("@change@", value).encode())
            writer.write(b"configure\n")
            while (line := await reader.readline())[4:5] != b" " or line.startswith(b" "):
                pass


def put_in_place(path: str, data: bytes) -> None:
    """Write beside, sync, rename."""
    fresh = f"{path}.fresh"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename(fresh, path)  # noqa: PTH104


if __name__ == "__main__":
    uvloop.run(follow(*sys.argv[1:]))
