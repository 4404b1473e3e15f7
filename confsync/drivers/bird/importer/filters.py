"""A filter's statements as rules of ours that decide exactly the same.

Separate because rules only ask, change and decide, while a filter nests and branches: here it is
laid flat. Invariant: the rules that are made under a guard decide about each route that meets it.
"""

from __future__ import annotations

from typing import Final

from confsync.drivers.bird.importer.changes import change, disturbs, joined
from confsync.drivers.bird.importer.conditions import Asked, negated
from confsync.drivers.bird.importer.expressions import Call, Not, Op, Unsaid
from confsync.drivers.bird.importer.functions import Functions
from confsync.drivers.bird.importer.matches import ALWAYS, Unsimple
from confsync.drivers.bird.importer.statements import (
    Assign,
    Do,
    End,
    If,
    Return,
    Statement,
    changes_only,
    ends,
)
from confsync.drivers.bird.policy import Action, Changes, Filter, Match, Rule

_RULES_MAX: Final = 200
_DEPTH: Final = 100


def rules(body: tuple[Statement, ...], asked: Asked, functions: Functions) -> Filter:
    """Return a filter for one family. Raises: Unsaid for what no rules can say."""
    made = _Flat(asked, functions)
    permit = made.under(ALWAYS, body)
    return Filter(_trimmed(made.rules, permit) if made.split else tuple(made.rules), permit)


def _trimmed(rules: list[Rule], permit: bool) -> tuple[Rule, ...]:
    """Leave out last rules that say what holds anyway."""
    plain = Action.PERMIT if permit else Action.DENY
    while rules and rules[-1].action is plain and rules[-1].changes is None:
        rules.pop()
    return tuple(rules)


class _Flat:
    def __init__(self, asked: Asked, functions: Functions) -> None:
        self._asked = asked
        self._functions = functions
        self._depth = 0
        self.rules: list[Rule] = []
        self.split = False

    def under(self, guard: Match, todo: tuple[Statement, ...]) -> bool:
        """Add the rules for all routes that meet a guard; return what becomes of the last."""
        self._depth += 1
        if self._depth > _DEPTH:
            raise Unsaid("a filter that branches too often")
        pending: Changes | None = None
        while todo:
            one, todo = todo[0], todo[1:]
            match one:
                case End(permit):
                    return self._end(guard, pending, permit=permit)
                case If():
                    self._flush(guard, pending)
                    pending = None
                    todo = self._branch(guard, one, todo)
                case Do(call) if self._functions.has(call):
                    todo = (*self._functions.done(call), *todo)
                case Return():
                    raise Unsaid("a filter that returns")
                case _:
                    pending = self._gathered(guard, pending, one)
        return self._end(guard, pending, permit=False)  # BIRD rejects what nothing decided

    def _end(self, guard: Match, pending: Changes | None, *, permit: bool) -> bool:
        self._depth -= 1
        if guard != ALWAYS:
            self._add(Rule(guard, Action.PERMIT if permit else Action.DENY, pending))
        elif permit:
            self._flush(guard, pending)
        return permit

    def _gathered(self, guard: Match, pending: Changes | None, one: Assign | Do) -> Changes:
        more = change(one)
        if pending is None:
            return more
        found = joined(pending, more)
        if found is None:
            self._flush(guard, pending)
        return found or more

    def _flush(self, guard: Match, pending: Changes | None) -> None:
        if pending is None:
            return
        if disturbs(pending, guard):
            raise Unsaid("a filter that changes what it asks about")
        self._add(Rule(guard, Action.NEXT, pending))

    def _branch(self, guard: Match, one: If, rest: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """Add the rules of one branch; return what is left to do for all others."""
        try:
            asked = self._asked.match(one.condition)
            inner = self._asked.both(guard, asked)
        except Unsimple as many:
            self.split = True
            return (*self._split(one, many), *rest)
        if inner is None:
            return (*one.other, *rest)
        if asked == ALWAYS:
            return (*one.then, *rest)
        if not one.other and changes_only(one.then) and not self._calls(one.then):
            self._changed(guard, inner, one.then)
            return rest
        self.split |= not ends(one.then)
        self.under(inner, one.then if ends(one.then) else (*one.then, *rest))
        return (*one.other, *rest)

    def _calls(self, done: tuple[Statement, ...]) -> bool:
        return any(isinstance(one, Do) and self._functions.has(one.call) for one in done)

    def _changed(self, guard: Match, inner: Match, then: tuple[Statement, ...]) -> None:
        pending: Changes | None = None
        for one in then:
            assert isinstance(one, Assign | Do)
            pending = self._gathered(inner, pending, one)
        if pending is None:
            return
        if disturbs(pending, guard):
            raise Unsaid("a filter that changes what it asks about")
        self._add(Rule(inner, Action.NEXT, pending))

    def _split(self, one: If, many: Unsimple) -> tuple[Statement, ...]:
        """Return a question in several."""
        match one.condition:
            case Not(inner):
                return (If(inner, one.other, one.then),)
            case Op("&&", left, right):
                return (If(left, (If(right, one.then, one.other),), one.other),)
            case Op("||", left, right):
                return (If(left, one.then, (If(right, one.then, one.other),)),)
            case Call() as call if self._functions.has(call):
                return self._functions.asked(call, one.then, one.other)
            case Call(name):
                raise Unsaid(f"the function {name}") from many
        opposite = negated(one.condition)
        if opposite is None:
            raise Unsaid(str(many)) from many
        return (If(opposite, one.other, one.then),)

    def _add(self, rule: Rule) -> None:
        if len(self.rules) >= _RULES_MAX:
            raise Unsaid("a filter that would need too many rules")
        self.rules.append(rule)
