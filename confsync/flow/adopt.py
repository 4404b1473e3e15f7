"""Take ownership of what a driver finds on the host, without changing it.

Separate because adopting is a decision of its own: it writes one record and nothing else. The first
plan is made as if the record stood; what that plan would interrupt, and what a document cannot
say, stand against it until an operator allows them by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from confsync.flow.passed import Pass
from confsync.model.errors import HostBusy, InvalidConfig, NotOwned, PlanRefused
from confsync.model.ids import DriverName, Json, SectionName
from confsync.model.plan import Impact
from confsync.ports import Journal, Survey

if TYPE_CHECKING:
    from confsync.flow.reconcile import Part, Reconciler


@dataclass(frozen=True, slots=True)
class Adoption:
    """What adopting would come to: what was found, and a pass that goes as far as the first plan.

    Shape: `found.refusals` are all that stand against it.
    """

    survey: Survey
    found: Pass

    def as_json(self) -> Json:
        plan, record = self.found.plan, self.survey.record or {}
        return {
            "names": record.get("names", {}),
            "lost": list(self.survey.lost),
            "draft": self.survey.draft,
            "differences": [
                {**item.as_json(), "text": str(item)} for item in (plan.differences if plan else ())
            ],
            "refusals": [str(refusal) for refusal in self.found.refusals],
        }


@dataclass(frozen=True, slots=True)
class Adopter:
    """What adopting works with."""

    reconciler: Reconciler
    parts: Mapping[SectionName, Part]
    journal: Journal

    async def adopt(self, order: Json, by: str, at: str) -> Json:
        """Do what an operator ordered: ``{driver, plan, draft, allow}``; return what it came to.

        Shape: `plan` and `draft` = record nothing.
        Raises: HostBusy when the driver is not enabled, NotOwned when it cannot be adopted, and
        what keeps us from a first plan.
        """
        driver = DriverName(order["driver"])
        if order["draft"]:
            survey = await self._part(driver)[1].driver.survey(None)
            if not survey.draft:
                raise NotOwned(f"there is no draft for {driver}: {survey.problem}")
            return Adoption(survey, Pass()).as_json()
        weighed = await self.weigh(driver, order["allow"])
        if not order["plan"] and not weighed.found.refusals:
            record = {**weighed.survey.record, "driver": driver, "at": at, "by": by}
            await self.journal.adopt(driver, record)
        return weighed.as_json()

    async def weigh(self, driver: DriverName, allow: Collection[str]) -> Adoption:
        """Return what adopting would record and lead to; changes nothing."""
        name, part = self._part(driver)
        first = await self.reconciler.preview(allow=allow)
        _raise_obstacle(first)
        assert first.desired is not None
        if name not in first.desired.values:
            message = f"no document gives {name} a value: confsync adopt {driver} --draft"
            raise NotOwned(f"{driver} cannot be adopted, {message} prints one")
        survey = await part.driver.survey(first.desired.values[name])
        if survey.record is None:
            raise NotOwned(f"{driver} cannot be adopted: {survey.problem}")
        self.reconciler.adopting = {driver: survey.record}
        try:
            found = await self.reconciler.preview(allow=allow)
        finally:
            self.reconciler.adopting = {}
        _raise_obstacle(found)
        against = [r for r in _against(found, survey, driver) if f"{r.rule}:{r.place}" not in allow]
        return Adoption(survey, replace(found, refusals=(*found.refusals, *against)))

    def _part(self, driver: DriverName) -> tuple[SectionName, Part]:
        for name, part in self.parts.items():
            if part.driver.name == driver:
                return name, part
        raise HostBusy(f"driver {driver} is not enabled on this host")


def _raise_obstacle(found: Pass) -> None:
    """Raise what kept a pass from its plan."""
    if found.violations:
        raise InvalidConfig(found.violations)
    if obstacle := found.failure or (found.fault if found.plan is None else None):
        raise obstacle
    if found.plan is None:
        raise NotOwned("nothing is desired yet: publish a document first, it may be our draft")


def _against(found: Pass, survey: Survey, driver: DriverName) -> Iterator[PlanRefused]:
    """Yield what an operator must allow by name before a live host may be taken over."""
    if survey.lost:
        told = "; ".join(survey.lost)
        yield PlanRefused("lost", driver, f"no document can say this, it would be lost: {told}")
    for item in found.plan.differences if found.plan else ():
        if item.impact is not Impact.HITLESS:
            yield PlanRefused("reset", item.path, f"the first plan has {item.impact}: {item}")
