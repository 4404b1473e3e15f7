"""Calls of a configuration's own functions, as what they stand for.

Separate because a function is no part of a document: its body takes the place of each call, with
the arguments in it. Only arguments that are known before any route can be put there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from confsync.drivers.bird.importer.expressions import (
    Call,
    Const,
    Constants,
    Cursor,
    Node,
    Unsaid,
    evaluated,
)
from confsync.drivers.bird.importer.lexer import Token
from confsync.drivers.bird.importer.outline import NAMED, Definition
from confsync.drivers.bird.importer.statements import (
    Do,
    End,
    If,
    Return,
    Statement,
    ends,
    statements,
)

_CALLS_MAX: Final = 500  # of one filter; a function that calls itself has no end


class Functions:
    """The functions that a filter may call."""

    def __init__(self, known: Mapping[str, Definition], constants: Constants) -> None:
        self._known = known
        self._constants = constants
        self._calls = 0

    def has(self, call: Call) -> bool:
        """Tell whether a call is of such a function."""
        return call.of is None and call.name in self._known

    def asked(
        self, call: Call, then: tuple[Statement, ...], other: tuple[Statement, ...]
    ) -> tuple[Statement, ...]:
        """Return what a question for a function's answer stands for. Raises: Unsaid."""
        return self._answered(self._body(call), then, other, call.name)

    def done(self, call: Call) -> tuple[Statement, ...]:
        """Return what a call for its effect stands for. Raises: Unsaid."""
        body = self._body(call)
        if any(isinstance(one, Return) for one in _flat(body)):
            raise Unsaid(f"the function {call.name}, which returns")
        return body

    def _body(self, call: Call) -> tuple[Statement, ...]:
        self._calls += 1
        if self._calls > _CALLS_MAX:
            raise Unsaid("a filter that calls functions too often")
        found = self._known[call.name]
        names = list(_parameters(found.head, call.name))
        if len(names) != len(call.args):
            raise Unsaid(f"the function {call.name} with other arguments than it has")
        arguments = {name: _argument(one) for name, one in zip(names, call.args, strict=True)}
        return statements(Cursor(found.body, self._constants, arguments))

    def _answered(
        self,
        body: tuple[Statement, ...],
        then: tuple[Statement, ...],
        other: tuple[Statement, ...],
        name: str,
    ) -> tuple[Statement, ...]:
        """Return a body with what follows from each of its answers in the answer's place."""
        if not body:
            raise Unsaid(f"the function {name}, which does not always answer")
        first, rest = body[0], body[1:]
        match first:
            case Return(None):
                raise Unsaid(f"the function {name}, which does not always answer")
            case Return(Const(bool() as answer)):
                return then if answer else other
            case Return(value):
                assert value is not None
                return (If(value, then, other),)
            case End():
                return (first,)
            case If(condition, yes, no):
                both = (
                    self._answered(yes if ends(yes) else (*yes, *rest), then, other, name),
                    self._answered(no if ends(no) else (*no, *rest), then, other, name),
                )
                return (If(condition, *both),)
            case Do(call) if self.has(call):
                return self._answered((*self.done(call), *rest), then, other, name)
        return (first, *self._answered(rest, then, other, name))


def _argument(node: Node) -> Const:
    """Return an argument; a named constant keeps its name."""
    return node if isinstance(node, Const) else Const(evaluated(node))


def _parameters(head: tuple[Token, ...], function: str) -> Iterator[str]:
    """Yield the names of a function's parameters, which stand behind their types."""
    cursor = Cursor(head, {})
    cursor.need("(")
    while not cursor.got(")"):
        name = ""
        while not cursor.done and not cursor.sees(",", ")", ";"):
            name = cursor.next.text if cursor.next.kind in NAMED else ""
            cursor.take()
        if not name or not (cursor.got(",", ";") or cursor.sees(")")):
            raise Unsaid(f"the function {function}")
        yield name
    if not cursor.done and not cursor.sees("-"):
        raise Unsaid(f"the function {function}, which has variables")


def _flat(body: tuple[Statement, ...]) -> Iterator[Statement]:
    for one in body:
        yield one
        if isinstance(one, If):
            yield from _flat(one.then)
            yield from _flat(one.other)
