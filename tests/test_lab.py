"""The laboratory itself: what the other tests take for granted."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.lab import HERE, NEAR_ASN, Lab
from tests.lab.agent import toml
from tests.lab.bird import far_config, far_session
from tests.lab.consul import ConsulCluster, ConsulServer
from tests.lab.frr import Frr
from tests.lab.kv import ConsulError, Kv
from tests.lab.traffic import Traffic
from tests.lab.wait import wait_until


@pytest.mark.root
def test_two_birds_exchange_both_families_with_bfd_into_the_kernel(lab: Lab):
    far = lab.far_end(1, near_asn=NEAR_ASN, bfd=True)
    sessions = far_session("v4", far.far4, far.asn, bfd=True)
    sessions += far_session("v6", far.far6, far.asn, bfd=True)
    near = lab.bird("near", far_config(far.near4, NEAR_ASN, sessions))

    near.wait_established("v4", "v6")
    far.bird.wait_established("v4", "v6")

    four = wait_until("IPv4 route", lambda: HERE.routes(4).get("198.18.1.0/24"))
    six = wait_until("IPv6 route", lambda: HERE.routes(6).get("2001:db8:1::/48"))
    assert four["gateway"] == far.far4
    assert six["gateway"].startswith(("fd00:", "fe80:"))
    assert sum(" Up " in line for line in near.ctl("show bfd sessions")) == 2
    assert near.symbols["v4"].startswith("protocol")

    far.bird.stop()
    wait_until("BFD sees the hang", lambda: near.sessions()["v4"].info != "Established", 3)
    far.bird.cont()
    near.wait_established()


@pytest.mark.root
def test_bird_starts_on_the_distributions_example(lab: Lab):
    bird = lab.bird()
    assert {} == bird.sessions()
    assert bird.ctl("configure check")[-1].startswith("0020 ")
    bird.restart()
    assert bird.ctl("configure status")[0].startswith("0003-")


FRR = """\
router bgp 65007
 no bgp ebgp-requires-policy
 neighbor 10.9.7.1 remote-as 64512
 neighbor 10.9.7.1 timers connect 1
"""


@pytest.mark.root
def test_frr_meets_a_bird_and_counts_its_resets(lab: Lab):
    host = lab.namespace("frr")
    ends = {"near_addresses": ("10.9.7.1/24",), "far_addresses": ("10.9.7.2/24",)}
    lab.cable(HERE, "frr0", host, "eth0", **ends)
    near = lab.bird("near", far_config("10.9.7.1", NEAR_ASN, far_session("f", "10.9.7.2", 65007)))
    frr = lab.keep(Frr(lab.folder / "frr", FRR, host))
    frr.wait_established("10.9.7.1")
    assert (1, 0) == frr.resets("10.9.7.1")
    near.ctl("restart f")
    wait_until("FRR counts it", lambda: (2, 1) == frr.resets("10.9.7.1"))


@pytest.mark.root
def test_traffic_counts_what_is_lost_and_nothing_else(lab: Lab):
    far = lab.far_end()
    flow = lab.keep(Traffic(lab.folder / "t", HERE, far.near4, far.host, far.far4))
    assert [] == flow.end().lost
    flow = lab.keep(Traffic(lab.folder / "t2", HERE, far.near4, far.host, far.far4))
    far.cable.down()
    time.sleep(0.1)
    assert flow.end().lost


@pytest.mark.root
def test_cable_down_takes_the_carrier(lab: Lab):
    host = lab.namespace("far")
    cable = lab.cable(HERE, "conf9", host, "eth0", near_addresses=["10.9.9.1/24"])
    cable.down()
    assert host.ip("link", "show", "eth0")[0]["operstate"] != "UP"
    cable.up()
    wait_until("up", lambda: host.ip("link", "show", "eth0")[0]["operstate"] == "UP")


@pytest.mark.root
def test_one_consul_serves_and_survives_a_kill(consul_server: ConsulServer):
    kv = consul_server.kv
    kv.put_all({"a/b": "1", "a/c": b"2"})
    entry = kv.entry("a/b")
    assert entry is not None
    assert kv.cas("a/b", "3", entry["ModifyIndex"])
    assert not kv.cas("a/b", "4", entry["ModifyIndex"])
    consul_server.restart()
    consul_server.wait_leader()
    assert b"3" == kv.get("a/b")
    assert ["a/b", "a/c"] == kv.keys("a")
    kv.delete_tree("a/")
    assert kv.get("a/b") is None


@pytest.mark.root
def test_consul_with_acl_denies_by_default(lab: Lab):
    server = lab.consul(acl=True)
    server.kv.put("seen", "1")
    token = server.kv.new_token("reader", 'key "seen" { policy = "read" }')
    reader = Kv(server.address, server.kv.port, token)
    assert b"1" == reader.get("seen")
    with pytest.raises(ConsulError, match="403"):
        reader.put("seen", "2")
    server.kv.delete_token(token)
    with pytest.raises(ConsulError, match="403"):
        Kv(server.address, server.kv.port).get("seen")


@pytest.mark.root
def test_three_consuls_elect_again_when_the_leader_is_killed(consul_cluster: ConsulCluster):
    first = consul_cluster.wait_leader()
    first.kv.put("k", "v")
    first.kill()
    second = consul_cluster.wait_leader()
    assert first is not second
    assert b"v" == second.kv.get("k")
    first.restart()
    assert second is consul_cluster.wait_leader()
    assert b"v" == first.kv.get("k")


@pytest.mark.root
def test_notify_socket_records_what_it_hears(lab: Lab):
    import socket

    ear = lab.notify_socket(watchdog_s=2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(b"READY=1\nSTATUS=up", ear.env["NOTIFY_SOCKET"])
    assert {"READY": "1", "STATUS": "up"} == ear.wait("READY").fields
    assert "2000000" == ear.env["WATCHDOG_USEC"]


@pytest.mark.root
@pytest.mark.loops
def test_metadata_of_lvm_lives_on_loop_devices_that_vanish(lab: Lab):
    lvm = lab.lvm(64, 32)
    lvm.must("vgcreate", "vg0", *lvm.devices)
    lvm.must("lvcreate", "-an", "-Zn", "-Wn", "--size", "20m", "--name", "data", "vg0")

    [group] = lvm.report()
    assert set(lvm.devices) == {pv["pv_name"] for pv in group["pv"]}
    assert ["20971520"] == [lv["lv_size"] for lv in group["lv"]]
    assert "not found" in lvm.run("vgs", "vg1").stderr

    lab.close()
    attached = subprocess.run(["losetup", "--all"], capture_output=True, text=True, check=True)
    assert str(lab.folder) not in attached.stdout


def test_settings_are_written_as_toml():
    import tomllib

    settings = {"site": "lab", "list": ["a"], "a": {"b": {"c": True, "d": 1.5}}, "e": {"x.y": 'q"'}}
    assert settings == tomllib.loads(toml(settings))
