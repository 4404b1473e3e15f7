"""The line between two sites and its faults: what tests across datacenters take for granted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.lab import HERE
from tests.lab.kv import ConsulError
from tests.lab.sites import Sites
from tests.lab.traffic import Traffic
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab.kv import Kv

PATIENCE_S = 2.0  # a read that is answered is answered in milliseconds
HEALED_S = 40.0


def reader(sites: Sites, site: str, datacenter: str = "") -> Kv:
    kv = sites.sites[site].consul.servers[0].kv
    token = sites.tokens.secret("reader")
    return kv.as_other(token, datacenter=datacenter, timeout_s=PATIENCE_S)


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
