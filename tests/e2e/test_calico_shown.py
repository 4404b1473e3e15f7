"""What operators see of a site's resources: at the agent that acts, at others, and from afar."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.test_calico import SETS, Cloud
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.agent import Agent
    from tests.lab.consul import ConsulServer

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

DMZ = {"globalnetworksets": {**SETS["globalnetworksets"], "dmz": {"nets": ["192.0.2.0/24"]}}}


@pytest.fixture
def cloud(lab: Lab, consul_server: ConsulServer) -> Cloud:
    return Cloud(lab, consul_server, agents=2)


def run(agent: Agent, *words: str) -> tuple[int, str]:
    """Return the exit code and the text of a command with an agent's settings."""
    argv = [*agent.command(*words), "--config", str(agent.config)]
    done = subprocess.run(
        argv, env=agent.env, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def series(agent: Agent) -> dict[str, float]:
    """Return an agent's metrics by name and labels, without those at 0."""
    families = text_string_to_metric_families(agent.get("/metrics").body.decode())
    samples = (sample for family in families for sample in family.samples)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for sample in samples
        if sample.value
    }


def journal(cloud: Cloud) -> dict[str, Any]:
    kv = cloud.consul.kv
    return {key: kv.get(key) for key in kv.keys("confsync/v1/site/journal/")}


def test_a_site_is_told_by_the_one_that_acts_for_it(cloud: Cloud) -> None:
    cloud.settle(SETS)
    actor = cloud.acting
    other = next(agent for agent in cloud.agents.values() if agent is not actor)
    code, text = run(actor, "status")
    assert (0, True) == (code, "  site      in-sync at #0 (this agent acts for bgo)" in text), text
    assert "  site      another agent acts for bgo" in run(other, "status")[1]
    told, silent = series(actor), series(other)
    assert {
        "confsync_site_lease_held", "confsync_site_state in-sync",
        "confsync_site_transactions_total committed", "confsync_steps_total calico apply ok",
    } <= told.keys()  # fmt: skip
    assert not {name for name in told if name.startswith("confsync_transactions_total")}
    assert not {name for name in silent if name.startswith("confsync_site")}
    cloud.put({"globalnetworksets": {"ula": {"nets": ["fd00::/7"]}}})
    cloud.wait("rejected")
    code, text = run(actor, "status")
    assert (4, True, True) == (code, "IN-SYNC" in text, "site      rejected" in text), text
    assert 0 == run(other, "status")[0], "the other one is not asked for the site"
    check = actor.get("/health").json["checks"]["site:state"][0]
    assert ("rejected", "warn") == (check["observedValue"], check["status"])
    wait_until("it is told", lambda: cloud.report()["state"] == "rejected")
    code, text = run(other, "status", "--sites")
    assert (4, True) == (code, "the site  REJECTED  #0" in text), text
    assert f"({cloud.actor} acts)" in text


def test_any_host_that_may_act_shows_what_would_be_done(cloud: Cloud) -> None:
    cloud.settle(SETS)
    for agent in cloud.agents.values():
        assert (0, "No changes.\nsite bgo:\nNo changes.\n") == run(agent, "plan")
        assert 200 == agent.request("POST", "/v1/pause", {"reason": "INC-1"}).status
    before = journal(cloud)
    cloud.put(DMZ)
    for agent in cloud.agents.values():
        code, text = run(agent, "plan")
        assert (2, True) == (code, "site bgo:\n+ calico.globalnetworksets.dmz" in text), text
    code, text = run(cloud.acting, "plan", "--json")
    assert ["globalnetworksets/dmz"] == [
        step["target"] for step in json.loads(text)["data"]["site"]["steps"]
    ]
    assert before == journal(cloud)
    assert SETS["globalnetworksets"].keys() == cloud.sets().keys()
