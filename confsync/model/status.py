"""Status and Event: the one record that feeds log, health, metrics, CLI and messages.

Separate so that the same words are used everywhere, and the truth table from state to
live/ready/health/check is one table. Invariant: of all states whose condition holds, the one that
stands first in `AgentState` is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from confsync.model.ids import Digest, DriverName, Json, NodeId, RoleId, SiteId, TxnId


class AgentState(StrEnum):
    """What the agent is doing or waiting for, in order of precedence."""

    HALTED = "halted"  # a roll-back failed or was not verified
    STARTING = "starting"  # no full pass yet, no stored good state loaded
    APPLYING = "applying"  # a transaction is open
    ROLLED_BACK = "rolled-back"  # the last change failed; the node is safe on the previous one
    REJECTED = "rejected"  # the newest revision is invalid or stopped by a guard; the old one runs
    STALE = "stale"  # no answer, or a refused one, from the source; last good is kept
    DRIFTED = "drifted"  # live differs from applied
    FROZEN = "frozen"  # an operator holds the node
    OBSERVING = "observing"  # a driver does not own what it finds; nothing is written
    PENDING = "pending"  # a newer revision was seen and is not yet tried
    IN_SYNC = "in-sync"  # applied equals desired, verified


class Health(StrEnum):
    """The three words of a health document."""

    PASS = "pass"  # noqa: S105, a word of the health draft
    WARN = "warn"
    FAIL = "fail"


class Check(IntEnum):
    """The exit codes of a monitoring check."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Lamps(NamedTuple):
    """What one state means to a supervisor, a load balancer, a health reader and a monitor."""

    live: bool
    ready: bool
    health: Health
    check: Check


TRUTH: Final[Mapping[AgentState, Lamps]] = {
    AgentState.HALTED: Lamps(True, False, Health.FAIL, Check.CRITICAL),
    AgentState.STARTING: Lamps(True, False, Health.FAIL, Check.UNKNOWN),
    AgentState.APPLYING: Lamps(True, True, Health.PASS, Check.OK),
    AgentState.ROLLED_BACK: Lamps(True, True, Health.WARN, Check.WARNING),
    AgentState.REJECTED: Lamps(True, True, Health.WARN, Check.WARNING),
    AgentState.STALE: Lamps(True, True, Health.WARN, Check.WARNING),
    AgentState.DRIFTED: Lamps(True, True, Health.WARN, Check.WARNING),
    AgentState.FROZEN: Lamps(True, True, Health.WARN, Check.WARNING),
    AgentState.OBSERVING: Lamps(True, True, Health.WARN, Check.WARNING),
    AgentState.PENDING: Lamps(True, True, Health.PASS, Check.OK),
    AgentState.IN_SYNC: Lamps(True, True, Health.PASS, Check.OK),
}
assert set(TRUTH) == set(AgentState), "every state has its row"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Which conditions hold; each field is the state that it would cause by itself."""

    halted: bool = False
    starting: bool = False
    applying: bool = False
    rolled_back: bool = False
    rejected: bool = False
    stale: bool = False
    drifted: bool = False
    frozen: bool = False
    observing: bool = False
    pending: bool = False


def derive(found: Circumstances) -> AgentState:
    """Return the first state, by precedence, whose condition holds."""
    holds = asdict(found)
    return next(
        (state for state in AgentState if holds.get(state.name.lower())), AgentState.IN_SYNC
    )


@dataclass(frozen=True, slots=True)
class Condition:
    """One fact about the node with the moment since when it holds, as in ``Verified True``."""

    type: str
    status: bool
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A revision with the change that published it; change 0 = none was recorded."""

    change: int
    revision: Digest


@dataclass(frozen=True, slots=True)
class DriverStatus:
    """What one driver found; `sessions` are BGP's, if it has any.

    Shape: `ownership` is a word of `section.Ownership`; `detail` is JSON for people and scripts;
    `sessions` maps a family to ``{"up": n, "down": n, "expected": n}``.
    """

    ownership: str
    problem: str = ""
    notes: tuple[str, ...] = ()
    detail: Json = None
    sessions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    drift: int = 0


