"""A configuration's outline: what it defines by name, and each protocol with its options.

Separate because names come before meanings: BIRD numbers the protocols that nobody named, lays a
protocol over its template, and knows a constant only after the line that defines it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from confsync.drivers.bird.importer.expressions import Cursor, Unsaid, Value, evaluated
from confsync.drivers.bird.importer.lexer import Token, Unreadable
from confsync.drivers.bird.policy import Family

_OPENING: Final = frozenset("{[(")
_CLOSING: Final = frozenset("}])")
_DEPTH: Final = 60
_BLOCKS: Final = frozenset({"protocol", "template", "filter", "function"})
NAMED: Final = frozenset({"word", "name"})


class Option(NamedTuple):
    """One statement, without its semicolon."""

    tokens: tuple[Token, ...]

    @property
    def place(self) -> str:
        """Return where it stands, for people."""
        return self.tokens[0].place

    @property
    def words(self) -> str:
        """Return its first words: what it is about, and no value."""
        found: list[str] = []
        for token in self.tokens:
            if token.kind != "word" or len(found) > _SHOWN:
                break
            found.append(token.text)
        return " ".join(found) or "a statement"


_SHOWN: Final = 3


@dataclass(slots=True)
class Protocol:
    """A protocol: its own options behind those of its templates."""

    kind: str
    name: str
    options: list[Option]
    token: Token

    @property
    def place(self) -> str:
        """Return where it begins."""
        return self.token.place

    @property
    def disabled(self) -> bool:
        """Tell whether the file keeps it down; the last word counts."""
        said = [one.tokens for one in self.options if one.tokens[0].text == "disabled"]
        return bool(said) and not (len(said[-1]) > 1 and said[-1][1].text in ("off", "no", "0"))


@dataclass(frozen=True, slots=True)
class Definition:
    """The body of a filter or function, where it begins, and what stands before its braces."""

    body: tuple[Token, ...]
    token: Token
    head: tuple[Token, ...]


@dataclass(slots=True)
class Outline:
    """All of a configuration, by name."""

    constants: dict[str, Value] = field(default_factory=dict)
    tables: dict[str, Family] = field(default_factory=dict)
    filters: dict[str, Definition] = field(default_factory=dict)
    functions: dict[str, Definition] = field(default_factory=dict)
    protocols: list[Protocol] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def outline(tokens: tuple[Token, ...]) -> Outline:
    """Return the outline of a whole configuration. Raises: Unreadable."""
    return _Reader(tokens).all()


def options(tokens: tuple[Token, ...]) -> list[Option]:
    """Return the statements of a block. Raises: Unreadable."""
    found: list[Option] = []
    start = depth = 0
    for at, token in enumerate(tokens):
        if token.kind != "mark":
            continue
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        elif token.text == ";" and not depth:
            if at > start:
                found.append(Option(tokens[start:at]))
            start = at + 1
    if start < len(tokens):
        raise Unreadable(f"{tokens[start].place}: a statement does not end")
    return found


class _Reader:
    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = tokens
        self._found = Outline()
        self._templates: dict[str, list[Option]] = {}
        self._counts: dict[str, int] = {}
        self._names: set[str] = set()

    def all(self) -> Outline:
        for part in self._parts():
            self._read(part)
        return self._found

    def _parts(self) -> list[tuple[Token, ...]]:
        """Return the statements and blocks of the file, checked for brackets that do not close."""
        found: list[tuple[Token, ...]] = []
        start, open_ = 0, list[Token]()
        for at, token in enumerate(self._tokens):
            if token.kind != "mark":
                continue
            if token.text in _OPENING:
                open_.append(token)
                if len(open_) > _DEPTH:
                    raise Unreadable(f"{token.place}: nested too deeply")
            elif token.text in _CLOSING:
                if not open_:
                    raise Unreadable(f"{token.place}: closes what was not opened")
                open_.pop()
            if open_ or token.text not in (";", "}"):
                continue
            block = self._tokens[start].text in _BLOCKS
            if block == (token.text == "}") or start == at:
                found.append(self._tokens[start : at + (token.text == "}")])
                start = at + 1
        if start < len(self._tokens):
            raise Unreadable(f"{(open_ or self._tokens[start:])[0].place}: this does not end")
        return [part for part in found if part]

    def _read(self, part: tuple[Token, ...]) -> None:
        cursor = Cursor(part, self._found.constants)
        try:
            if cursor.got("define"):
                self._define(cursor)
            elif cursor.sees("protocol", "template"):
                self._protocol(cursor)
            elif cursor.sees("filter", "function"):
                self._definition(cursor)
            elif not self._table(cursor):
                self._found.options.append(Option(part))
        except Unsaid as what:
            self._found.lost.append(f"{Option(part).words}: {what} ({part[0].place})")

    def _define(self, cursor: Cursor) -> None:
        """Note a constant; one that is not understood is missed only where it is used."""
        name = cursor.take().text
        cursor.need("=")
        try:
            self._found.constants[name] = evaluated(cursor.node())
        except Unsaid:
            self._found.constants.pop(name, None)

    def _definition(self, cursor: Cursor) -> None:
        is_filter = cursor.take().text == "filter"
        token = cursor.take()
        if token.kind not in NAMED:
            raise Unreadable(f"{token.place}: a filter or function without a name")
        between = []
        while not cursor.done and not cursor.sees("{"):
            between.append(cursor.take())
        body = cursor.group()
        known = self._found.filters if is_filter else self._found.functions
        known[token.text] = Definition(body, token, tuple(between))

    def _table(self, cursor: Cursor) -> bool:
        if not (cursor.sees(*Family) and cursor.sees("table", ahead=1)):
            return False
        family = Family(cursor.take().text)
        cursor.take()
        name = cursor.take().text
        self._found.tables[name] = family
        if not cursor.done:
            raise Unsaid(f"options of the table {name}")
        return True

    # --- protocols

    def _protocol(self, cursor: Cursor) -> None:
        first = cursor.take()
        kind = self._kind(cursor)
        name = ""
        if cursor.next.kind in NAMED and not cursor.sees("from"):
            name = cursor.take().text
        inherited: list[Option] = []
        if cursor.got("from"):
            token = cursor.take()
            if token.text not in self._templates:
                raise Unreadable(f"{token.place}: there is no template of this name")
            inherited = self._templates[token.text]
        if not cursor.sees("{"):
            raise Unreadable(f"{first.place}: a protocol without a body")
        said = [*inherited, *options(cursor.group())]
        if first.text == "template":
            self._templates[name] = said
            return
        name = name or self._numbered(kind)
        self._names.add(name)
        self._found.protocols.append(Protocol(kind, name, said, first))

    def _kind(self, cursor: Cursor) -> str:
        kind = cursor.take().text
        if kind == "ospf":
            cursor.got("v2", "v3")
        elif kind == "rip":
            cursor.got("ng")
        return kind

    def _numbered(self, kind: str) -> str:
        """Return the name that BIRD gives to a protocol that nobody named."""
        found = self._found
        symbols = (found.constants, found.tables, found.filters, found.functions)
        taken = (self._names, self._templates, *symbols)
        while True:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{kind}{self._counts[kind]}"
            if not any(name in names for names in taken):
                return name
