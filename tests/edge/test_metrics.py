from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from confsync.edge.metrics import Metrics
from confsync.model.ids import Digest, DriverName
from confsync.model.status import (
    AgentState,
    DriverStatus,
    Event,
    EventType,
    Mark,
    SiteStatus,
    SourceStatus,
)
from tests.edge.surface import FakeAgent

FAMILIES = {
    "build_info", "node_info", "state", "halted", "frozen", "pending", "event_loop_lag_seconds",
    "desired_sequence", "applied_sequence", "desired_change_timestamp_seconds",
    "last_apply_success_timestamp_seconds", "last_reconcile_timestamp_seconds",
    "propagation_seconds", "reconciles_total", "reconcile_duration_seconds",
    "transactions_total", "transaction_duration_seconds", "transaction_in_progress",
    "steps_total", "rollbacks_total", "validation_errors", "validation_rejections_total",
    "guard_blocks_total", "drift_items", "consul_up", "consul_last_success_timestamp_seconds",
    "consul_requests_total", "driver_up", "bgp_sessions",
    "bgp_sessions_expected", "config_last_reload_successful",
    "config_last_reload_success_timestamp_seconds", "log_messages_total",
    "site_lease_held", "site_state", "site_desired_sequence", "site_applied_sequence",
    "site_drift_items", "site_transactions_total",
    "mqtt_connected", "mqtt_messages_total", "mqtt_queue_messages", "mqtt_reconnects_total",
}  # fmt: skip


@pytest.fixture
def metrics():
    return Metrics("bgo", "compute")


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"confsync_{name}", labels)


def test_every_family_is_there_from_the_start_and_no_other(metrics):
    text = metrics.render("")[0].decode()
    found = set(re.findall(r"^# TYPE confsync_(\w+) ", text, re.MULTILINE))
    assert FAMILIES == found


def test_known_series_start_at_zero_and_are_few(metrics):
    text = metrics.render("")[0].decode()
    lines = [line for line in text.splitlines() if line.startswith("confsync_")]
    assert len(lines) < 200
    assert 0.0 == value(metrics, "transactions_total", result="rolled_back")
    assert 0.0 == value(metrics, "guard_blocks_total", guard="mass_delete")
    assert 0.0 == value(metrics, "bgp_sessions", family="ipv6", state="up")


def test_every_state_is_a_series_and_one_is_set(metrics):
    agent = FakeAgent()
    for state in AgentState:
        agent.show(state=state)
        metrics.observe(agent.now)
        lit = {s: value(metrics, "state", confsync_state=s) for s in AgentState}
        assert {s: float(s == state) for s in AgentState} == lit
        assert float(state == "halted") == value(metrics, "halted")
        assert float(state == "applying") == value(metrics, "transaction_in_progress")


def test_the_status_sets_the_gauges(metrics):
    agent = FakeAgent()
    bird = DriverStatus(
        "owned",
        drift=3,
        sessions={"ipv4": {"up": 1, "down": 1, "expected": 2}, "ipv6": {"up": 2, "expected": 2}},
    )
    agent.show(
        desired=Mark(420, Digest("b" * 64)),
        frozen_by="lars",
        drivers={DriverName("bird"): bird, DriverName("unheard-of"): bird},
        source=SourceStatus("consul", "2026-11-22T10:00:04+00:00", 1.0, "no leader"),
    )
    metrics.observe(agent.now, ["bird"])
    assert 420 == value(metrics, "desired_sequence")
    assert 419 == value(metrics, "applied_sequence")
    assert 1 == value(metrics, "pending")
    assert 1 == value(metrics, "frozen")
    assert 0 == value(metrics, "consul_up")
    assert 1795341604 == value(metrics, "consul_last_success_timestamp_seconds")
    assert 3 == value(metrics, "drift_items", driver="bird")
    assert 1 == value(metrics, "driver_up", driver="bird")
    assert 1 == value(metrics, "bgp_sessions", family="ipv4", state="down")
    assert 2 == value(metrics, "bgp_sessions_expected", family="ipv4")
    metrics.observe(FakeAgent().now)
    assert 0 == value(metrics, "bgp_sessions", family="ipv6", state="up")
    assert 0 == value(metrics, "pending")


def test_a_driver_that_is_enabled_and_not_shown_is_down_and_others_are_no_series(metrics):
    def shown(name):
        return {d: value(metrics, name, driver=d) for d in ("lvm", "felix", "bird", "calico")}

    agent = FakeAgent()
    drivers = {DriverName("felix"): DriverStatus("owned", drift=2)}
    drivers[DriverName("lvm")] = DriverStatus("absent", "no vgs")
    agent.show(drivers=drivers)
    metrics.observe(agent.now, ["lvm", "felix", "bird"])
    assert {"lvm": 0, "felix": 1, "bird": 0, "calico": None} == shown("driver_up")
    assert {"lvm": 0, "felix": 2, "bird": 0, "calico": None} == shown("drift_items")
    agent.show(drivers={})
    metrics.observe(agent.now, ["felix"])
    assert {"lvm": None, "felix": 0, "bird": None, "calico": None} == shown("driver_up")
    assert {"lvm": None, "felix": 0, "bird": None, "calico": None} == shown("drift_items")


