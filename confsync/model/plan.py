"""Difference, Step and Plan: what would be done, as a value that can be read before it is done.

Separate because `plan` and `apply` must share one list; a plan has a digest, and the crash
argument runs over the prefixes of its steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from confsync.model.ids import Digest, DriverName, Json, ObjectId, canonical, digest

SHOWN_CHARS: Final = 120


class Impact(StrEnum):
    """What a step does to users, in their words; ordered from harmless to worst."""

    HITLESS = "hitless"
    ONLINE_GROW = "online grow"
    SERVICE_RESTART = "service restart"  # of a daemon without which traffic goes on
    TRAFFIC_FILTER = "traffic filter"  # what may pass changes
    ROUTE_FLAP = "route flap"
    SESSION_RESET = "session reset"
    KERNEL_RESTART = "kernel restart"
    OUT_OF_USE = "out of use"
    DATA_LOSS = "data loss"

    @property
    def rank(self) -> int:
        return list(Impact).index(self)


@dataclass(frozen=True, slots=True)
class Difference:
    """One item of a plan, as people read it.

    Shape: `op` is ``+``, ``-`` or ``~``; `path` is dotted and starts with the section's name;
    `before` and `after` are the values as JSON (None = absent); `hits` are the objects that are
    removed or interrupted by it; `note` says what else people want to know of it.
    """

    op: str
    path: str
    before: Json
    after: Json
    impact: Impact
    hits: frozenset[ObjectId] = frozenset()
    note: str = ""

    def __str__(self) -> str:
        if self.op == "~":
            change = f"{_short(self.before)} -> {_short(self.after)}"
        else:
            change = _short(self.after if self.op == "+" else self.before)
        return f"{self.op} {self.path} {change}"

    def as_json(self) -> Json:
        return {
            "op": self.op,
            "path": self.path,
            "before": self.before,
            "after": self.after,
            "impact": str(self.impact),
            "note": self.note,
        }


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else canonical(value).decode()
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."


class Guard(NamedTuple):
    """What a step may do only where an operator allows it by name: ``RULE:PLACE``."""

    rule: str
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """The smallest do/undo pair; frozen and serialisable, so that a newer process can undo it.

    Shape: `kind` and `version` name the codec; `args` holds all that apply, undo and commit
    need, paths and sockets included: undo reads nothing from today's settings.
    Units: `verify_s` is how long the host may take to become healthy, `hold_s` how long it must
    then stay so.
    """

    driver: DriverName
    kind: str
    version: int
    target: str
    impact: Impact
    summary: str
    args: Json
    differences: tuple[Difference, ...] = ()
    verify_s: float = 3.0
    hold_s: float = 0.0
    guards: tuple[Guard, ...] = ()

    def as_json(self) -> Json:
        """Return the journal's record of the step; differences and guards are for people."""
        return {
            "driver": self.driver,
            "kind": self.kind,
            "version": self.version,
            "target": self.target,
            "impact": str(self.impact),
            "summary": self.summary,
            "args": self.args,
            "verify_s": self.verify_s,
            "hold_s": self.hold_s,
        }

    @classmethod
    def from_json(cls, record: Json) -> Step:
        return cls(**{**record, "impact": Impact(record["impact"])})


@dataclass(frozen=True, slots=True)
class Plan:
    """Ordered steps that lead from what runs to one revision."""

    revision: Digest
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = field(default=())

    @property
    def digest(self) -> Digest:
        return digest(canonical([self.revision, [step.as_json() for step in self.steps]]))

    @property
    def impact(self) -> Impact:
        return max(
            (step.impact for step in self.steps), key=lambda i: i.rank, default=Impact.HITLESS
        )

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(item for step in self.steps for item in step.differences)
