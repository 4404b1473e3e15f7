"""The leaves of BIRD's language: what may stand in its file as text, each with its own guard.

Separate because this is the only place where a text becomes `Written`; whatever did not pass here
cannot be printed. Everything is refused that could end a statement, a string or a name early.
"""

from __future__ import annotations

import re
from typing import Final

from confsync.drivers.bird.policy import Range
from confsync.model.limits import BGP_PATH_BYTES, BIRD_SYMBOL_CHARS

_OURS: Final = re.compile(rf"cs_[A-Za-z0-9_]{{1,{BIRD_SYMBOL_CHARS - 3}}}", re.ASCII)
_KEPT: Final = re.compile(rf"[A-Za-z0-9_.:-]{{1,{BIRD_SYMBOL_CHARS}}}", re.ASCII)
_BARE: Final = frozenset({"master4", "master6"})
_PART: Final = r"(?:\d{1,10}|\*|\d{1,10}-\d{1,10})"
_COMMUNITY: Final = re.compile(rf"{_PART}(?::{_PART}){{1,2}}", re.ASCII)
_MASK: Final = re.compile(
    r"(?:\d{1,10}(?:\.\.\d{1,10})?|[*?+])(?: (?:\d{1,10}(?:\.\.\d{1,10})?|[*?+]))*"
)
_LITERAL: Final = re.compile(
    r"-?\d+|[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*(?:/\d{1,3})?|\(\d+,\d+(?:,\d+)?\)|true|false", re.ASCII
)
_CALL: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.:-]*)\((.*)\)", re.ASCII)
_BETWEEN: Final = re.compile(r",(?![^(]*\))")
_WORDS: Final = frozenset(
    {
        *("on", "off", "aware", "graceful", "internal", "external", "self", "keep", "rx", "tx"),
        *("direct", "recursive", "warn", "block", "restart", "disable", "syslog", "stderr", "all"),
        *("none", "blackhole", "unreachable", "prohibit", "import", "export", "bgp"),
        *("device", "kernel", "pipe", "static", "bfd"),
        *("customer", "provider", "peer", "rs_server", "rs_client", "md5", "ao"),
        *("debug", "trace", "info", "remote", "warning", "error", "auth", "fatal", "bug"),
    }
)


class Written(str):
    """Text that is BIRD's syntax already."""

    __slots__ = ()


def quoted(text: str) -> Written:
    """Return a text between BIRD's quotes, which know no escapes.

    Raises: ValueError for what cannot stand there; the model refuses it long before.
    """
    if '"' in text or not text.isprintable() or len(text.encode()) > 4 * BGP_PATH_BYTES:
        raise ValueError("this text cannot be quoted for BIRD")
    return Written(f'"{text}"')


def symbol(name: str) -> Written:
    """Return a name: ours as it is, because its prefix keeps it off BIRD's keywords, others quoted.

    Source: BIRD reads '...' as a name, whatever letters, digits and _ . : - stand there.
    """
    if _OURS.fullmatch(name) or name in _BARE:
        return Written(name)
    if not _KEPT.fullmatch(name):
        raise ValueError("this is not a name that BIRD knows")
    return Written(f"'{name}'")


def word(text: str) -> Written:
    """Return one of the few words that values may choose."""
    if text not in _WORDS:
        raise ValueError("this is not a word that templates may choose")
    return Written(text)


def community(text: str) -> Written:
    """Return a community of two or three parts; `*` and `a-b` are for sets only."""
    if not _COMMUNITY.fullmatch(text):
        raise ValueError("this is not a community")
    return Written(f"({text.replace(':', ', ').replace('-', '..')})")


def prefixes(one: Range) -> Written:
    """Return a member of a prefix set; a bare prefix is exactly that prefix."""
    if one.low == one.high == one.net.prefixlen:
        return Written(one.net)
    return Written(f"{one.net}{{{one.low},{one.high}}}")


def numbers(pair: tuple[int, int]) -> Written:
    """Return a member of a set of numbers."""
    low, high = pair
    return Written(f"{low:d}" if low == high else f"{low:d}..{high:d}")


def mask(text: str) -> Written:
    """Return a mask of AS paths."""
    if not _MASK.fullmatch(text):
        raise ValueError("this is not a mask of paths")
    return Written(f"[= {text} =]")


def call(text: str) -> Written:
    """Return the call of another hand's function with literal arguments."""
    parts = _CALL.fullmatch(text)
    if parts is None:
        raise ValueError("this is not a call")
    args = [arg.replace(" ", "") for arg in _BETWEEN.split(parts[2])] if parts[2] else []
    if not all(_LITERAL.fullmatch(arg) for arg in args):
        raise ValueError("a call takes literal arguments only")
    return Written(f"{symbol(parts[1])}({', '.join(args)})")


def verdict(permit: bool) -> Written:
    """Return how a filter ends."""
    return Written("accept;" if permit else "reject;")
