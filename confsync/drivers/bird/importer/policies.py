"""The policies of channels: all, none, a filter by name, or one on the spot.

Separate because a filter is one thing for each family that uses it, and because one that no rules
can say stays a filter of another hand's, by its name.
"""

from __future__ import annotations

from confsync.drivers.bird.importer.conditions import Asked, Sets, legal
from confsync.drivers.bird.importer.expressions import Cursor, Members, Node, Prefixes, Unsaid
from confsync.drivers.bird.importer.filters import rules
from confsync.drivers.bird.importer.functions import Functions
from confsync.drivers.bird.importer.lexer import Token
from confsync.drivers.bird.importer.options import Losses
from confsync.drivers.bird.importer.outline import Definition, Outline
from confsync.drivers.bird.importer.statements import Statement, statements, where
from confsync.drivers.bird.policy import (
    Family,
    Filter,
    Foreign,
    Named,
    NamedFilter,
    NamedSet,
    Policy,
    Range,
)
from confsync.drivers.bird.policy_build import WORDS

_OWN = "cs_FILTER_"


class Policies:
    """Reads policies, and keeps the filters and sets that they need."""

    def __init__(self, outline: Outline, losses: Losses) -> None:
        self._outline = outline
        self._losses = losses
        self._sets = Sets()
        self._halves: dict[tuple[str, Family], Filter | None] = {}
        self._names: dict[str, str] = {}
        self.foreign: list[str] = []

    def read(self, cursor: Cursor, family: Family, owner: str, way: str) -> Policy:
        """Return the policy that is next. Raises: Unsaid for what is none."""
        if cursor.got("all"):
            return WORDS["all"]
        if cursor.got("none"):
            return WORDS["none"]
        first = cursor.next
        if cursor.got("where"):
            condition = Cursor(cursor.rest(), self._outline.constants)
            return self._on_the_spot(condition, family, (owner, way, first), where_only=True)
        if not cursor.got("filter"):
            raise Unsaid("no policy")
        if cursor.sees("{"):
            body = Cursor(cursor.group(), self._outline.constants)
            return self._on_the_spot(body, family, (owner, way, first), where_only=False)
        return self._by_name(cursor.take().text, family)

    def filters(self) -> tuple[NamedFilter, ...]:
        """Return the filters that were used by name, in the order of their names."""
        found: dict[str, dict[str, Filter]] = {}
        for (symbol, family), half in self._halves.items():
            if half is not None:
                found.setdefault(self._names[symbol], {})[str(family)] = half
        return tuple(NamedFilter(name, **found[name]) for name in sorted(found))

    def sets(self) -> tuple[NamedSet, ...]:
        """Return the sets that the filters use by name."""
        found: dict[str, dict[str, tuple[object, ...]]] = {}
        for (name, part), members in self._sets.used.items():
            found.setdefault(name, {})[part] = _part(part, members)
        made: dict[str, dict[str, object]] = {name: dict(parts) for name, parts in found.items()}
        return tuple(NamedSet(name, **made[name]) for name in sorted(made))  # type: ignore[arg-type]

    def _on_the_spot(
        self, body: Cursor, family: Family, at: tuple[str, str, Token], *, where_only: bool
    ) -> Policy:
        owner, way, token = at
        try:
            return self._rules(where(_condition(body)) if where_only else statements(body), family)
        except Unsaid as why:
            self._losses.add(owner, f"its {way} filter", token, str(why))
            return self._moved(f"{owner}_{way}")

    def _by_name(self, symbol: str, family: Family) -> Policy:
        definition = self._outline.filters.get(symbol)
        if definition is None:
            return self._moved(symbol)
        if (symbol, family) not in self._halves:
            half: Filter | None = None
            try:
                half = self._rules(self._statements(definition), family)
            except Unsaid as why:
                self._losses.add(f"filter {symbol}", "its rules", definition.token, str(why))
            self._halves[symbol, family] = half
            self._name(symbol, family)
        if self._halves[symbol, family] is None:
            return self._moved(symbol)
        return Named(self._names[symbol])

    def _rules(self, body: tuple[Statement, ...], family: Family) -> Filter:
        sets = Sets()
        functions = Functions(self._outline.functions, self._outline.constants)
        found = rules(body, Asked(family, sets), functions)
        self._sets.used |= sets.used
        return found

    def _statements(self, filter_: Definition) -> tuple[Statement, ...]:
        if filter_.head:
            raise Unsaid("a filter with variables")
        return statements(Cursor(filter_.body, self._outline.constants))

    def _moved(self, symbol: str) -> Foreign:
        if symbol not in self.foreign:
            self.foreign.append(symbol)
        return Foreign(symbol)

    def _name(self, symbol: str, family: Family) -> None:
        """Give a filter a name in documents; one of our own gets its old one back."""
        if symbol in self._names:
            return
        suffix = f"_{family}"
        if symbol.startswith(_OWN) and symbol.endswith(suffix):
            own = symbol.removeprefix(_OWN).removesuffix(suffix).replace("D", "-")
            self._names[symbol] = own
            return
        name, taken = legal(symbol), {*self._names.values(), *WORDS}
        while name in taken:
            name += "_"
        self._names[symbol] = name


def _condition(body: Cursor) -> Node:
    found = body.node()
    if not body.done:
        raise Unsaid("more than a condition")
    return found


def _part(part: str, members: Members) -> tuple[object, ...]:
    """Return one part of a set as the model has it."""
    if part in {str(family) for family in Family}:
        return tuple(
            Range(one.net, one.low, one.high)
            for one in members.items
            if isinstance(one, Prefixes) and one.net.version == Family(part).digit
        )
    return members.items
