"""A site's resources of Calico: one of its agents writes them, all of them are the judges."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.agent import ROOT, Agent
from tests.lab.calico import Calico
from tests.lab.haste import haste
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.consul import ConsulServer

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

PREFIX = "confsync/v1"
KEY = f"{PREFIX}/desired/sites/bgo/common/calico"
SHORT = {
    "REPORT_EVERY_S": 2.0,
    "REPORT_LATE_S": 1.0,
    "SITE_SETTLE_S": 0.5,
    "SITE_LOOK_S": 0.3,
    "SITE_VERIFY_S": 8.0,
    "SITE_RETRY_S": 1.0,
}
"""What a change takes with an agent's own times is shown in test_calico_policies.py."""

SETS = {"globalnetworksets": {"ula": {"nets": ["fd00::/8"]}, "lan": {"nets": ["10.0.0.0/8"]}}}
POLICY = {"globalnetworkpolicies": {"ssh": {"selector": "all()", "ingress": [{"action": "Allow"}]}}}


class Cloud:
    """Some agents of one site without anything else to do, one Consul, one datastore."""

    def __init__(self, lab: Lab, consul: ConsulServer, agents: int = 3) -> None:
        self.consul = consul
        self.calico = Calico(lab.folder / "calico")
        path = haste(lab.folder / "haste", **SHORT)
        drivers = {"calico": {"enabled": True, "calicoctl": str(self.calico.program)}}
        drivers["calico"]["config_file"] = ""
        source = {"kind": "consul", "quiet_min_s": 0.1, "quiet_max_s": 1.0}
        self.agents = {
            f"bgo-compute-{index}": lab.agent(
                {
                    "site": "bgo",
                    "node": f"bgo-compute-{index}",
                    "source": {**source, "consul": {"address": consul.url}},
                    "drivers": drivers,
                    "http": {"listen": ""},
                },
                name=f"agent-{index}",
                start=False,
                env={"PYTHONPATH": f"{path}:{ROOT}"},
            )
            for index in range(1, agents + 1)
        }
        for agent in self.agents.values():
            agent.start(wait=False)
        wait_until("one acts", lambda: self.actor is not None, timeout_s=40)
        for agent in self.agents.values():
            agent.wait_for("/livez")
        wait_until("all report", lambda: agents == len(self.reports()))

    def work(self, agent: Agent) -> Any:
        """Return what an agent says of the site."""
        return agent.get("/api/v1/node").json["site_work"]

    @property
    def actor(self) -> str | None:
        """The agent that acts for the site."""
        for name, agent in self.agents.items():
            try:
                if self.work(agent)["holds"]:
                    return name
            except OSError:
                continue
        return None

    @property
    def acting(self) -> Agent:
        """The agent that acts for the site, waited for."""
        wait_until("one acts", lambda: self.actor is not None, timeout_s=40)
        return self.agents[str(self.actor)]

    def reports(self) -> list[str]:
        return self.consul.kv.keys(f"{PREFIX}/report/bgo/")

    def report(self) -> Any:
        """Return what is told of the site."""
        return json.loads(self.consul.kv.get(f"{PREFIX}/site/report") or b'{"state": ""}')

    def reasons(self) -> str:
        """Return what all agents say of themselves as nodes."""
        nodes = (agent.get("/api/v1/node").json for agent in self.agents.values())
        return " ".join(node["reason"] for node in nodes)

    def asked(self, verb: str) -> int:
        """Return how often calicoctl was called with a verb."""
        return sum(call.argv[0] == verb for call in self.calico.calls)

    def put(self, document: Any, key: str = KEY) -> None:
        self.consul.kv.put(key, json.dumps(document))

    def wait(self, state: str, timeout_s: float = 30) -> Any:
        """Wait until the site is in a state that is about all that was written."""
        return wait_until(
            f"the site is {state}",
            lambda: (work := self.work(self.acting))["state"] == state and work,
            timeout_s,
        )

    def settle(self, document: Any) -> Any:
        """Write a document and wait until its sets stand, and the site says so."""
        want = {name: spec["nets"] for name, spec in document["globalnetworksets"].items()}
        self.put(document)
        wait_until("its sets stand", lambda: self.sets() == want, timeout_s=60)
        return self.wait("in-sync")

    def sets(self) -> dict[str, list[str]]:
        items = self.calico.items("GlobalNetworkSet")
        return {item["metadata"]["name"]: item["spec"]["nets"] for item in items}


