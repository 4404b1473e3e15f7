"""The error tree: what may go wrong, and what follows from it.

Separate so that the consequence belongs to the class: `retry` says what the reconcile loop does
next, `exit_code` what the command line returns. Messages say what was wanted, what was found and
what happens next; they never carry a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final

from confsync.model.ids import Path, dotted

NAMES_LISTED: Final = 12


class Retry(Enum):
    """When the work that failed is tried again."""

    BACKOFF = auto()
    NEXT_REVISION = auto()
    OPERATOR = auto()
    HALT = auto()


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault in the configuration, with its place and the way to mend it.

    Shape: `path` is the value's place in the merged tree, or in the document while `where` is
    known already; `where` is the file or key, `line` and `column` count from 1 (0 = unknown).
    """

    code: str
    path: Path
    message: str
    hint: str = ""
    where: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = self.where + (f":{self.line}:{self.column}" if self.line else "")
        parts = (place, f"{dotted(self.path)}:" if self.path else "", self.message)
        text = " ".join(part for part in parts if part)
        return f"{text}; {self.hint} ({self.code})" if self.hint else f"{text} ({self.code})"


Violations = tuple[Violation, ...]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint for a word that nobody knows: the nearest known one, or those there are."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    listed = ", ".join(names[:NAMES_LISTED]) + (", ..." if len(names) > NAMES_LISTED else "")
    return f"known here: {listed}" if names else "nothing is known here"


class ConfsyncError(Exception):
    """The root of everything that confsync raises on purpose."""

    retry: ClassVar[Retry] = Retry.BACKOFF
    exit_code: ClassVar[int] = 1


class SourceError(ConfsyncError):
    """The source gave no answer that can be believed; last-known-good is kept."""

    exit_code = 69


class Unreachable(SourceError):
    """No answer: refused, timed out, no leader, cut off."""


class Denied(SourceError):
    """The source refuses us."""

    exit_code = 77


class Torn(SourceError):
    """The answer contradicts itself or is not a whole one."""


class Oversized(SourceError):
    """The answer is larger than any configuration may be."""

    retry = Retry.NEXT_REVISION
    exit_code = 65


class Conflict(SourceError):
    """A compare-and-set lost against another writer; `op` is our operation that failed, or -1."""

    exit_code = 75

    def __init__(self, message: str, op: int = -1) -> None:
        super().__init__(message)
        self.op = op


class HomeMoved(SourceError):
    """Changes are published in another datacenter now."""

    retry = Retry.OPERATOR


class LeaseLost(SourceError):
    """This agent is not the one of its site any more: nothing may be written for the site."""


class InvalidConfig(ConfsyncError):
    """The configuration is wrong in itself; every fault is in `violations`."""

    retry = Retry.NEXT_REVISION
    exit_code = 65

    def __init__(self, violations: Violations) -> None:
        super().__init__("\n".join(map(str, violations)))
        self.violations = violations


class Unparsable(InvalidConfig):
    """A document is neither JSON nor YAML 1.2 as we read it."""


class SchemaViolated(InvalidConfig):
    """A document does not have the shape its section asks for, or breaks a rule of it."""


class NeedsFact(InvalidConfig):
    """A value names a fact that this node does not have."""


class UnknownKey(ConfsyncError):
    """Somebody asked about a value or a node that there cannot be."""

    exit_code = 65


class PlanRefused(ConfsyncError):
    """A guard stopped the plan; `rule` and `place` name the allowance that would let it pass."""

    retry = Retry.OPERATOR
    exit_code = 75

    def __init__(self, rule: str, place: str, message: str) -> None:
        super().__init__(f"{message}; to allow it: --allow {rule}:{place}")
        self.rule = rule
        self.place = place


class NotOwned(ConfsyncError):
    """What we would change is not ours."""

    retry = Retry.OPERATOR
    exit_code = 75


class Held(ConfsyncError):
    """Writing is stopped here: paused, or halted."""

    retry = Retry.OPERATOR
    exit_code = 75


class StepFailed(ConfsyncError):
    """A step did not do what it should."""

    exit_code = 4


class HostBusy(StepFailed):
    """Somebody else is at work, or a daemon is down; it may go better later."""

    exit_code = 75


class HostRefused(StepFailed):
    """The daemon refuses the content; trying again cannot help."""

    retry = Retry.NEXT_REVISION
    exit_code = 4


class DeadlinePassed(StepFailed):
    """No answer in time: the outcome is unknown."""


class NotVerified(StepFailed):
    """The host is worse than before."""

    retry = Retry.NEXT_REVISION


class WindowLost(StepFailed):
    """Somebody else changed the host while our change was unconfirmed."""


class Stopping(StepFailed):
    """The agent was asked to end before the pivot."""


class RollbackFailed(ConfsyncError):
    """The way back failed: no further write until an operator resumes."""

    retry = Retry.HALT
    exit_code = 5


class JournalDamaged(ConfsyncError):
    """The journal is not what was written."""

    retry = Retry.HALT
    exit_code = 5


class JournalTooNew(ConfsyncError):
    """The journal was written by a newer confsync."""

    retry = Retry.HALT
    exit_code = 5


class JournalLost(ConfsyncError):
    """A journal write failed: whether it is durable is unknown, so the process must end.

    Why: after a failed fsync nothing tells what is on disk; the next start reads what is there.
    """

    retry = Retry.HALT
    exit_code = 1


class BadSettings(ConfsyncError):
    """The agent's own settings are wrong."""

    exit_code = 78


class AnotherAgent(ConfsyncError):
    """Another confsync is at work on this host."""

    exit_code = 75
