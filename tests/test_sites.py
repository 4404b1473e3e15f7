"""The sites' lab itself: what tests across datacenters take for granted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import HERE
from tests.lab.consul import consul_binary
from tests.lab.kv import ConsulError
from tests.lab.sites import Sites
from tests.lab.traffic import Traffic
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.kv import Kv

PATIENCE_S = 2.0  # a read that is answered is answered in milliseconds
HEALED_S = 40.0


def reader(sites: Sites, site: str, datacenter: str = "") -> Kv:
    kv = sites.sites[site].consul.servers[0].kv
    token = sites.tokens.secret("reader")
    return kv.as_other(token, datacenter=datacenter, timeout_s=PATIENCE_S)


def test_too_many_sites_are_refused(lab: Lab):
    with pytest.raises(LabError, match="1 to 4"):
        Sites(lab, sites=5)


@pytest.mark.root
def test_a_silent_cut_hangs_what_goes_across_and_nothing_else(sites: Sites):
    for name in sites.sites:
        sites.sites[name].consul.servers[0].kv.put("confsync/v1/head", name)
    for here in sites.sites:
        for there in sites.sites:
            assert there.encode() == reader(sites, here, there).get("confsync/v1/head")

    sites.links["osl-wan"].cut_silently()
    with pytest.raises(TimeoutError):
        reader(sites, "osl", "bgo").get("confsync/v1/head")
    with pytest.raises(TimeoutError):
        reader(sites, "bgo", "osl").get("confsync/v1/head")
    for name in sites.sites:
        assert name.encode() == reader(sites, name).get("confsync/v1/head")
    assert "UP" == sites.home.gateway.ip("link", "show", "wan")[0]["operstate"]

    sites.links["osl-wan"].heal()
    for here, there in (("osl", "bgo"), ("bgo", "osl")):
        kv = reader(sites, here, there)
        wait_until("healed", lambda kv=kv: kv.get("confsync/v1/head"), HEALED_S)


@pytest.mark.root
def test_a_cut_takes_the_carrier_and_heals(sites: Sites):
    sites.links["osl-wan"].cut()
    osl = sites.sites["osl"].gateway
    wait_until("down", lambda: osl.ip("link", "show", "wan")[0]["operstate"] != "UP")
    with pytest.raises((TimeoutError, ConsulError)):
        reader(sites, "osl", "bgo").get("confsync/v1/head")
    sites.links["osl-wan"].heal()
    kv = reader(sites, "osl", "bgo")
    wait_until("healed", lambda: kv.keys("confsync/v1/") == [], HEALED_S)


@pytest.mark.root
def test_a_delayed_line_takes_its_time_each_way(sites: Sites):
    kv = reader(sites, "osl", "bgo")
    sites.links["osl-wan"].delay(40)
    for _ in range(3):  # the first ones may open connections
        began = time.monotonic()
        assert [] == kv.keys("confsync/v1/")
        took_s = time.monotonic() - began
    assert 0.08 <= took_s < 0.5
    sites.links["osl-wan"].heal()
    began = time.monotonic()
    assert [] == kv.keys("confsync/v1/")
    assert time.monotonic() - began < 0.08


@pytest.mark.root
def test_a_bad_line_loses_about_as_much_as_it_is_told_and_a_narrow_one_is_slow(sites: Sites):
    site = sites.home
    there = site.hosts["bgo-rr1"]
    flow = (HERE, site.numbers.v4(250), there, site.numbers.v4(1))
    link = sites.links["bgo-rr1"]
    link.delay(0, 30)
    lossy = site.lab.keep(Traffic(site.lab.folder / "lossy", *flow))
    time.sleep(2)
    count = lossy.end()
    # Both ways: 51 %. What was sent before the first answer does not count.
    assert 0.35 < len(count.lost) / (count.sent - count.lost[0]) < 0.67
    link.delay(0, 0, 16)  # an echo takes some 60 bytes: 33 each way in a second, of 200
    narrow = site.lab.keep(Traffic(site.lab.folder / "narrow", *flow))
    time.sleep(2)
    assert narrow.end().lost
    link.heal()
    whole = site.lab.keep(Traffic(site.lab.folder / "whole", *flow))
    assert [] == whole.end().lost


@pytest.mark.root
def test_hosts_have_both_reflectors_and_reach_the_other_sites_workloads(lab: Lab):
    sites = Sites(lab, hosts=2, agents=False)
    here, there = (site.nodes[0] for site in sites.sites.values())
    for node in sites.nodes.values():
        assert {"Established"} == {one.info for one in node.bird.sessions().values()}
        assert 4 == len(node.bird.sessions())
    neighbour = sites.home.nodes[1].workload[0].removesuffix("/32")
    route = wait_until("learnt", lambda: here.host.routes().get(neighbour))
    assert sites.home.numbers.v4(102) == route["gateway"]

    ends = [node.workload[0].removesuffix("/32") for node in (here, there)]
    flow = lab.keep(Traffic(lab.folder / "t", here.host, ends[0], there.host, ends[1]))
    assert [] == flow.end().lost
    flow = lab.keep(Traffic(lab.folder / "t2", here.host, ends[0], there.host, ends[1]))
    sites.links["bgo-wan"].cut_silently()
    time.sleep(0.2)
    assert flow.end().lost


@pytest.mark.root
def test_agents_apply_the_sample_tree_over_tls_from_three_servers_with_their_own_tokens(lab: Lab):
    sites = Sites(lab, hosts=1, servers=3, tls=True)
    for site in sites.sites.values():
        leader = site.consul.wait_leader()
        assert 3 == len(leader.kv.json("GET", "status/peers"))
        assert leader.url.startswith("https://")
    assert {2} == {
        len([one for one in node.bird.sessions() if one.endswith("ipv6")])
        for node in sites.nodes.values()
    }

    document = sites.nodes["osl-compute-01"].document()
    document["announce"]["more"] = "198.51.100.0/24"
    sites.write("nodes/osl-compute-01/bgp", json.dumps(document))
    change = sites.publish("one more network")
    sites.nodes["osl-compute-01"].wait_state("in-sync", change=change)
    wait_until(
        "the gateway knows it",
        lambda: "198.51.100.0/24" in sites.sites["osl"].gateway.routes(4, "bgp"),
    )


def command_line(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "CONFSYNC_CACHE": str(folder),
        "CONFSYNC_TEST_CONSUL": consul_binary(),
    }
    argv = [sys.executable, "-m", "tests.lab.sites", *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.root
def test_a_lab_stays_obeys_and_is_gone_with_its_owner(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("lab")

    def told(*words: str) -> str:
        done = command_line(folder, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "no lab is up" in command_line(folder, "status").stderr
    up = told("up", "--hosts", "0", "--servers", "1", "--plain")
    try:
        assert "a lab is up" in command_line(folder, "up").stderr
        pids = [
            int(word) for line in up.splitlines() if " MiB  " in line for word in line.split()[4:]
        ]
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        assert len(pids) >= 2 + 2 * (1 + 3 + 4 + 1)

        assert "osl-wan is cut silently\n" == told("cut", "--silent", "osl-wan")
        assert "bgo-rr1/bird is stopped\n" == told("stop", "bgo-rr1")
        assert "osl-broker/mosquitto is ended\n" == told("kill", "osl-broker")
        status = told("status")
        assert "osl-wan                 cut silently" in status
        assert ["stopped", "ended"] == [
            line.split()[1]
            for line in status.splitlines()
            if line.startswith(("bgo-rr1/bird", "osl-broker/"))
        ]
        killed = told("kill", "bgo-*/frr").splitlines()
        assert ["bgo-rr2/frr is ended", "bgo-gw/frr is ended"] == killed
        for order in (
            ("start", "bgo-*/frr"),
            ("heal", "osl-*"),
            ("cont", "bgo-rr1"),
            ("start", "osl-broker"),
        ):
            told(*order)
        assert "cut" not in told("status")
        assert "BIRD" in told("exec", "bgo-rr1", "birdc", "show", "status")
        assert "172.18.38.0/24" in told("exec", "bgo-gw", "vtysh", "-c", "show ip route")
        assert "osl-consul1" in told("exec", "bgo-consul1", "consul", "members", "-wan")
        assert "there are" in command_line(folder, "cut", "nothing").stderr
        assert "kill it first" in command_line(folder, "start", "bgo-rr1").stderr
    finally:
        os.kill(int(told("status").split()[-1]), signal.SIGKILL)
    wait_until("all are gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert "no lab is up" in command_line(folder, "status").stderr