@pytest.fixture
def cloud(lab: Lab, consul_server: ConsulServer) -> Cloud:
    return Cloud(lab, consul_server)


def test_one_agent_writes_and_tells_of_it(cloud: Cloud) -> None:
    work = cloud.settle({**SETS, **POLICY})
    assert ["ssh"] == cloud.calico.names("GlobalNetworkPolicy")
    assert "committed" == work["last_transaction"]["outcome"]
    assert 3 == len(cloud.calico.writes), "nobody else wrote"
    others = [agent for agent in cloud.agents.values() if agent is not cloud.acting]
    assert [False, False] == [cloud.work(agent)["holds"] for agent in others]
    wait_until("the site reports it", lambda: cloud.report()["state"] == "in-sync")
    assert cloud.actor == cloud.report()["node"]
    node = cloud.acting.get("/api/v1/node").json
    assert node["last_transaction"] is None, "it is no node's transaction"


def test_what_is_wrong_with_the_site_is_no_nodes_trouble(cloud: Cloud) -> None:
    cloud.put({"globalnetworksets": {"ula": {"nets": ["fd00::/7"]}}})
    assert "fd00::/7" in cloud.wait("rejected")["reason"]
    assert {} == cloud.sets()
    assert "fd00::/7" not in cloud.reasons()
    cloud.settle(SETS)


def test_a_sites_document_that_vanished_is_minded_by_the_site_alone(cloud: Cloud) -> None:
    cloud.settle(SETS)
    cloud.consul.kv.delete(KEY)
    assert "is gone" in cloud.wait("rejected")["reason"]
    assert {"ula", "lan"} == cloud.sets().keys()
    assert "is gone" not in cloud.reasons()


def test_a_sites_document_where_only_some_nodes_read_is_refused(cloud: Cloud) -> None:
    name, agent = next(iter(cloud.agents.items()))
    cloud.put(SETS, f"{PREFIX}/desired/nodes/{name}/calico")
    wait_until(
        "it is told", lambda: "whole site" in agent.get("/api/v1/node").json["reason"], timeout_s=20
    )
    assert {} == cloud.sets()


def test_nodes_that_fall_silent_take_the_change_back(cloud: Cloud) -> None:
    cloud.settle(SETS)
    actor = cloud.acting
    victim = next(agent for agent in cloud.agents.values() if agent is not actor)
    victim.send(signal.SIGSTOP)  # as one that a policy cut off
    try:
        dmz = {"dmz": {"nets": ["192.0.2.0/24"]}}
        cloud.put({"globalnetworksets": {**SETS["globalnetworksets"], **dmz}})
        wait_until("it is written", lambda: "dmz" in cloud.sets())
        work = cloud.wait("rolled-back")
    finally:
        victim.send(signal.SIGCONT)
    assert "no report since the change from" in work["reason"]
    assert SETS["globalnetworksets"].keys() == cloud.sets().keys()
    assert work["last_transaction"]["outcome"] == "rolled-back"
    actor.request("POST", "/v1/retry", {})
    wait_until("it is tried again", lambda: "dmz" in cloud.sets(), timeout_s=20)
    work = cloud.wait("in-sync")
    assert work["last_transaction"]["outcome"] == "committed"


