"""A filter's body as statements.

Separate because what a filter says and what our rules can say are two questions; this is the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from confsync.drivers.bird.importer.expressions import Call, Cursor, Name, Node, Unsaid

_DEPTH = 60


@dataclass(frozen=True, slots=True)
class End:
    """A decision: `accept` or `reject`."""

    permit: bool


@dataclass(frozen=True, slots=True)
class Assign:
    """An attribute that gets a value."""

    name: str
    value: Node


@dataclass(frozen=True, slots=True)
class Do:
    """A call for its effect: of a method of an attribute, or of a function."""

    call: Call


@dataclass(frozen=True, slots=True)
class If:
    """A question, and what is done either way."""

    condition: Node
    then: tuple[Statement, ...]
    other: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Return:
    """The end of a function, with its answer or without one."""

    value: Node | None


Statement = End | Assign | Do | If | Return


def statements(body: Cursor) -> tuple[Statement, ...]:
    """Return all that a body says; what only prints is left out. Raises: Unsaid, Unreadable."""
    return _Reader(body).all()


def where(condition: Node) -> tuple[Statement, ...]:
    """Return what `where` and a condition stand for."""
    return (If(condition, (End(permit=True),)), End(permit=False))


class _Reader:
    def __init__(self, body: Cursor) -> None:
        self._body = body
        self._depth = 0

    def all(self) -> tuple[Statement, ...]:
        found: list[Statement] = []
        while not self._body.done:
            found.extend(self._one())
        return tuple(found)

    def _one(self) -> tuple[Statement, ...]:
        body = self._body
        if body.got(";"):
            return ()
        if body.got("if"):
            return (self._if(),)
        if body.sees("accept", "reject"):
            return (self._end(),)
        if body.got("print", "printn"):
            while not body.done and not body.sees(";"):
                body.take()
            body.need(";")
            return ()
        if body.got("return"):
            value = None if body.sees(";") else body.node()
            body.need(";")
            return (Return(value),)
        if body.sees("case", "for") or body.sees("int", "bool", "prefix", "set"):
            raise Unsaid(f"a filter with {body.next.text} in it")
        return (self._change(),)

    def _end(self) -> End:
        permit = self._body.take().text == "accept"
        if self._body.next.kind == "text":
            self._body.take()
        self._body.need(";")
        return End(permit)

    def _change(self) -> Statement:
        body = self._body
        if body.next.kind in ("word", "name") and body.sees("=", ahead=1):
            name = body.take().text
            body.take()
            value = body.node()
            body.need(";")
            return _assigned(name, value)
        node = body.node()
        body.need(";")
        if not isinstance(node, Call):
            raise Unsaid("a statement that is not understood")
        return Do(node)

    def _if(self) -> If:
        condition = self._body.node()
        self._body.need("then")
        then = self._block()
        other = self._block() if self._body.got("else") else ()
        return If(condition, then, other)

    def _block(self) -> tuple[Statement, ...]:
        self._depth += 1
        if self._depth > _DEPTH:
            raise Unsaid("a filter that is nested too deeply")
        try:
            if not self._body.got("{"):
                return self._one()
            found: list[Statement] = []
            while not self._body.got("}"):
                if self._body.done:
                    raise Unsaid("a block that does not end")
                found.extend(self._one())
            return tuple(found)
        finally:
            self._depth -= 1


def _assigned(name: str, value: Node) -> Statement:
    """Return an assignment; `x = add(x, y)` is what `x.add(y)` says."""
    match value:
        case Call(method, (Name(own), *args), None) if own == name:
            return Do(Call(method, tuple(args), Name(own)))
    return Assign(name, value)


def ends(done: tuple[Statement, ...]) -> bool:
    """Tell whether nothing that follows is ever reached."""
    return any(
        isinstance(one, End | Return)
        or (isinstance(one, If) and ends(one.then) and ends(one.other))
        for one in done
    )


def changes_only(done: tuple[Statement, ...]) -> bool:
    """Tell whether no decision is made and no question asked."""
    return all(isinstance(one, Assign | Do) for one in done)
