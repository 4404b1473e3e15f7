"""A site's policy where everybody has just the rights of config/consul, at an agent's own pace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.calico import Calico
from tests.lab.sites import Sites
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.sites.node import Node

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]

PREFIX = "confsync/v1"


def acting(nodes: list[Node]) -> Node | None:
    return next((node for node in nodes if node.status()["site_work"]["holds"]), None)


def in_sync(actor: Node, change: int) -> Any:
    """Wait until the site is as a change wants it; return what is told of it."""

    def there() -> Any:
        work = actor.status()["site_work"]
        return work if (work["state"], work["applied"]) == ("in-sync", change) else None

    return wait_until("all have reported", there, timeout_s=120)


def test_a_push_becomes_the_sites_policy_once_all_nodes_report_after_it(lab: Lab) -> None:
    """The first tree of the lab has a `calico` document; the second one is judged by both nodes."""
    calico = Calico(lab.folder / "calico")
    drivers = {"calico": {"enabled": True, "calicoctl": str(calico.program), "config_file": ""}}
    sites = Sites(lab, sites=1, settings={"drivers": drivers})
    nodes = list(sites.nodes.values())
    actor = wait_until("one acts", lambda: acting(nodes), timeout_s=60)
    in_sync(actor, 1)
    assert ["create GlobalNetworkSet(ula)", "create GlobalNetworkPolicy(ssh-from-inside)"] == (
        calico.writes
    )
    kv = sites.home.consul.servers[0].kv
    wait_until("both report", lambda: len(kv.keys(f"{PREFIX}/report/")) == len(nodes))
    sessions = {node.name: node.bird.sessions() for node in nodes}
    found = {key: kv.entry(key) for key in kv.keys(f"{PREFIX}/report/")}
    sites.write("sites/bgo/common/calico/globalnetworksets/lan", '{"nets": ["10.0.0.0/8"]}')
    change = sites.publish("one more set")
    last = in_sync(actor, change)["last_transaction"]
    assert "committed" == last["outcome"]
    assert last["took_ms"] > 5_000, "not before the change had its time to take effect"
    assert "create GlobalNetworkSet(lan)" == calico.writes[-1]
    for key, before in found.items():
        now = kv.entry(key)
        assert before, key
        assert now, key
        assert now["ModifyIndex"] > before["ModifyIndex"]
    assert sessions == {node.name: node.bird.sessions() for node in nodes}, "no node felt it"

    def told() -> Any:
        return json.loads(kv.get(f"{PREFIX}/site/report") or b"{}")

    wait_until(
        "the site reports it", lambda: (told()["state"], told()["applied"]) == ("in-sync", change)
    )
