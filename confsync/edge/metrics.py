"""The agent's metric families, fed from nothing but Status and Event.

Separate so that names, labels and buckets stand in one place. Invariant: labels are closed sets,
each known series exists from the start, and no peer, key, revision or text is ever a label.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from confsync import __version__
from confsync.edge.mqtt import MqttStats
from confsync.model.section import Scope
from confsync.model.status import (
    RECONCILE_RESULTS,
    AgentState,
    Event,
    EventType,
    SiteStatus,
    Status,
)

DRIVERS: Final = ("lvm", "felix", "bird", "calico")
FAMILIES: Final = ("ipv4", "ipv6")
LEVELS: Final = ("debug", "info", "warning", "error")
CAUSES: Final = ("verify", "timeout", "operator", "error")
GUARDS: Final = ("empty_prefix", "mass_delete", "peer_loss", "rate", "shrink")
REASONS: Final = ("syntax", "schema", "policy", "semantic")
PHASES: Final = ("plan", "apply", "verify", "rollback")
CONSUL_OPS: Final = ("watch", "txn", "write", "read")
CONSUL_CODES: Final = ("200", "403", "404", "409", "500", "error")
MQTT_KINDS: Final = ("online", "state", "event")
MQTT_RESULTS: Final = ("sent", "failed", "dropped")
SPANS_S: Final = (0.01, 0.1, 1.0, 10.0, 60.0)
LAGS_S: Final = (0.001, 0.01, 0.1, 1.0, 10.0)

_TRANSACTIONS: Final = {
    EventType.APPLY_COMMITTED: "committed",
    EventType.APPLY_ROLLED_BACK: "rolled_back",
    EventType.APPLY_HALTED: "halted",
    EventType.APPLY_REFUSED: "refused",
}


class Metrics:
    """All families in a registry of their own."""

    def __init__(self, site: str, role: str, revision: str = "") -> None:
        # A `_created` series beside each counter would double the number of series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._counted: dict[tuple[str, str], int] = {}
        ProcessCollector(registry=self.registry)
        self._describe(site, role, revision)
        self._make_gauges()
        self._make_site()
        self._make_counters()
        self._make_histograms()

    def _describe(self, site: str, role: str, revision: str) -> None:
        build = {"version": __version__, "revision": revision}
        build["python"] = platform.python_version()
        self._constant("build", "The program that runs.", build)
        self._constant("node", "Where this node stands.", {"site": site, "role": role})

    def _constant(self, name: str, text: str, labels: Mapping[str, str]) -> None:
        Info(f"confsync_{name}", text, registry=self.registry).info(dict(labels))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"confsync_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, **series: Iterable[str]) -> Counter:
        counter = Counter(f"confsync_{name}", text, tuple(series), registry=self.registry)
        _initialise(counter, series)
        return counter

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], **series: Iterable[str]
    ) -> Histogram:
        made = Histogram(
            f"confsync_{name}", text, tuple(series), registry=self.registry, buckets=buckets
        )
        _initialise(made, series)
        return made

    def _make_gauges(self) -> None:
        self._state = Enum(
            "confsync_state",
            "1 for the current state.",
            states=[str(state) for state in AgentState],
            registry=self.registry,
        )
        self._state.state(AgentState.STARTING)
        gauge = self._gauge
        self._halted = gauge("halted", "1 if no write happens until an operator resumes.")
        self._frozen = gauge("frozen", "1 if an operator holds this node.")
        self._pending = gauge("pending", "1 if a newer revision waits.")
        self._desired = gauge("desired_sequence", "Change number that is known here.")
        self._applied = gauge("applied_sequence", "Change number that is verified here.")
        self._desired_at = gauge(
            "desired_change_timestamp_seconds", "When the desired change was first seen."
        )
        self._applied_at = gauge(
            "last_apply_success_timestamp_seconds", "When a change was last verified."
        )
        self._pass_at = gauge("last_reconcile_timestamp_seconds", "When the last pass ended.")
        self._open = gauge("transaction_in_progress", "1 if a transaction is open.")
        self._invalid = gauge("validation_errors", "Faults in the newest revision.")
        self._drift = gauge("drift_items", "Items that differ from what was applied.", "driver")
        self._consul_up = gauge("consul_up", "1 if the source answers.")
        self._consul_at = gauge(
            "consul_last_success_timestamp_seconds", "When the source was last read."
        )
        self._mqtt_up = gauge("mqtt_connected", "1 if the broker hears us.")
        self._mqtt_queued = gauge("mqtt_queue_messages", "Events that wait for the broker.")
        self._driver_up = gauge("driver_up", "1 if the subsystem answers.", "driver")
        self._sessions = gauge("bgp_sessions", "BGP sessions by state.", "family", "state")
        self._expected = gauge("bgp_sessions_expected", "BGP sessions that should be up.", "family")
        self._reload_ok = gauge(
            "config_last_reload_successful", "1 if the agent's settings were accepted."
        )
        self._reload_at = gauge(
            "config_last_reload_success_timestamp_seconds", "When they were last accepted."
        )
        _initialise(self._sessions, {"family": FAMILIES, "state": ("up", "down")})
        _initialise(self._expected, {"family": FAMILIES})

    def _make_site(self) -> None:
        """Make what one agent tells of its whole site, and others leave at 0.

        Why no Enum: one of its states is always lit, and whoever acts for no site knows none.
        """
        gauge = self._gauge
        self._site_held = gauge("site_lease_held", "1 if this agent acts for its site.")
        self._site_state = gauge(
            "site_state", "1 for the site's state, where this agent acts.", "confsync_site_state"
        )
        self._site_desired = gauge("site_desired_sequence", "Change number wanted of the site.")
        self._site_applied = gauge("site_applied_sequence", "Change number verified for the site.")
        self._site_drift = gauge("site_drift_items", "Site items that are not as applied.")
        self._site_transactions = self._counter(
            "site_transactions_total",
            "The site's transactions that ended by this agent.",
            result=_TRANSACTIONS.values(),
        )
        _initialise(self._site_state, {"confsync_site_state": AgentState})

    def _make_counters(self) -> None:
        counter = self._counter
        self._passes = counter("reconciles_total", "Passes.", result=RECONCILE_RESULTS)
        self._transactions = counter(
            "transactions_total", "Transactions that ended.", result=_TRANSACTIONS.values()
        )
        self._steps = counter(
            "steps_total",
            "Steps that were executed.",
            driver=DRIVERS,
            op=("apply", "undo", "commit"),
            result=("ok", "failed"),
        )
        self._rollbacks = counter("rollbacks_total", "Roll-backs that began.", cause=CAUSES)
        self._rejections = counter(
            "validation_rejections_total", "Invalid revisions.", reason=REASONS
        )
        self._guards = counter("guard_blocks_total", "Changes stopped by a guard.", guard=GUARDS)
        self._requests = counter(
            "consul_requests_total", "Requests to Consul.", op=CONSUL_OPS, code=CONSUL_CODES
        )
        self._mqtt_reconnects = counter("mqtt_reconnects_total", "Connections to the broker lost.")
        self._mqtt_messages = counter(
            "mqtt_messages_total", "Messages for the broker.", kind=MQTT_KINDS, result=MQTT_RESULTS
        )
        self._lines = counter("log_messages_total", "Log lines.", level=LEVELS)

    def _make_histograms(self) -> None:
        self._lag = self._histogram(
            "event_loop_lag_seconds", "Scheduling delay of a one-second tick.", LAGS_S
        )
        self._propagation = self._histogram(
            "propagation_seconds", "From a change written to the change verified.", SPANS_S
        )
        self._pass_time = self._histogram(
            "reconcile_duration_seconds", "Time of one pass.", SPANS_S
        )
        self._phase_time = self._histogram(
            "transaction_duration_seconds", "Time per phase.", SPANS_S, phase=PHASES
        )

    def observe(self, status: Status, enabled: Collection[str] = ()) -> None:
        """Set every gauge that is a view of the status.

        Shape: `enabled` names this host's drivers; one that is not shown does not answer.
        """
        self._state.state(status.state)
        self._halted.set(status.state is AgentState.HALTED)
        self._frozen.set(bool(status.frozen_by))
        self._pending.set(status.desired != status.applied)
        self._open.set(status.state is AgentState.APPLYING)
        self._desired.set(status.desired.change if status.desired else 0)
        self._applied.set(status.applied.change if status.applied else 0)
        self._consul_up.set(not status.source.problem)
        self._consul_at.set(_timestamp(status.source.last_success_at))
        self._observe_drivers(status, enabled)
        self._observe_site(status.site_work or SiteStatus())

    def _observe_drivers(self, status: Status, enabled: Collection[str]) -> None:
        """Show the drivers of this host and no other: a 0 says that one does not answer."""
        self._driver_up.clear()
        self._drift.clear()
        for family in FAMILIES:
            self._expected.labels(family).set(0)
            self._sessions.labels(family, "up").set(0)
            self._sessions.labels(family, "down").set(0)
        for name in (name for name in DRIVERS if name in enabled):
            self._driver_up.labels(name).set(0)
            self._drift.labels(name).set(0)
        for name, driver in status.drivers.items():
            if name not in DRIVERS:
                continue
            self._driver_up.labels(name).set(driver.ownership != "absent")
            self._drift.labels(name).set(driver.drift)
            for family in FAMILIES:
                count = driver.sessions.get(family, {})
                self._expected.labels(family).inc(count.get("expected", 0))
                self._sessions.labels(family, "up").inc(count.get("up", 0))
                self._sessions.labels(family, "down").inc(count.get("down", 0))

    def _observe_site(self, site: SiteStatus) -> None:
        self._site_held.set(site.holds)
        for state in AgentState:
            self._site_state.labels(state).set(site.holds and site.state == state)
        self._site_desired.set(site.desired or 0)
        self._site_applied.set(site.applied or 0)
        self._site_drift.set(site.drift)

    def count(self, event: Event) -> None:
        """Take note of one event; a type that is no metric is ignored.

        Why a site's step counts with all others: its driver is no host's, and tells them apart.
        """
        fields: Mapping[str, Any] = event.fields
        if fields.get("scope") == Scope.SITE and event.type != EventType.STEP_DONE:
            if event.type in _TRANSACTIONS:
                self._site_transactions.labels(_TRANSACTIONS[EventType(event.type)]).inc()
            return
        if event.type in _TRANSACTIONS:
            self._transaction(EventType(event.type), fields)
            return
        match event.type:
            case EventType.CHANGE_SEEN:
                self._desired_at.set_to_current_time()
            case EventType.RECONCILED:
                self._passes.labels(_known(fields.get("result"), RECONCILE_RESULTS)).inc()
                self._pass_time.observe(fields.get("took_s", 0.0))
                self._pass_at.set_to_current_time()
                if fields.get("result") != "rejected":
                    self._invalid.set(0)
            case EventType.PHASE_DONE:
                self._phase_time.labels(_known(fields["phase"], PHASES)).observe(fields["took_s"])
            case EventType.STEP_DONE:
                names = (str(fields[key]) for key in ("driver", "op", "result"))
                self._steps.labels(*names).inc()
            case EventType.VALIDATION_REJECTED:
                self._rejections.labels(_known(fields.get("reason"), REASONS)).inc()
                self._invalid.set(fields.get("errors", 1))
            case EventType.GUARD_BLOCKED:
                self._guards.labels(_known(fields.get("guard"), GUARDS)).inc()
            case EventType.SETTINGS_LOADED:
                self._reload_ok.set(1)
                self._reload_at.set_to_current_time()
            case EventType.SETTINGS_REJECTED:
                self._reload_ok.set(0)

    def _transaction(self, type_: EventType, fields: Mapping[str, Any]) -> None:
        self._transactions.labels(_TRANSACTIONS[type_]).inc()
        if type_ is EventType.APPLY_COMMITTED:
            self._applied_at.set_to_current_time()
            if "propagation_s" in fields:
                self._propagation.observe(fields["propagation_s"])
        elif type_ is not EventType.APPLY_REFUSED:
            self._rollbacks.labels(_known(fields.get("cause"), CAUSES)).inc()

    def requests(self, so_far: Mapping[tuple[str, str], int]) -> None:
        """Bring the counters of requests up to what the source has counted."""
        for (op, code), count in so_far.items():
            labels = (_known(op, CONSUL_OPS), _known(code, CONSUL_CODES))
            new = count - self._counted.get((op, code), 0)
            self._requests.labels(*labels).inc(max(new, 0))
            self._counted[op, code] = count

    def mqtt(self, stats: MqttStats | None) -> None:
        """Bring everything about the broker up to what its adapter has counted; None = off."""
        if stats is None:
            return
        self._mqtt_up.set(stats.connected)
        self._mqtt_queued.set(stats.queued)
        self._grow(self._mqtt_reconnects, ("mqtt", ""), stats.reconnects)
        for (kind, result), count in stats.messages.items():
            series = self._mqtt_messages.labels(kind, result)
            self._grow(series, (kind, result), count)

    def _grow(self, counter: Counter, key: tuple[str, str], count: int) -> None:
        """Bring a counter up to a count; one that begins anew adds from there."""
        before = self._counted.get(key, 0)
        counter.inc(count - before if count >= before else count)
        self._counted[key] = count

    def log_line(self, level: str) -> None:
        """Count one line of the log."""
        self._lines.labels(_known(level, LEVELS)).inc()

    def loop_lag(self, lag_s: float) -> None:
        """Note how late a tick came."""
        self._lag.observe(max(lag_s, 0.0))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type, as the scraper prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def _initialise(metric: Any, series: Mapping[str, Iterable[str]]) -> None:
    """Make each known series exist, at 0."""
    combinations: list[tuple[str, ...]] = [()]
    for values in series.values():
        choices = tuple(values)
        combinations = [(*head, value) for head in combinations for value in choices]
    for labels in combinations:
        if labels:
            metric.labels(*labels)


def _known(value: Any, known: tuple[str, ...]) -> str:
    """Return the label, or the last known one: a surprise must not open a new series.

    Why: the last word of each set is its most general one.
    """
    return value if value in known else known[-1]


def _timestamp(at: str) -> float:
    return datetime.fromisoformat(at).timestamp() if at else 0.0
