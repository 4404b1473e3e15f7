"""A whole site comes back at once: three Consul servers, and every agent, in no order at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import Lab
from tests.lab.sites import Sites
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sites.node import Node

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

ADDED = "198.51.100.0/24"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield Sites(lab, servers=3, tls=True)


def sessions(sites: Sites) -> dict[str, dict[str, Any]]:
    return {
        node.name: {name: one.since for name, one in node.bird.sessions().items()}
        for node in sites.nodes.values()
    }


def transactions(nodes: list[Node]) -> list[int]:
    return [node.status()["last_transaction"]["id"] for node in nodes]


def kill(sites: Sites, *patterns: str) -> None:
    for pattern in patterns:
        for daemon in sites.matching(pattern):
            daemon.kill()


def start(sites: Sites, *patterns: str) -> None:
    for pattern in patterns:
        for daemon in sites.matching(pattern):
            daemon.start()


def announce(sites: Sites, node: Node) -> int:
    """Let a node announce one more network."""
    document = node.document()
    document["announce"]["more"] = ADDED
    sites.write(f"nodes/{node.name}/bgp", json.dumps(document))
    return sites.publish(f"one more network of {node.name}")


def test_consul_and_agents_start_at_once_and_no_session_flaps(cloud: Sites) -> None:
    osl = cloud.sites["osl"].nodes
    before, known = sessions(cloud), transactions(osl)
    kill(cloud, "osl-*/consul", "osl-*/agent")
    change = announce(cloud, osl[0])

    start(cloud, "osl-*/agent", "osl-*/consul")
    for node in osl:
        node.wait_state("in-sync", change=change)
    wait_until("routed", lambda: ADDED in cloud.sites["osl"].gateway.routes(4, "bgp"))
    assert before == sessions(cloud)
    assert [known[0] + 1, known[1]] == transactions(osl), "one, of the host that it concerns"


def test_a_site_that_lost_all_power_runs_what_it_ran(cloud: Sites) -> None:
    osl = cloud.sites["osl"].nodes
    known = transactions(osl)
    files = [node.bird.config.read_bytes() for node in osl]
    kill(cloud, "osl-*")
    for node in osl:
        node.host.ip("route", "flush", "proto", "bird")

    start(cloud, "osl-*")
    for node in osl:
        node.ours.wait_ready(60)
    cloud.sites["osl"].wait_routed()
    assert files == [node.bird.config.read_bytes() for node in osl]
    # Consul is whole again when a later change, of another site's host, has come.
    change = announce(cloud, cloud.home.nodes[0])
    for node in osl:
        node.wait_state("in-sync", change=change)
    assert files == [node.bird.config.read_bytes() for node in osl]
    assert known == transactions(osl)
