from __future__ import annotations

import socket

import pytest

from confsync.host.facts import HostFacts
from tests.lab.net import HERE


def test_the_place_in_the_hierarchy_is_as_given():
    facts = HostFacts("bgo", "edge", "bgo-edge-1", platform="debian-12").facts()
    expected = {"site": "bgo", "role": "edge", "node": "bgo-edge-1", "platform": "debian-12"}
    assert expected == {key: value for key, value in facts.items() if "." not in key}
    assert socket.gethostname() == facts["fact.hostname"]


@pytest.mark.root
def test_the_first_global_address_of_each_interface_is_a_fact():
    HERE.ip("link", "add", "trp1", "type", "veth", "peer", "name", "trp2")
    try:
        HERE.up("trp1")
        HERE.up("trp2")
        HERE.add_address("trp1", "172.18.0.7/24", "172.18.0.8/24", "fd00:7::7/64")
        HERE.ip("address", "add", "10.255.0.1/32", "dev", "lo")
        facts = HostFacts("bgo", "edge", "bgo-edge-1").facts()
        assert not any(key.startswith("fact.ipv6.lo") for key in facts)
    finally:
        HERE.ip("link", "delete", "trp1")
        HERE.ip("address", "delete", "10.255.0.1/32", "dev", "lo")
    expected = {
        "fact.hostname": socket.gethostname(),
        "fact.ipv4.lo": "10.255.0.1",
        "fact.ipv4.trp1": "172.18.0.7",
        "fact.ipv6.trp1": "fd00:7::7",
    }
    assert expected == {key: value for key, value in facts.items() if key in expected}
