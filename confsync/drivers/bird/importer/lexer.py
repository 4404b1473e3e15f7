"""BIRD's words: a text with its included files, as tokens that know where they stand.

Separate because an include may stand anywhere at the beginning of a line, in the middle of a block
as well: only here are files known. No error shows what it found, it may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from confsync.drivers.bird.includes import drawn
from confsync.model import limits

_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t\r\v\f]+ | \#[^\n]*)
  | (?P<line>\n)
  | (?P<comment>/\*.*?(?:\*/|\Z))
  | (?P<text>"[^"\n]*")
  | (?P<name>'[A-Za-z0-9_.:-]*')
  | (?P<address>(?:(?:[0-9A-Fa-f]*:){3,}|[0-9A-Fa-f]*::)(?:\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f]*)
      | \d+\.\d+\.\d+\.\d+)
  | (?P<rd>\d+:\d+)
  | (?P<number>0x[0-9A-Fa-f]+ | \d+)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark>\.\. | != | !~ | <= | >= | && | \|\| | \[= | =\] | :: | [][(){};,.:=<>~!?*+/%&|\\-])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_INCLUDE: Final = re.compile(r'[ \t]*include[ \t]*"([^"\n]*)"[ \t]*;')
_DIGITS: Final = 10  # of the largest number
_HEX_DIGITS: Final = 8
_TOKENS_MAX: Final = 600_000  # 150,000 prefixes of a set; more took a minute


class Unreadable(ValueError):
    """A configuration that BIRD would not read either; says where."""


class Token(NamedTuple):
    """One word; `kind` is text, name, address, rd, number, word or mark."""

    kind: str
    text: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """Return where it stands, for people."""
        return f"line {self.line}" if not self.file else f"{self.file} line {self.line}"


def tokens(files: Mapping[str, str], main: str) -> tuple[Token, ...]:
    """Return the words of a configuration, in BIRD's order.

    Shape: a token of the main file has no `file`. Raises: Unreadable.
    """
    found: list[Token] = []
    for token in _scan(files, main, main, 0):
        found.append(token)
        if len(found) > _TOKENS_MAX:
            raise Unreadable("the configuration is too large")
    return tuple(found)


def _scan(files: Mapping[str, str], path: str, main: str, depth: int) -> Iterator[Token]:
    if depth > limits.BIRD_INCLUDE_DEPTH:
        raise Unreadable(f"{path}: includes are nested too deeply")
    text, shown = files[path], "" if path == main else path
    at, line, fresh = 0, 1, True
    while at < len(text):
        if fresh and (include := _INCLUDE.match(text, at)):
            for inner in drawn(path, include[1], files):
                yield from _scan(files, inner, main, depth + 1)
            at, fresh = include.end(), False
            continue
        fresh = False
        token = _TOKEN.match(text, at)
        if token is None:
            raise Unreadable(f"{path}:{line}: {_complaint(text, at)}")
        kind, found = str(token.lastgroup), token[0]
        at = token.end()
        if kind == "line":
            line, fresh = line + 1, True
        elif kind == "comment":
            if not found.endswith("*/") or len(found) < len("/**/"):
                raise Unreadable(f"{path}:{line}: the comment does not end")
            line += found.count("\n")
        elif kind == "number" and not _fits(found):
            raise Unreadable(f"{path}:{line}: the number is too large")
        elif kind != "space":
            plain = found[1:-1] if kind in ("text", "name") else found
            yield Token(kind, plain, shown, line)


def _fits(number: str) -> bool:
    """Tell whether a number has no more than BIRD's 32 bits."""
    if number.startswith("0x"):
        return len(number.removeprefix("0x").lstrip("0")) <= _HEX_DIGITS
    digits = number.lstrip("0")
    return len(digits) <= _DIGITS and int(digits or "0") < 1 << 32


def _complaint(text: str, at: int) -> str:
    return {'"': "the text in quotes does not end", "'": "this is no name"}.get(
        text[at], "this character has no meaning here"
    )
