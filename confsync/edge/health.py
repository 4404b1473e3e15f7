"""What probes and health readers are told, from a Status alone.

Separate from `http` because it is pure: the truth table's meaning in the words of each reader.
Invariant: readiness and health agree with the state's row of the table for every state.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from confsync import __version__
from confsync.model.ids import Json, canonical, digest
from confsync.model.status import TRUTH, AgentState, Health, SiteStatus, Status

TAG_CHARS: Final = 32


class Finding(NamedTuple):
    """One line of a verbose probe."""

    name: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"[{'+' if self.ok else '-'}]{self.name} {self.text}"


def readiness(status: Status, lag_s: float | None = None) -> tuple[Finding, ...]:
    """Return what readiness consists of; the node is ready when all of it is ok.

    `lag_s` = the oldest knowledge of the source that the asker accepts (None = any).
    """
    age = status.source.age_s
    lags = lag_s is not None and (age is None or age > lag_s)
    starting = status.state is AgentState.STARTING
    halted = status.state is AgentState.HALTED
    problems = [f"{name}: {d.problem}" for name, d in status.drivers.items() if d.problem]
    return (
        Finding("config", not starting, "no full pass yet" if starting else "ok"),
        Finding("tx", not halted, f"halted: {status.reason}" if halted else "ok"),
        Finding("source", not lags, _knowledge(status)),
        Finding("drivers", True, "warn: " + "; ".join(problems) if problems else "ok"),
        *_site(status),
        *_broker(status),
    )


def _site(status: Status) -> tuple[Finding, ...]:
    """Return how the site stands that this node acts for: told, and never a reason."""
    work = status.site_work
    if work is None or not work.holds:
        return ()
    why = f": {work.reason}" if work.reason else ""
    fine = _word(work) is Health.PASS
    return (Finding("site", True, f"ok, {work.state}" if fine else f"warn: {work.state}{why}"),)


def _word(work: SiteStatus) -> Health:
    """Return what a site's state is to the health of a node: a warning at most."""
    fine = TRUTH[AgentState(work.state)].health is Health.PASS
    return Health.PASS if fine else Health.WARN


def _broker(status: Status) -> tuple[Finding, ...]:
    """Return what a broker is to readiness: told, and never a reason."""
    told = f"warn: {status.broker}" if status.broker else "ok"
    return () if status.broker is None else (Finding("mqtt", True, told),)


def _knowledge(status: Status) -> str:
    age = status.source.age_s
    told = "never answered" if age is None else f"last answer {age:.0f} s ago"
    return f"warn: {status.source.problem}, {told}" if status.source.problem else f"ok, {told}"


def health_document(status: Status) -> Json:
    """Return the health document.

    Source: draft-inadarei-api-health-check-06; `health` is the fixed word that probes look for.
    """
    lamps = status.lamps
    last_contact = {
        "componentType": "datastore",
        "observedValue": None if status.source.age_s is None else round(status.source.age_s),
        "observedUnit": "s",
        "status": Health.WARN if status.source.problem else Health.PASS,
        "time": status.source.last_success_at,
    }
    checks: dict[str, Json] = {f"{status.source.name}:lastContact": [last_contact]}
    for name, driver in status.drivers.items():
        word = Health.WARN if driver.problem else Health.PASS
        checks[f"{name}:driver"] = [{"componentType": "component", "status": word}]
    if (work := status.site_work) and work.holds:
        checks["site:state"] = [
            {"componentType": "component", "observedValue": work.state, "status": _word(work)}
        ]
    if status.broker is not None:
        word = Health.WARN if status.broker else Health.PASS
        checks["mqtt:broker"] = [{"componentType": "component", "status": word}]
    return {
        "status": lamps.health,
        "health": "false" if lamps.health is Health.FAIL else "true",
        "releaseId": __version__,
        "serviceId": status.node,
        "notes": [status.reason] if status.reason else [],
        "checks": checks,
    }


def entity_tag(status: Status) -> str:
    """Return a tag that changes when anything but the age of our knowledge does."""
    record = status.as_json()
    record["source"] = status.source.problem
    return digest(canonical(record))[:TAG_CHARS]
