"""The values of options: how each kind of them is written in BIRD's language.

Separate because all protocols share them. A reader that meets something else raises `Unsaid`; the
option is then lost, by its name and place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confsync.drivers.bird.importer.expressions import (
    Constants,
    Cursor,
    Unsaid,
    evaluated,
    is_address,
)
from confsync.drivers.bird.importer.lexer import Token
from confsync.drivers.bird.importer.outline import NAMED, Option, options
from confsync.drivers.bird.policy import Address, Network

Reader = Callable[[Cursor], Any]
Said = dict[str, Any]
_UNITS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}


def flag(cursor: Cursor) -> bool:
    """Return on or off; saying nothing is on."""
    if cursor.done:
        return True
    found = evaluated(cursor.node())
    if not isinstance(found, bool) and found not in (0, 1):
        raise Unsaid("neither on nor off")
    return bool(found)


def switch(*words: str) -> Callable[[Cursor], str]:
    """Return the reader of on, off or one of some words."""

    def read(cursor: Cursor) -> str:
        for word in words:
            if cursor.got(word):
                return word
        return "on" if flag(cursor) else "off"

    return read


def one_of(*words: str) -> Callable[[Cursor], str]:
    """Return the reader of one of some words."""

    def read(cursor: Cursor) -> str:
        for word in words:
            if cursor.got(word):
                return word
        raise Unsaid("a word that is not known")

    return read


def number(cursor: Cursor) -> int:
    """Return a number."""
    found = evaluated(cursor.node())
    if type(found) is not int:
        raise Unsaid("something else than a number")
    return found


def text(cursor: Cursor) -> str:
    """Return a text."""
    found = evaluated(cursor.node())
    if not isinstance(found, str):
        raise Unsaid("something else than a text")
    return found


def address(cursor: Cursor) -> Address:
    """Return an address."""
    found: Any = evaluated(cursor.node())
    if not is_address(found):
        raise Unsaid("something else than an address")
    known: Address = found
    return known


def net(cursor: Cursor) -> Network:
    """Return a prefix."""
    found = evaluated(cursor.node())
    if not isinstance(found, Network):
        raise Unsaid("something else than a prefix")
    return found


def name(cursor: Cursor) -> str:
    """Return a name of something that BIRD knows."""
    if cursor.next.kind not in NAMED:
        raise Unsaid("something else than a name")
    return cursor.take().text


def interface(cursor: Cursor) -> str:
    """Return an interface, as a name or as a text."""
    return cursor.take().text if cursor.next.kind in NAMED else text(cursor)


def seconds(cursor: Cursor) -> int:
    """Return a time in whole seconds."""
    return _time(cursor, 1_000_000)


def milliseconds(cursor: Cursor) -> int:
    """Return a time in whole milliseconds."""
    return _time(cursor, 1_000)


def _time(cursor: Cursor, unit: int) -> int:
    amount = number(cursor)
    factor = next((_UNITS[word] for word in _UNITS if cursor.got(word)), 1_000_000)
    if amount * factor % unit:
        raise Unsaid("a time that is finer than documents have it")
    return amount * factor // unit


def by_default(usual: bool) -> Reader:
    """Return the reader of a switch that stays as BIRD has it by itself."""

    def read(cursor: Cursor) -> bool:
        if flag(cursor) is not usual:
            raise Unsaid("not as BIRD has it by itself")
        return usual

    return read


# What a channel that only brings routes may say without any effect: nothing is ever exported there.
PLAIN: Final = frozenset({"import all", "export none", "export all"})


@dataclass(frozen=True, slots=True)
class Table:
    """Which options there are, by their words; "" as key = nothing of it is kept."""

    known: Mapping[str, tuple[str, Reader]]

    def read(self, cursor: Cursor, into: Said) -> bool:
        """Read one option if it is of the table."""
        for words in self.order():
            if cursor.phrase(words):
                key, reader = self.known[words]
                found = reader(cursor)
                if not cursor.done:
                    raise Unsaid("more than is known of it")
                if key:
                    into[key] = found
                return True
        return False

    def order(self) -> Iterator[str]:
        """Return the words, the most telling ones first."""
        yield from sorted(self.known, key=lambda words: -len(words.split()))


@dataclass(slots=True)
class Losses:
    """What was lost, in the order of the file; each once."""

    lines: list[str] = field(default_factory=list)

    def add(self, owner: str, what: str, token: Token, why: str = "") -> None:
        """Note something that no document can say."""
        reason = f", {why}" if why else ""
        line = f"{owner}: {what} ({token.place}{reason})"
        if line not in self.lines:
            self.lines.append(line)


def each(
    said: Iterable[Option],
    constants: Constants,
    owner: str,
    losses: Losses,
    read: Callable[[Cursor], None],
) -> None:
    """Have each option read by its own; what cannot be said is lost, the others are not."""
    for option in said:
        try:
            read(Cursor(option.tokens, constants))
        except Unsaid as why:
            losses.add(owner, option.words, option.tokens[0], str(why))


def unknown(_: Cursor) -> None:
    """Refuse an option. Raises: Unsaid."""
    raise Unsaid("not known to documents")


def block(cursor: Cursor) -> list[Option]:
    """Return the options of a block that may be left out; nothing may follow it."""
    found = options(cursor.group()) if cursor.sees("{") else []
    if not cursor.done:
        raise Unsaid("a channel that is not known")
    return found
