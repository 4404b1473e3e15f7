"""What is told of documents that break no rule, and sizes that no golden form has room for."""

from __future__ import annotations

import pytest

from confsync.drivers.calico.reading import read
from confsync.drivers.calico.rules import broken, doubtful

SSH = {"protocol": "TCP", "port": 22}
HOST = {"node": "a", "interfaceName": "b"}


def notes(**tree) -> tuple[str, ...]:
    return doubtful(read(tree))


def felix(**spec) -> dict:
    return {"felixconfigurations": {"default": spec}}


def test_a_policy_without_a_selector_deserves_a_second_look():
    place = "calico.globalnetworkpolicies.a"
    told = f"{place}: no selector, so it is for every workload and every HostEndpoint"
    assert (told,) == notes(globalnetworkpolicies={"a": {}, "b": {"selector": "all()"}})
    assert () == notes(networkpolicies={"default": {"a": {}}})


@pytest.mark.parametrize(
    ("ports", "told"),
    [
        ([], 1),
        ([{"protocol": "UDP", "port": 22}], 1),
        ([SSH], 0),
        ([{"port": 22}], 0),
        ([{"port": 68, "protocol": "UDP"}, SSH], 0),
        ([{**SSH, "net": "192.0.2.0/24"}], 1),
    ],
)
def test_failsafe_ports_without_ssh_deserve_a_second_look(ports, told):
    assert told == len(notes(**felix(failsafeInboundHostPorts=ports)))


def test_failsafe_ports_that_are_not_named_are_calicos_own():
    assert () == notes(**felix(failsafeOutboundHostPorts=[], vxlanPort=4789))


def test_annotations_end_at_what_kubernetes_takes():
    def faults(size_bytes: int) -> list[str]:
        text = "ö" * (size_bytes // 2)
        return [
            f"{one.code} {one.path[-1]}"
            for one in broken(read({"hostendpoints": {"a": {"annotations": {"aa": text}, **HOST}}}))
        ]

    assert [] == faults(256 * 1024 - 2)
    assert ["CS-V302 annotations"] == faults(256 * 1024)
