from __future__ import annotations

import asyncio
import socket
import subprocess
import time

import pytest

from confsync.host.netlink import RouteCounts, addresses, bird_routes
from tests.lab.net import HERE

pytestmark = pytest.mark.root


@pytest.fixture
def dummy():
    HERE.ip("link", "add", "dum0", "type", "veth", "peer", "name", "dum1")
    HERE.up("dum0")
    HERE.up("dum1")
    HERE.add_address("dum0", "10.77.0.1/24", "10.77.0.2/24", "fd00:77::1/64")
    yield HERE
    HERE.ip("link", "delete", "dum0")


def route(*words, family="-4"):
    HERE.ip(family, "route", "add", *words)


async def test_routes_with_a_next_hop_and_those_that_lead_nowhere_are_counted(dummy):
    route("198.18.1.0/24", "via", "10.77.0.9", "proto", "bird")
    route("198.18.2.0/24", "via", "10.77.0.9", "proto", "bird", "table", "77")
    route("unreachable", "198.18.3.0/24", "proto", "bird")
    route("blackhole", "198.18.4.0/24", "proto", "bird")
    route("198.18.5.0/24", "via", "10.77.0.9", "proto", "static")
    hops = ("nexthop", "via", "10.77.0.8", "nexthop", "via", "10.77.0.9")
    route("198.18.6.0/24", "proto", "bird", *hops)
    try:
        route("2001:db8:1::/48", "via", "fd00:77::9", "proto", "bird", family="-6")
        route("unreachable", "2001:db8:2::/48", "proto", "bird", family="-6")
        assert RouteCounts(3, 2) == await bird_routes(socket.AF_INET)
        assert RouteCounts(1, 1) == await bird_routes(socket.AF_INET6)
    finally:
        subprocess.run(["ip", "route", "flush", "proto", "bird", "table", "all"], check=True)
        subprocess.run(["ip", "-6", "route", "flush", "proto", "bird", "table", "all"], check=False)


async def test_a_host_without_routes_has_none():
    assert RouteCounts(0, 0) == await bird_routes(socket.AF_INET)
    assert RouteCounts(0, 0) == await bird_routes(socket.AF_INET6)


async def test_a_full_table_does_not_hold_up_the_loop(dummy):
    batch = "".join(
        f"route add 100.{n >> 8}.{n & 255}.0/24 via 10.77.0.9 proto bird\n" for n in range(20_000)
    )
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    turns = []

    async def tick():
        while True:
            turns.append(time.perf_counter())
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    assert RouteCounts(20_000, 0) == await bird_routes(socket.AF_INET)
    ticking.cancel()
    assert len(turns) > 20


def test_addresses_name_their_interface_scope_and_fitness(dummy):
    found = {str(one.address): one for one in addresses() if one.interface == "dum0"}
    assert (0, True) == (found["10.77.0.1"].scope, found["10.77.0.1"].fit)
    assert not found["10.77.0.2"].fit  # secondary
    assert (0, True) == (found["fd00:77::1"].scope, found["fd00:77::1"].fit)
    assert {253} == {one.scope for text, one in found.items() if text.startswith("fe80")}
