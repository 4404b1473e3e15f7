"""The main job on real daemons: a document in, a verified BIRD out, or everything as before."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.site import NODE_KEY, Site
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root


@pytest.fixture(params=[False, True], ids=["ebgp", "ibgp"])
def site(lab: Lab, request: pytest.FixtureRequest) -> Site:
    return Site(lab, ibgp=request.param)


@pytest.fixture
def started(lab: Lab) -> Site:
    made = Site(lab)
    made.start()
    return made


def routes(site: Site) -> set[str]:
    """Return the networks that the far end has learnt from us."""
    lines = [
        line for proto in ("v4", "v6") for line in site.far.bird.ctl(f"show route protocol {proto}")
    ]
    words = (line[5:].split() if line[:4].isdigit() else line.split() for line in lines)
    return {word[0] for word in words if word and "/" in word[0]}


def test_a_change_in_consul_is_run_and_verified(site: Site) -> None:
    status = site.start()
    assert status["drivers"]["bird"]["ownership"] == "owned"
    assert wait_until("routes", lambda: {"192.0.2.0/24", "2001:db8:99::/48"} <= routes(site))

    before = site.since()
    change = site.push(site.document(announce={"two": "198.51.100.0/24"}))
    status = site.wait_state("in-sync", change=change)
    assert status["applied"]["change"] == change
    assert status["last_transaction"]["outcome"] == "committed"
    wait_until("new route", lambda: "198.51.100.0/24" in routes(site))
    assert "192.0.2.0/24" not in routes(site)
    assert site.since() == before, "a hitless change resets nothing"
    assert f'"{site.render()}"' in site.near.config.read_text(), "disk = running"


BAD: dict[str, Any] = {
    "unknown key": {"router_idd": "10.0.0.1"},
    "wrong family": {"announce": {"x": "2001:db8::/129"}},
    "AS 0": {"local_as": 0},
    "injection": {
        "peers": {
            "far": {"ipv4": "10.9.1.2", "asn": 65001, "description": '"; include "/etc/shadow"; #'}
        }
    },
    "long string": {
        "peers": {"far": {"ipv4": "10.9.1.2", "asn": 65001, "description": "x" * 5000}}
    },
}


def test_a_bad_document_never_reaches_bird(started: Site) -> None:
    before, config = started.since(), started.near.config.read_bytes()
    for name, wrong in BAD.items():
        started.put(started.document(**wrong))
        status = started.wait_state("rejected")
        assert "desired/nodes/lab-edge-1/bgp" in status["reason"], name
        started.put(started.document())
        started.wait_state("in-sync")
    assert started.since() == before
    assert started.near.config.read_bytes() == config


def test_a_change_that_breaks_a_session_is_undone(started: Site) -> None:
    render, config = started.render(), started.near.config.read_bytes()
    wrong = started.document()
    wrong["peers"]["far"]["asn"] = 65099
    change = started.push(wrong, "--allow", "all_sessions:*")
    status = started.wait_state("rolled-back", change=change, timeout_s=60)
    assert "far" in status["reason"]
    assert status["applied"]["change"] < change
    assert (started.render(), started.near.config.read_bytes()) == (render, config)
    started.near.wait_established("cs_far_ipv4", "cs_far_ipv6")

    good = started.push(started.document(announce={"one": "192.0.2.0/24"}))
    started.wait_state("in-sync", change=good)


def test_a_refused_guard_names_the_allowance_that_lifts_it(started: Site) -> None:
    before = started.since()
    document = started.document()
    document["peers"]["far"]["hold_s"] = 30
    document["peers"]["far"]["keepalive_s"] = 10
    change = started.push(document)
    status = started.wait_state("rejected", change=change)
    assert "--allow all_sessions:bgp.ipv4" in status["reason"]
    assert started.since() == before
    lifted = started.push(
        document, "--allow", "all_sessions:bgp.ipv4", "--allow", "all_sessions:bgp.ipv6"
    )
    started.wait_state("in-sync", change=lifted)
    assert started.since() != before


def test_an_agent_killed_while_verifying_leaves_the_old_configuration(lab: Lab) -> None:
    site = Site(lab, settings={"drivers": {"bird": {"hold_s": 30.0}}})
    site.agent.settings["drivers"]["bird"]["hold_s"] = 0.3
    site.start()
    render, config = site.render(), site.near.config.read_bytes()
    site.agent.terminate()
    site.agent.settings["drivers"]["bird"]["hold_s"] = 30.0
    site.agent.start()
    change = site.push(site.document(announce={"two": "198.51.100.0/24"}))
    wait_until("the candidate runs", lambda: site.render() != render)
    site.agent.kill()
    assert site.near.config.read_bytes() == config, "the disk is old until the pivot"

    site.agent.settings["drivers"]["bird"]["hold_s"] = 0.3
    site.agent.start()
    status = site.wait_state("in-sync", change=change)
    assert status["last_transaction"]["outcome"] == "committed", "a crash is not its fault"
    assert site.render() != render


def test_plain_writes_are_applied_and_marked_unrecorded(started: Site) -> None:
    started.put(started.document(announce={"two": "198.51.100.0/24"}))
    status = wait_until(
        "the edit", lambda: (s := started.status())["unrecorded"] and s["state"] == "in-sync" and s
    )
    assert status["unrecorded"]
    wait_until("route", lambda: "198.51.100.0/24" in routes(started))


def test_two_hundred_keys_one_by_one_become_one_change(lab: Lab) -> None:
    site = Site(lab, settings={"source": {"quiet_min_s": 1.0, "quiet_max_s": 60.0}})
    site.start()
    before = site.since()
    for number in range(200):
        peer = {"ipv4": f"10.99.{number}.2", "asn": 65001, "required": False}
        site.put(json.dumps(peer), f"{NODE_KEY}/peers/p{number}")
    wait_until("all peers", lambda: len(site.near.sessions()) == 202, timeout_s=60)
    status = site.wait_state("in-sync")
    assert status["unrecorded"]
    assert status["last_transaction"]["id"] == 2, "one transaction for all of them"
    assert {name: site.since()[name] for name in before} == before


def test_sigterm_while_verifying_undoes_and_ends_in_time(lab: Lab) -> None:
    site = Site(lab)
    site.start()
    render = site.render()
    site.agent.terminate()
    site.agent.settings["drivers"]["bird"]["hold_s"] = 60.0
    site.agent.start()
    site.push(site.document(announce={"two": "198.51.100.0/24"}))
    wait_until("the candidate runs", lambda: site.render() != render)
    site.agent.send(signal.SIGTERM)
    assert site.agent.running.wait(30) == 0
    assert site.render() == render
    assert not list(site.near.config.parent.glob("*confsync*")), "nothing is left beside the file"


def test_a_cold_start_without_consul_is_ready_from_what_it_knows(started: Site) -> None:
    started.agent.terminate()
    assert started.consul
    started.consul.kill()
    started.agent.start(timeout_s=10)
    status = started.status()
    assert status["state"] == "in-sync"
    wait_until("the outage is known", lambda: started.status()["source"]["problem"])
    assert status["applied"]["change"] == 1