def test_a_site_is_shown_by_the_agent_that_acts_for_it_only(metrics):
    agent = FakeAgent()

    def lit():
        states = {s: value(metrics, "site_state", confsync_site_state=s) for s in AgentState}
        return {state for state, one in states.items() if one}

    work = SiteStatus(holds=True, state="halted", desired=7, applied=6, drift=2)
    agent.show(site_work=work)
    metrics.observe(agent.now)
    assert (1, {"halted"}) == (value(metrics, "site_lease_held"), lit())
    numbers = ("site_desired_sequence", "site_applied_sequence", "site_drift_items")
    assert [7, 6, 2] == [value(metrics, name) for name in numbers]
    assert 0 == value(metrics, "halted"), "the node is not"
    for another in (SiteStatus(), None):
        agent.show(site_work=another)
        metrics.observe(agent.now)
        assert (0, set()) == (value(metrics, "site_lease_held"), lit())
        assert [0, 0, 0] == [value(metrics, name) for name in numbers]


def counted(metrics):
    """Return every series of a counter or a histogram that is not at 0, without the clock's."""
    lines = (line.split() for line in metrics.render("")[0].decode().splitlines())
    names = ("_total", "_count", "_errors")
    return {
        line[0]
        for line in lines
        if line[0].startswith("confsync_") and line[0].split("{")[0].endswith(names)
        if float(line[-1])
    }


def test_an_event_of_a_site_is_not_counted_as_the_nodes(metrics):
    fields = {
        "took_s": 0.5, "result": "ok", "cause": "verify", "driver": "calico", "op": "apply",
        "phase": "verify", "reason": "schema", "guard": "shrink", "scope": "site",
    }  # fmt: skip
    for type_ in EventType:
        metrics.count(Event(type_, fields))
    words = ("committed", "rolled_back", "halted", "refused")
    ended = {f'confsync_site_transactions_total{{result="{word}"}}' for word in words}
    step = 'confsync_steps_total{driver="calico",op="apply",result="ok"}'
    assert {*ended, step} == counted(metrics)


@pytest.mark.parametrize(
    ("event", "name", "labels"),
    [
        ("apply.committed", "transactions_total", {"result": "committed"}),
        ("apply.rolled_back", "transactions_total", {"result": "rolled_back"}),
        ("apply.rolled_back", "rollbacks_total", {"cause": "verify"}),
        ("apply.halted", "transactions_total", {"result": "halted"}),
        ("apply.refused", "transactions_total", {"result": "refused"}),
        ("reconcile.done", "reconciles_total", {"result": "applied"}),
        ("step.done", "steps_total", {"driver": "bird", "op": "apply", "result": "ok"}),
        ("transaction.phase", "transaction_duration_seconds_count", {"phase": "verify"}),
        ("validation.rejected", "validation_rejections_total", {"reason": "schema"}),
        ("guard.blocked", "guard_blocks_total", {"guard": "peer_loss"}),
    ],
)
def test_an_event_counts_once_in_its_series(metrics, event, name, labels):
    fields = {
        "took_s": 0.5, "result": "applied", "cause": "verify", "driver": "bird", "op": "apply",
        "phase": "verify", "reason": "schema", "guard": "peer_loss",
    }  # fmt: skip
    if event == "step.done":
        fields["result"] = "ok"
    metrics.count(Event(event, fields))
    assert 1.0 == value(metrics, name, **labels)


def test_requests_are_brought_up_to_what_the_source_has_counted(metrics):
    labels = {"op": "txn", "code": "403"}
    metrics.requests({("txn", "403"): 2})
    metrics.requests({("txn", "403"): 5, ("watch", "teapot"): 1})
    assert 5.0 == value(metrics, "consul_requests_total", **labels)
    assert 1.0 == value(metrics, "consul_requests_total", op="watch", code="error")


def test_no_event_needs_a_field_and_a_surprise_opens_no_series(metrics):
    before = len(metrics.render("")[0].splitlines())
    for type_ in EventType:
        if type_ not in {EventType.PHASE_DONE, EventType.STEP_DONE}:
            metrics.count(Event(type_))
            metrics.count(Event(type_, {"reason": "10.0.0.1", "cause": "x", "guard": "y"}))
    metrics.count(Event("never.heard.of"))
    metrics.log_line("critical")
    assert before == len(metrics.render("")[0].splitlines())


def test_rejected_documents_are_a_gauge_until_a_pass_accepts(metrics):
    metrics.count(Event(EventType.VALIDATION_REJECTED, {"reason": "schema", "errors": 4}))
    metrics.count(Event(EventType.RECONCILED, {"result": "rejected", "took_s": 0.1}))
    assert 4 == value(metrics, "validation_errors")
    metrics.count(Event(EventType.RECONCILED, {"result": "unchanged", "took_s": 0.1}))
    assert 0 == value(metrics, "validation_errors")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("text/plain", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_scraper_chooses_the_format(metrics, accept, content_type):
    body, found = metrics.render(accept)
    assert found.startswith(content_type)
    assert body.endswith(b"# EOF\n") == ("openmetrics" in content_type)


def test_the_text_parses(metrics):
    names = {f.name for f in text_string_to_metric_families(metrics.render("")[0].decode())}
    assert "confsync_state" in names
