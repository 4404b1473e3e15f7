"""Many writes as one: transactions under one record that says *publishing* until the last of them.

Separate because `push` at home and the copy in every other datacenter keep the same promise: a half
is never shown as complete, and each transaction checks that the record is still ours.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace

from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.errors import Conflict, Oversized
from confsync.model.ids import Json, KeyPath, canonical
from confsync.model.snapshot import Head, Phase
from confsync.model.writes import Write


class RecordMoved(Conflict):
    """The record is not ours any more: another writer is at work."""


async def write_under(
    client: Client,
    prefix: str,
    record: tuple[KeyPath, int],
    head: Head,
    writes: Sequence[Write],
    *,
    prepare: Sequence[Write] = (),
    last: Sequence[Write] = (),
    fence: Sequence[Json] = (),
) -> None:
    """Write everything between two states of a record, in as few transactions as possible.

    Shape: `record` is its key and the index that it was read at (0 = not there); `prepare` is
    written first, and only when one transaction does not hold all; `last` goes with the end; each
    operation of `fence` is part of every transaction, with its whole key.
    Raises: RecordMoved, Conflict (`op` counts from the fence's first), Oversized, SourceError.
    """
    key, index = record
    room_ops = limits.TXN_OPS - 1 - len(fence) - len(last)
    chunks = list(_chunks(writes, room_ops))
    if len(chunks) > 1:
        chunks = list(_chunks((*prepare, *writes), room_ops))
    for number, chunk in enumerate(chunks):
        end = number == len(chunks) - 1
        guard: Json = {"Verb": "check-index", "Key": f"{prefix}{key}", "Index": index}
        if number == 0 or end:
            now = head if end else replace(head, phase=Phase.PUBLISHING)
            guard = operation(prefix, Write(key, canonical(now.as_json()), index))
        ops = [operation(prefix, write) for write in (*chunk, *(last if end else ()))]
        try:
            results = await client.write([*fence, guard, *ops])
        except Conflict as error:
            if error.op == len(fence):
                raise RecordMoved(
                    f"{key} has changed: another writer is at work", error.op
                ) from error
            raise
        if written := results.get(f"{prefix}{key}"):
            index = written.modified


def operation(prefix: str, write: Write) -> Json:
    """Return a write as Consul's transactions take it."""
    key = f"{prefix}{write.key}"
    if write.value is None:
        if write.key.endswith("/"):
            return {"Verb": "delete-tree", "Key": key}
        conditional = {"Verb": "delete-cas", "Key": key, "Index": write.index}
        return {"Verb": "delete", "Key": key} if write.index is None else conditional
    value = {"Key": key, "Value": base64.b64encode(write.value).decode()}
    if write.index is None:
        return {"Verb": "set", **value}
    return {"Verb": "cas", **value, "Index": write.index}


def _chunks(writes: Sequence[Write], room_ops: int) -> Iterator[list[Write]]:
    """Yield writes in portions that fit in a transaction together with one of the record."""
    chunk: list[Write] = []
    room_bytes = limits.TXN_BYTES - limits.HEAD_BYTES
    left_bytes = room_bytes
    for write in writes:
        if write.size_bytes > room_bytes:
            raise Oversized(f"{write.key}: {write.size_bytes} bytes do not fit in one transaction")
        if len(chunk) == room_ops or write.size_bytes > left_bytes:
            yield chunk
            chunk, left_bytes = [], room_bytes
        chunk.append(write)
        left_bytes -= write.size_bytes
    yield chunk
