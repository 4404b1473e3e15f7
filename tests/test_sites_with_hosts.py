"""Labs of sites with hosts and agents, and the one that stays: each raises its own."""

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

from tests.lab.consul import consul_binary
from tests.lab.sites import Sites
from tests.lab.traffic import Traffic
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from tests.lab import Lab


def test_too_many_sites_are_refused(lab: Lab):
    with pytest.raises(LabError, match="1 to 4"):
        Sites(lab, sites=5)


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

    for node in sites.nodes.values():
        checked = node.run("agent", "run", "--check-config", "--online")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "[-]" not in checked.stdout

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
