"""Bytes of one KV entry -> tree: JSON or YAML 1.2, or every reason why it is neither.

Separate because this is the border to text that anybody may have typed: what comes out has string
keys, no duplicates, bounded size and depth, and means the same as JSON and as YAML. Where a value
stands in the text is asked for errors only, so that good documents do not pay for it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from confsync.model import yaml12
from confsync.model.errors import Unparsable, Violation
from confsync.model.ids import Json, Path, Tree
from confsync.model.limits import (
    DOCUMENT_BYTES,
    DOCUMENT_DEPTH,
    DOCUMENT_FAULTS,
    DOCUMENT_LEAVES,
    INTEGER_DIGITS,
    KEY_BYTES,
    STRING_CHARS,
)
from confsync.model.scalars import FORBIDDEN, forbidden

CODES: Final = "CS-D"
"""What the codes of all faults of a text begin with."""
_BOM: Final = b"\xef\xbb\xbf"
_ESCAPE: Final = re.compile(
    r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_INTEGER_END: Final = 10**INTEGER_DIGITS


def parse(raw: bytes, where: str) -> Tree:
    """Return the mapping that a document holds.

    Raises: Unparsable with all faults that can be seen, each with line and column.
    """
    if len(raw) > DOCUMENT_BYTES:
        message = f"{len(raw)} bytes; a document has at most {DOCUMENT_BYTES}"
        raise Unparsable((Violation("CS-D01", (), message, "split it", where),))
    text, faults = _text(raw)
    refused_as_json = False
    if text.startswith("{") and not faults:
        try:
            return _json(text)
        except json.JSONDecodeError:
            pass
        except (ValueError, RecursionError):
            refused_as_json = True
            text = _without_pairs(text)
    reading = yaml12.read(text)
    faults += reading.violations
    if refused_as_json and not faults:
        faults = (Violation("CS-D04", (), "the JSON holds what no document may hold"),)
    if faults:
        ordered = sorted(faults, key=lambda fault: (fault.line, fault.column))
        raise Unparsable(tuple(replace(fault, where=where) for fault in ordered))
    tree: Tree = reading.tree
    return tree


def locate(raw: bytes, path: Path) -> tuple[int, int]:
    """Return line and column of the value at a path, or of its nearest ancestor.

    Shape: a block of lines is found at its key; (0, 0) if the text cannot be read so far.
    """
    return position(places(raw), path)


def places(raw: bytes) -> Mapping[Path, tuple[int, int]]:
    """Return line and column of every part of a document, for who asks about many."""
    text, _ = _text(raw[:DOCUMENT_BYTES])
    if text.startswith("{"):
        text = _without_pairs(text)
    return yaml12.read(text).places


def position(places: Mapping[Path, tuple[int, int]], path: Path) -> tuple[int, int]:
    """Return where the value at a path is, or its nearest ancestor."""
    known = (places[path[:end]] for end in range(len(path), -1, -1) if path[:end] in places)
    return next(known, (0, 0))


def _text(raw: bytes) -> tuple[str, tuple[Violation, ...]]:
    """Return a text that can be read on, whatever is wrong with its characters."""
    faults: list[Violation] = []
    if raw.startswith(_BOM):
        message = "the document begins with a byte order mark"
        faults.append(Violation("CS-D02", (), message, "save it without", line=1, column=1))
        raw = raw[len(_BOM) :]
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        faults.append(_at(before, "CS-D02", message))
        text = raw.decode(errors="replace")
    faults.extend(_forbidden(text))
    return (FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text) if faults else text), tuple(faults)


def _forbidden(text: str) -> Iterator[Violation]:
    for count, found in enumerate(FORBIDDEN.finditer(text)):
        if count == DOCUMENT_FAULTS:
            return
        yield _at(text[: found.start()], "CS-D03", forbidden(found.group()))


def _at(before: str, code: str, message: str) -> Violation:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return Violation(code, (), message, line=line, column=column)


def _json(text: str) -> Tree:
    """Return a JSON object within all limits.

    Raises: JSONDecodeError if it is not JSON; ValueError or RecursionError if it is JSON that we
    refuse.
    """
    tree: Tree = json.loads(text, object_pairs_hook=_unique)
    leaves, todo = 0, [(tree, 1)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, dict | list):
            if depth > DOCUMENT_DEPTH:
                raise ValueError(depth)
            inner = value.values() if isinstance(value, dict) else value
            todo.extend((item, depth + 1) for item in inner)
        else:
            leaves += 1
            if not _fits(value):
                raise ValueError(type(value))
    if leaves > DOCUMENT_LEAVES:
        raise ValueError(leaves)
    return tree


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError(len(pairs))
    for key in items:
        if FORBIDDEN.search(key) or len(key.encode()) > KEY_BYTES:
            raise ValueError(len(key))
    return items


def _fits(value: Json) -> bool:
    if isinstance(value, str):
        return len(value) <= STRING_CHARS and not FORBIDDEN.search(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -_INTEGER_END < value < _INTEGER_END


def _without_pairs(text: str) -> str:
    """Return JSON of the same width without surrogate pairs, which libyaml does not know."""
    return _ESCAPE.sub(lambda found: r"\u0041\u0041" if found[1] else found[0], text)
