"""Why a value is so, asked on a live host: real Consul, real pushes, real BIRD."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.site import Site

pytestmark = pytest.mark.root


@pytest.fixture
def site(lab: Lab) -> Site:
    made = Site(lab, settings={"drift": {"interval_s": 1}, "guard": {"max_removed_peers": 9}})
    made.write({"peer_defaults": {"hold_s": 60}, "peers": {"far": {"asn": 64999}}}, "common/bgp")
    made.start()
    return made


def ask(site: Site, *words: str) -> Any:
    done = site.run("explain", *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["data"]


def test_layers_authors_and_the_live_value_of_a_running_host(site: Site) -> None:
    one = ask(site, "bgp.peers.far.asn")
    words = [(w["layer"], w["value"], w["change"], w["exact"], w["wins"]) for w in one["layers"]]
    assert words == [
        ("common", 64999, 1, True, False),
        ("nodes/lab-edge-1", site.far.asn, 1, True, True),
    ]
    assert one["layers"][1]["why"] == "test"
    assert (one["live"]["value"], one["live"]["problem"]) == (site.far.asn, "")
    assert one["live"]["age_s"] < 60
    inherited = ask(site, "bgp.peers.far.hold_s")
    assert (inherited["value"], inherited["inherits"]) == (60, "bgp.peer_defaults.hold_s")
    assert inherited["live"]["value"] == 60
    assert "hold time 60" in site.near.config.read_text()


def test_a_later_change_is_named_for_what_it_wrote_and_an_edit_is_unrecorded(site: Site) -> None:
    site.push(site.document(announce={"one": "192.0.2.0/24", "two": "198.51.100.0/24"}))
    site.wait_state("in-sync", change=2)
    (word,) = ask(site, "bgp.announce.two")["layers"]
    assert (word["change"], word["exact"]) == (2, True)
    (word,) = ask(site, "bgp.announce.one")["layers"]
    assert (word["change"], word["exact"]) == (1, True), "#2 left it as it was"
    edited = site.document(announce={"one": "192.0.2.0/24", "two": "203.0.113.0/24"})
    site.put(edited)
    applied = site.agent.get("/api/v1/explain?key=bgp.announce.two")
    assert applied.status == 200
    site.agent.terminate()
    alone = ask(site, "bgp.announce.two")
    assert (alone["value"], alone["layers"][0]["recorded"]) == ("203.0.113.0/24", False)
    assert ask(site, "bgp.announce.one")["layers"][0]["change"] == 1


def test_a_hand_edit_is_not_claimed_to_be_live(site: Site) -> None:
    text = site.near.config.read_text()
    site.near.config.write_text(text.replace("hold time 60", "hold time 80"))
    site.wait_state("drifted")
    live = ask(site, "bgp.peers.far.hold_s")["live"]
    assert live["value"] == 60, "what was applied"
    assert "edited" in live["problem"]


def test_memory_explains_this_host_while_consul_is_away_and_no_other(site: Site) -> None:
    assert site.consul
    site.agent.terminate()
    site.consul.kill()
    done = site.run("explain", "bgp.local_as")
    assert done.returncode == 0, done.stderr
    assert str(site.near_asn) in done.stdout
    assert "who wrote it is not known" in done.stderr
    assert site.run("explain", "bgp.local_as", "--node", "lab-edge-2").returncode == 69
