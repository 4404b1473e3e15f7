"""What one pass came to, as a value.

Separate because whoever shows, announces or prints a pass needs no word of how it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from confsync.flow.transact import Outcome
from confsync.model.desired import Desired
from confsync.model.errors import ConfsyncError, PlanRefused, SourceError, Violations
from confsync.model.ids import DriverName, SectionName
from confsync.model.machine import State
from confsync.model.plan import Plan
from confsync.model.section import Observed, Ownership
from confsync.model.snapshot import Reading, Snapshot, Standing
from confsync.ports import Applied


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass came to; an empty field says "nothing of that".

    Shape: `plan` None = it did not come to a plan; `carried` are the wanted sections that have a
    driver here; `fault` is the source's, `failure` the host's;
    `observing` names the drivers that own nothing here; `held` says who stopped writing.
    `waits` says for what a plan that nothing stands against is kept back.
    Units: `again_s` is when to look again without a wake.
    """

    snapshot: Snapshot | None = None
    reading: Reading | None = None
    desired: Desired | None = None
    carried: frozenset[SectionName] = frozenset()
    applied: Applied | None = None
    observed: Mapping[DriverName, Observed] = field(default_factory=dict)
    plan: Plan | None = None
    fault: SourceError | None = None
    violations: Violations = ()
    refusals: tuple[PlanRefused, ...] = ()
    observing: tuple[DriverName, ...] = ()
    held: str = ""
    quarantined: str = ""
    failure: ConfsyncError | None = None
    outcome: Outcome | None = None
    again_s: float | None = None
    waits: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def in_sync(self) -> bool:
        """Tell whether the host runs what is wanted."""
        return self.plan is not None and not self.plan.steps

    @property
    def publishing(self) -> bool:
        """Tell whether the source is in the middle of a publish."""
        return self.reading is not None and self.reading.standing is Standing.PUBLISHING

    @property
    def in_place(self) -> bool:
        """Tell whether the host runs what is wanted, and no guard objects."""
        committed = self.outcome is not None and self.outcome.state is State.COMMITTED
        return committed or (self.in_sync and not self.refusals)

    @property
    def drifted(self) -> bool:
        """Tell whether the host left what was applied, while nothing new is wanted."""
        left = (self.plan and self.plan.steps) or self.edited
        return bool(self.unchanged and left and not self.outcome)

    @property
    def edited(self) -> bool:
        """Tell whether another hand changed what is ours, though it may run as it should."""
        return any(look.ownership is Ownership.EDITED for look in self.observed.values())

    @property
    def writes(self) -> frozenset[DriverName]:
        """Return the drivers that the plan has work for."""
        return frozenset(step.driver for step in self.plan.steps) if self.plan else frozenset()

    @property
    def mends(self) -> frozenset[DriverName]:
        """Return the drivers where the plan would write over what another hand did."""
        edited = {n for n, o in self.observed.items() if o.ownership is Ownership.EDITED}
        return self.writes if self.drifted else self.writes & edited

    @property
    def unchanged(self) -> bool:
        """Tell whether what is wanted is what was applied last.

        Why not by the revision alone: a driver may have been enabled since then.
        """
        if self.applied is None or self.desired is None:
            return False
        missed = self.carried - self.applied.sections.keys()
        return not missed and self.applied.revision == self.desired.revision

    @property
    def allowed(self) -> frozenset[str]:
        """Return what the head allows: for its own change alone, and until that is in place."""
        head = self.snapshot.head if self.snapshot else None
        if head is None or self.reading is None or self.reading.standing is not Standing.COMPLETE:
            return frozenset()
        done = self.applied is not None and self.applied.change >= head.change
        return frozenset() if done else frozenset(head.allow)
