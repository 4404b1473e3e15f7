"""BIRD's expressions: what they are made of, and their parser.

Separate because constants, filters and options all hold expressions. Source: BIRD 2.0.12, where
`&&` and `||` bind alike and from left to right, and `!` binds before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from confsync.drivers.bird.importer.lexer import Token, Unreadable
from confsync.drivers.bird.policy import Address, Network

_DEPTH: Final = 40
_SIGNS: Final = 200
_LEVELS: Final = (
    ("&&", "||"),
    ("=", "<", ">", "~", "!=", "!~", "<=", ">="),
    ("+", "-"),
    ("*", "/"),
)
_WORDS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Unsaid(ValueError):
    """What our model has no words for; says what, never a value."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """A member of a set of prefixes; may hold shorter ones, which our model does not know."""

    net: Network
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Members:
    """A set: Prefixes, numbers as pairs of ends, communities as texts, or words."""

    items: tuple[object, ...]

    def of(self, kind: type) -> bool:
        """Tell whether all members are of a kind."""
        return all(type(item) is kind for item in self.items)


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask of AS paths, as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A community of two or three numbers."""

    parts: tuple[int, ...]

    def __str__(self) -> str:
        return ":".join(map(str, self.parts))


Value = int | str | bool | Address | Network | Members | Mask | Pair
"""What is known before any route: a text is a `str`."""


@dataclass(frozen=True, slots=True)
class Const:
    """A value, and the constant's name if it was called by one."""

    value: Value
    name: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """A word: an attribute of a route, or one of BIRD's own constants."""

    text: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operator between two expressions."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    inner: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments; `of` is the thing whose method it is."""

    name: str
    args: tuple[Node, ...] = ()
    of: Node | None = None


Node = Const | Name | Op | Not | Call
Constants = Mapping[str, Value]


_NO_ARGUMENTS: Final[Mapping[str, Const]] = {}


