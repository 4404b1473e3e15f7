"""Who else writes what is ours, and how often we write it back.

Separate because repairing must never become a fight: tries are spaced ever wider, and where
another hand wrote twice over what we had written, we stop and say who it is. Kept in memory: a
restart of the agent allows one more round at most.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from confsync.model import limits
from confsync.model.errors import PlanRefused
from confsync.model.ids import DriverName
from confsync.model.section import Observed, Ownership


@dataclass(frozen=True, slots=True)
class _Record:
    """What came between us and others, of one driver.

    Shape: `standing` = what we wrote has not been written over since; `tries` are repairs since
    the host was last at peace; `trouble_s` is when it was last seen otherwise.
    """

    standing: bool = False
    wrote_s: float = 0.0
    tries: int = 0
    trouble_s: float = 0.0
    rewrites: int = 0
    hand: str = ""


def claimed(look: Observed) -> Observed:
    """Return how a host is seen that carried what we wrote: strange now means replaced."""
    if look.ownership is not Ownership.FOREIGN:
        return look
    problem = f"what confsync wrote was replaced by another hand: {look.problem}"
    return replace(look, ownership=Ownership.EDITED, problem=problem)


class Peace:
    """Remembers repairs and rewrites. Units: seconds of the loop's clock."""

    def __init__(self, repair: Collection[DriverName]) -> None:
        self._repair = frozenset(repair)
        self._records: dict[DriverName, _Record] = {}

    def saw(
        self, seen: Mapping[DriverName, Observed], drifted: Collection[DriverName], now_s: float
    ) -> None:
        """Take note of how the host was found."""
        for name, look in seen.items():
            record = self._of(name)
            calm_s = now_s - record.trouble_s
            if look.hand and record.standing:
                rewrites = record.rewrites + 1
                record = replace(record, standing=False, rewrites=rewrites, hand=look.hand)
            if name in drifted or look.ownership is not Ownership.OWNED:
                record = replace(record, trouble_s=now_s)
            elif calm_s >= limits.REPAIR_GOOD_S:
                rewrites = record.rewrites if calm_s < limits.CONTENDED_S else 0
                record = replace(record, tries=0, rewrites=rewrites)
            self._records[name] = record

    def tries(self, names: Collection[DriverName], now_s: float, *, repairing: bool) -> None:
        """Take note that we are about to write; `repairing` = over drift, without being told."""
        for name in names:
            record = self._of(name)
            tries = record.tries + 1 if repairing else 0
            if not repairing and self.contended(name):
                record = _Record()  # an allowance ends the dispute
            self._records[name] = replace(record, wrote_s=now_s, tries=tries)

    def wrote(self, names: Collection[DriverName]) -> None:
        """Take note that what we wrote stands."""
        for name in names:
            self._records[name] = replace(self._of(name), standing=True)

    def contended(self, name: DriverName) -> bool:
        """Tell whether another hand wrote too often over what we wrote."""
        return self._of(name).rewrites >= limits.CONTENDED_REWRITES

    def repairs(self, name: DriverName) -> bool:
        """Tell whether drift is written over without an allowance."""
        return name in self._repair and not self.contended(name)

    def wait_s(self, names: Collection[DriverName], now_s: float) -> float:
        """Return how long to wait before repairing once more."""
        return max((self._wait_s(self._of(n), now_s) for n in names), default=0)

    def _wait_s(self, record: _Record, now_s: float) -> float:
        if not record.tries:
            return 0.0
        step_s = limits.REPAIR_WAIT_S * 2.0 ** min(record.tries - 1, limits.REPAIR_DOUBLINGS)
        return max(0.0, record.wrote_s + step_s - now_s)

    def refusal(self, name: DriverName, problem: str) -> PlanRefused:
        """Return why drift is not written over."""
        if not self.contended(name):
            return PlanRefused("drift", name, problem)
        record = self._of(name)
        message = (
            f"{record.rewrites} times another hand wrote over what confsync had written, so it "
            f"stopped: {record.hand}; settle who owns it, then: confsync agent retry"
        )
        return PlanRefused("contended", name, message)

    def forgive(self) -> None:
        """Forget every dispute: an operator says that it is settled, perhaps while we write."""
        self._records.clear()

    def _of(self, name: DriverName) -> _Record:
        return self._records.get(name, _Record())
