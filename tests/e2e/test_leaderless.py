"""Three real Consul servers lose their leader: the host keeps what it runs, and says why."""

from __future__ import annotations

import pytest

from tests.lab import Lab
from tests.lab.site import Site
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root


def test_servers_without_a_leader_change_nothing(lab: Lab) -> None:
    """The agent asks a follower: its blocking queries break with the leader."""
    cluster = lab.consul_cluster()
    leader = cluster.wait_leader()
    ours, other = (one for one in cluster.servers if one is not leader)
    source = {"source": {"consul": {"address": ours.url}}}
    site = Site(lab, consul=ours, bfd=False, settings=source)
    site.start()
    before = (site.render(), site.near.config.read_bytes(), site.since())
    for one in (leader, other):
        one.kill()
    # Nobody looks at the host for 90 s: it is the broken watch that wakes.
    wait_until("the outage is told", lambda: site.status()["source"]["problem"], 45)
    assert site.status()["state"] == "in-sync", "not stale before its time"
    for one in (leader, other):
        one.restart()
    cluster.wait_leader()
    wait_until("it is over", lambda: not site.status()["source"]["problem"], 45)
    status = site.wait_state("in-sync")
    assert status["last_transaction"]["id"] == 1
    assert (site.render(), site.near.config.read_bytes(), site.since()) == before
    change = site.push(site.document(announce={"two": "198.51.100.0/24"}))
    site.wait_state("in-sync", change=change)