@dataclass(frozen=True, slots=True)
class LastTransaction:
    """How the newest transaction ended."""

    id: TxnId
    outcome: str
    revision: Digest
    at: str
    took_ms: int
    reason: str = ""
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How fresh our knowledge of the source is; `age_s` None = never answered."""

    name: str
    last_success_at: str = ""
    age_s: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """How the copy of what home publishes stands, as one agent sees it.

    Shape: `holds` = this agent is the one of its site that copies; the rest is known to it only.
    `conflicts` are documents that were edited here and are kept.
    """

    home: str
    holds: bool = False
    change: int = 0
    behind: int = 0
    problem: str = ""
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """How the configuration of the whole site stands, as one agent sees it.

    Shape: `holds` = this agent is the one that acts for its site; the rest is known to it only.
    `desired` and `applied` are change numbers; `drift` counts what differs from what was applied.
    """

    holds: bool = False
    state: str = ""
    reason: str = ""
    next: str = ""
    desired: int | None = None
    applied: int | None = None
    drift: int = 0
    warnings: tuple[str, ...] = ()
    last_transaction: LastTransaction | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What the agent says of itself at one moment.

    Shape: `reason` is one sentence, `next` the command to run (empty = nothing to do); `since` is
    when this state began; `frozen_by` names who holds the node, when somebody does. `broker`
    says why MQTT's does not hear us (empty = it does, None = there is none); `site_work` is there
    where this agent may act for its site.
    """

    state: AgentState
    node: NodeId
    site: SiteId
    role: RoleId
    since: str
    source: SourceStatus
    reason: str = ""
    next: str = ""
    desired: Mark | None = None
    attempted: Mark | None = None
    applied: Mark | None = None
    unrecorded: bool = False
    frozen_by: str = ""
    conditions: tuple[Condition, ...] = ()
    drivers: Mapping[DriverName, DriverStatus] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    last_transaction: LastTransaction | None = None
    mirror: MirrorStatus | None = None
    broker: str | None = None
    site_work: SiteStatus | None = None

    @property
    def lamps(self) -> Lamps:
        """Return this state's row of the truth table."""
        return TRUTH[self.state]

    def as_json(self) -> Json:
        """Return the record as JSON, the same for HTTP, the command line and reports."""
        record: Json = asdict(self)
        for condition in record["conditions"]:
            condition["status"] = "True" if condition["status"] else "False"
        return record


def report_of(status: Status) -> Json:
    """Return what others are told of a node; ages are left out, so that it differs at transitions.

    Shape: `desired`, `attempted` and `applied` are change numbers, None = unknown; values of the
    configuration are never in it. Source: the record of operator's KV tree, ``report/SITE/NODE``.
    """
    last = status.last_transaction
    return {
        "state": str(status.state),
        "since": status.since,
        "site": status.site,
        "node": status.node,
        "role": status.role,
        "reason": status.reason,
        "next": status.next,
        "desired": status.desired and status.desired.change,
        "attempted": status.attempted and status.attempted.change,
        "applied": status.applied and status.applied.change,
        "revision": status.applied and status.applied.revision,
        "unrecorded": status.unrecorded,
        "frozen_by": status.frozen_by,
        "conditions": [
            {**asdict(one), "status": "True" if one.status else "False"}
            for one in status.conditions
        ],
        "warnings": list(status.warnings),
        "held": list(status.held),
        "last_tx": last and {"id": last.id, "outcome": last.outcome, "at": last.at},
        "mirror": status.mirror and asdict(status.mirror),
    }


class EventType(StrEnum):
    """Everything that is worth telling; the first part also travels to subscribers.

    Shape of `Event.fields`, where others count on it, is written beside the word.
    """

    CHANGE_SEEN = "change.seen"
    VALIDATION_REJECTED = "validation.rejected"  # reason: syntax|schema|semantic|policy, errors: n
    GUARD_BLOCKED = "guard.blocked"  # guard: empty_prefix|mass_delete|peer_loss|shrink|rate
    APPLY_STARTED = "apply.started"
    APPLY_COMMITTED = "apply.committed"  # took_s; propagation_s when the change's time is known
    APPLY_ROLLED_BACK = "apply.rolled_back"  # took_s, cause: verify|error|timeout|operator
    APPLY_HALTED = "apply.halted"  # took_s, cause
    APPLY_REFUSED = "apply.refused"  # before the first step; nothing was touched
    DRIFT_FOUND = "drift.found"  # driver, items
    DRIFT_CLEARED = "drift.cleared"  # driver
    HOST_HEALED = "host.healed"  # driver, found: what was left half done, and what became of it
    FREEZE_SET = "freeze.set"
    FREEZE_LIFTED = "freeze.lifted"
    CONSUL_LOST = "consul.lost"
    CONSUL_RESTORED = "consul.restored"
    MIRROR_COPIED = "mirror.copied"  # change, written: n
    MIRROR_UNDONE = "mirror.undone"  # change
    MIRROR_CONFLICT = "mirror.conflict"  # documents: names
    MIRROR_RESOLVED = "mirror.resolved"
    LEASE_TAKEN = "lease.taken"
    LEASE_LOST = "lease.lost"
    REPORT_REFUSED = "report.refused"  # reason
    AGENT_STARTED = "agent.started"
    AGENT_STOPPING = "agent.stopping"

    # For the log and the metrics of this host only.
    STATE_CHANGED = "state.changed"
    RECONCILED = "reconcile.done"  # result: a word of RECONCILE_RESULTS, took_s
    PHASE_DONE = "transaction.phase"  # phase: plan|apply|verify|rollback, took_s
    STEP_DONE = "step.done"  # driver, op: apply|undo|commit, result: ok|failed
    SETTINGS_LOADED = "settings.loaded"
    SETTINGS_REJECTED = "settings.rejected"


LOCAL: Final = frozenset(
    {
        EventType.STATE_CHANGED,
        EventType.RECONCILED,
        EventType.PHASE_DONE,
        EventType.STEP_DONE,
        EventType.SETTINGS_LOADED,
        EventType.SETTINGS_REJECTED,
    }
)
"""What stays on this host; all else travels to subscribers."""

RECONCILE_RESULTS: Final = ("unchanged", "applied", "rejected", "failed", "held")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, by its type and fields (never values of the configuration)."""

    type: str
    fields: Json = field(default_factory=dict)