def test_another_agent_ends_what_one_that_died_began(cloud: Cloud) -> None:
    cloud.settle(SETS)
    cloud.calico.faults(hang=True, verbs=["create"])
    name = str(cloud.actor)
    lan = {"lan": {"nets": ["10.0.0.0/9"]}}
    cloud.put({"globalnetworksets": {**SETS["globalnetworksets"], **lan}, **POLICY})
    wait_until("the first half stands", lambda: cloud.sets()["lan"] == ["10.0.0.0/9"])
    wait_until("and the second hangs", lambda: cloud.asked("create") > 2)
    cloud.agents[name].kill()
    cloud.calico.faults()
    began_s = time.monotonic()
    wait_until("another one acts", lambda: cloud.actor not in {None, name}, timeout_s=60)
    wait_until("all stands", lambda: cloud.calico.names("GlobalNetworkPolicy"), timeout_s=60)
    cloud.wait("in-sync")
    took_s = time.monotonic() - began_s
    assert "update GlobalNetworkSet(lan)" == cloud.calico.writes[-3], "first it goes back"
    assert ["ssh"] == cloud.calico.names("GlobalNetworkPolicy")
    assert ["10.0.0.0/9"] == cloud.sets()["lan"]
    assert '"recovered": true' in cloud.acting.log
    assert took_s < 60


def test_an_agent_that_lost_the_lease_stops_before_the_next_object(cloud: Cloud) -> None:
    cloud.calico.faults(latency_s=2.0, verbs=["create"])
    name = str(cloud.actor)
    cloud.put({**SETS, **POLICY})
    wait_until("it writes", lambda: cloud.asked("create"))
    cloud.agents[name].send(signal.SIGSTOP)
    try:
        wait_until("another one acts", lambda: cloud.actor not in {None, name}, timeout_s=90)
        cloud.calico.faults()
        wait_until("all stands", lambda: cloud.calico.names("GlobalNetworkPolicy"), timeout_s=60)
        cloud.wait("in-sync")
        before = len(cloud.calico.writes)
    finally:
        cloud.agents[name].send(signal.SIGCONT)
    wait_until("it knows", lambda: not cloud.work(cloud.agents[name])["holds"], timeout_s=30)
    assert before == len(cloud.calico.writes)
    assert {"ula", "lan"} == cloud.sets().keys()


def test_drift_is_told_object_by_object_and_mended_when_told_to(cloud: Cloud) -> None:
    cloud.settle(SETS)
    item = cloud.calico.get("GlobalNetworkSet", "lan")
    assert item is not None
    cloud.calico.put({**item, "spec": {"nets": ["10.9.0.0/16"]}})
    actor = cloud.acting
    assert 75 == json.loads(actor.request("POST", "/v1/apply", {"allow": []}, 30).body)["exit"]
    work = cloud.wait("drifted")
    assert (1, ["10.9.0.0/16"]) == (work["drift"], cloud.sets()["lan"])
    reply = actor.request("POST", "/v1/apply", {"allow": ["drift:calico"]}, 60)
    assert 200 == reply.status, reply
    assert ["10.0.0.0/8"] == cloud.sets()["lan"]


@pytest.mark.parametrize("order", ["reload", "SIGTERM"])
def test_an_agent_that_is_told_to_end_takes_back_what_is_not_final(
    cloud: Cloud, order: str
) -> None:
    cloud.settle(SETS)
    actor = cloud.acting
    silent = next(agent for agent in cloud.agents.values() if agent is not actor)
    silent.send(signal.SIGSTOP)  # so that the change is not final soon
    try:
        cloud.put({**SETS, **POLICY})
        wait_until("it is written", lambda: cloud.calico.names("GlobalNetworkPolicy"))
        began_s = time.monotonic()
        if order == "reload":
            assert 200 == actor.request("POST", "/v1/reload", {"wait": True}, 60).status
        else:
            actor.terminate()
        took_s = time.monotonic() - began_s
        assert [] == cloud.calico.names("GlobalNetworkPolicy")
    finally:
        silent.send(signal.SIGCONT)
    assert took_s < SHORT["SITE_VERIFY_S"] / 2
    wait_until("it is tried again", lambda: cloud.calico.names("GlobalNetworkPolicy"), timeout_s=60)
    cloud.wait("in-sync")