class Cursor:
    """Goes over tokens; what is not as expected is `Unsaid`."""

    def __init__(
        self,
        tokens: tuple[Token, ...],
        constants: Constants,
        arguments: Mapping[str, Const] = _NO_ARGUMENTS,
    ) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._arguments_by_name = arguments
        self.constants = constants

    @property
    def done(self) -> bool:
        """Tell whether nothing is left."""
        return self._at >= len(self._tokens)

    @property
    def next(self) -> Token:
        """Return the token to come; an empty one at the end."""
        return Token("end", "", "", 0) if self.done else self._tokens[self._at]

    def take(self) -> Token:
        """Return the next token and go on."""
        token = self.next
        self._at += 1
        return token

    def sees(self, *texts: str, ahead: int = 0) -> bool:
        """Tell whether one of some words or marks is next, or some tokens ahead."""
        at = self._at + ahead
        if at >= len(self._tokens):
            return False
        kind, text = self._tokens[at][:2]
        return kind in ("word", "mark") and text in texts

    def got(self, *texts: str) -> bool:
        """Go past a word or mark if it is next."""
        if found := self.sees(*texts):
            self._at += 1
        return found

    def need(self, text: str) -> None:
        """Go past a word or mark that must be next."""
        if not self.got(text):
            raise Unsaid(f"no {text} where one is expected")

    def phrase(self, words: str) -> bool:
        """Go past some words if all of them are next."""
        parts = words.split()
        if all(self.sees(part, ahead=n) for n, part in enumerate(parts)):
            self._at += len(parts)
            return True
        return False

    def group(self) -> tuple[Token, ...]:
        """Return what stands in the braces that are next, and go past them."""
        self.need("{")
        start, depth = self._at, 1
        while not self.done:
            token = self.take()
            if token.kind == "mark" and token.text in "{}":
                depth += 1 if token.text == "{" else -1
            if not depth:
                return self._tokens[start : self._at - 1]
        raise Unreadable("a block does not end")

    def rest(self) -> tuple[Token, ...]:
        """Return all tokens that are left, and go past them."""
        found, self._at = self._tokens[self._at :], len(self._tokens)
        return found

    # --- expressions

    def node(self, level: int = 0) -> Node:
        """Return the expression that is next."""
        if level == len(_LEVELS):
            return self._unary()
        found, signs = self.node(level + 1), 0
        while self.sees(*_LEVELS[level]):
            signs += 1
            if signs > _SIGNS:
                raise Unsaid("an expression that is too long")
            found = Op(self.take().text, found, self.node(level + 1))
        return found

    def _unary(self) -> Node:
        self._depth += 1
        if self._depth > _DEPTH:
            raise Unsaid("an expression that is nested too deeply")
        try:
            found = Not(self._unary()) if self.got("!") else self._primary()
            while self.sees("."):
                self.take()
                found = Call(self._word(), self._arguments(), found)
            return found
        finally:
            self._depth -= 1

    def _word(self) -> str:
        if self.next.kind not in ("word", "name"):
            raise Unsaid("an expression that is not understood")
        return self.take().text

    def _arguments(self) -> tuple[Node, ...]:
        found: list[Node] = []
        if not self.got("("):
            return ()
        while not self.got(")"):
            found.append(self.node())
            if not self.sees(")"):
                self.need(",")
        return tuple(found)

    def _primary(self) -> Node:
        token = self.take()
        match token.kind, token.text:
            case "number", text:
                return Const(int(text, 0) if text.startswith("0x") else int(text))
            case "text", text:
                return Const(text)
            case "address", text:
                return self._address(text)
            case "mark", "(":
                return self._bracketed()
            case "mark", "[":
                return Const(self._members())
            case "mark", "[=":
                return Const(self._mask())
            case (("word" | "name"), text):
                if self.sees("("):
                    return Call(text, self._arguments())
                return self._named(text, plain=token.kind == "word")
        raise Unsaid("an expression that is not understood")

    def _named(self, text: str, *, plain: bool) -> Node:
        if known := self._known(text):
            return known
        return Const(_WORDS[text]) if plain and text in _WORDS else Name(text)

    def _known(self, text: str) -> Const | None:
        """Return what a name stands for, if it is an argument's or a constant's."""
        if text in self._arguments_by_name:
            return self._arguments_by_name[text]
        return Const(self.constants[text], text) if text in self.constants else None

    def _address(self, text: str) -> Node:
        try:
            if self.sees("/") and self._tokens[self._at + 1].kind == "number":
                self.take()
                return Const(ip_network(f"{text}/{self.take().text}"))
            return Const(ip_address(text))
        except (ValueError, IndexError):
            raise Unsaid("an address that is none") from None

    def _bracketed(self) -> Node:
        """Return what stands in parentheses: an expression, or the parts of a community."""
        first = self.node()
        if self.got(")"):
            return first
        parts = [_number(first)]
        while self.got(","):
            parts.append(_number(self.node()))
        self.need(")")
        return Const(Pair(tuple(parts)))

    def _mask(self) -> Mask:
        words: list[str] = []
        while not self.got("=]"):
            token = self.take()
            if token.kind == "end":
                raise Unsaid("a mask of paths that does not end")
            known = self._known(token.text) if token.kind in ("word", "name") else None
            text = known.value if known else token.text
            if (token.kind in ("word", "name")) is not bool(known) or type(text) not in (int, str):
                raise Unsaid("a mask of paths with something else than numbers in it")
            if words and (text == ".." or words[-1].endswith("..")):
                words[-1] += str(text)
            else:
                words.append(str(text))
        return Mask(" ".join(words))

    # --- sets

    def _members(self) -> Members:
        items: list[object] = []
        while not self.got("]"):
            items.append(self._member())
            if not self.sees("]"):
                self.need(",")
        return Members(tuple(items))

    def _member(self) -> object:
        if self.got("("):
            return self._pattern()
        match self._primary():
            case Const(net) if isinstance(net, Network):
                return self._prefixes(net)
            case Const(number) if type(number) is int:
                return (number, self._number_or_name() if self.got("..") else number)
            case Const(Pair() as pair):
                return str(pair)
            case Name(text):
                return text
        raise Unsaid("a set of something that we do not know")

    def _prefixes(self, net: Network) -> Prefixes:
        own = net.prefixlen
        if self.got("+"):
            return Prefixes(net, own, net.max_prefixlen)
        if self.got("-"):
            return Prefixes(net, 0, own)
        if not self.got("{"):
            return Prefixes(net, own, own)
        low = self._number_or_name()
        self.need(",")
        high = self._number_or_name()
        self.need("}")
        return Prefixes(net, low, high)

    def _pattern(self) -> str:
        """Return a community, of which each part may be `*` or a range."""
        parts = []
        while True:
            if self.got("*"):
                parts.append("*")
            else:
                low = self._number_or_name()
                parts.append(f"{low}-{self._number_or_name()}" if self.got("..") else str(low))
            if self.got(")"):
                return ":".join(parts)
            self.need(",")

    def _number_or_name(self) -> int:
        return _number(self._primary())


def evaluated(node: Node) -> Value:
    """Return what an expression comes to, if no route must be asked."""
    match node:
        case Const(value):
            return value
        case Op(sign, left, right) if sign in _SUMS:
            one, other = evaluated(left), evaluated(right)
            if type(one) is int and type(other) is int and (other or sign != "/"):
                return _SUMS[sign](one, other) % (1 << 32)  # as BIRD reckons
        case Not(inner) if isinstance(found := evaluated(inner), bool):
            return not found
    raise Unsaid("an expression that is not understood")


_SUMS: Final[Mapping[str, Callable[[int, int], int]]] = {
    "+": int.__add__,
    "-": int.__sub__,
    "*": int.__mul__,
    "/": int.__floordiv__,
}


def _number(node: Node) -> int:
    found = evaluated(node)
    if type(found) is not int:
        raise Unsaid("something else where a number is expected")
    return found


def is_nowhere(node: Node) -> bool:
    """Tell whether an expression is the unspecified address, of IPv6: BIRD's for both families."""
    return isinstance(node, Const) and node.value == IPv6Address(0)


def is_address(value: object) -> bool:
    """Tell whether a value is an address."""
    return isinstance(value, IPv4Address | IPv6Address)
