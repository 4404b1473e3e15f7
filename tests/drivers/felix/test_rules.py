"""The rules: what belongs together, what stays reachable, what cannot be undone."""

from __future__ import annotations

import pytest

from confsync.drivers.felix.rules import broken, doubtful, irreversible, lacking
from confsync.drivers.felix.shapes import READER as DOCUMENTS
from confsync.drivers.felix.shapes import Felix, felix_of

TODAY = {
    "DatastoreType": "etcdv3",
    "EtcdEndpoints": "http://127.0.0.1:23790",
    "HealthEnabled": True,
    "VXLANPort": 31439,
}
OPEN = (
    "tcp:22,tcp:179,udp:3784,udp:3785,udp:4784,"
    "tcp:8300,tcp:8301,tcp:8302,udp:8301,udp:8302,tcp:8500,tcp:8501"
)


def value_of(**parameters):
    value, faults = felix_of(DOCUMENTS.read({"parameters": parameters}).document)
    assert () == faults
    return value


def missing(**parameters):
    return [(one.parameter, one.protocol, one.port, one.who) for one in lacking(Felix(parameters))]


def test_a_list_that_is_not_given_lacks_nothing():
    assert () == lacking(value_of(**TODAY))


def test_a_list_that_opens_everything_lacks_nothing():
    assert [] == missing(FailsafeInboundHostPorts=f"{OPEN},tcp:2379")


def test_felix_own_list_lacks_bfd_and_consul_once_it_is_given():
    given = "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667"
    found = missing(FailsafeOutboundHostPorts=given)
    assert {"BFD", "Consul"} == {who for *_, who in found}
    assert {"FailsafeOutboundHostPorts"} == {name for name, *_ in found}
    assert {("udp", 3784), ("udp", 3785), ("udp", 4784)} == {
        (protocol, port) for _, protocol, port, who in found if who == "BFD"
    }


def test_none_opens_nothing():
    found = missing(FailsafeInboundHostPorts="none")
    assert ("FailsafeInboundHostPorts", "tcp", 22, "ssh") in found
    assert ("FailsafeInboundHostPorts", "tcp", 2379, "the datastore") in found
    assert len(OPEN.split(",")) + 1 == len(found)


def test_a_port_that_is_open_to_some_is_not_open():
    text = f"{OPEN.replace('tcp:22,', 'tcp:10.0.0.0/8:22,')},tcp:2379"
    assert [("FailsafeInboundHostPorts", "tcp", 22, "ssh")] == missing(
        FailsafeInboundHostPorts=text
    )


@pytest.mark.parametrize(
    ("parameters", "port"),
    [
        ({}, 2379),
        ({"EtcdEndpoints": "http://127.0.0.1:23790"}, 2379),
        ({"EtcdEndpoints": "https://[::1]:23790,https://localhost:1"}, 2379),
        ({"EtcdEndpoints": "https://etcd1:4001,https://[fd00::1]:4001/"}, 4001),
        ({"EtcdAddr": "192.0.2.1:4001"}, 4001),
        ({"TyphaAddr": "typha:5473"}, 5473),
    ],
)
def test_the_datastore_stays_reachable_where_it_is(parameters, port):
    given = value_of(**parameters, FailsafeInboundHostPorts=OPEN)
    assert [("FailsafeInboundHostPorts", "tcp", port, "the datastore")] == list(lacking(given))


def test_tls_to_typha_is_whole_or_not_there():
    files = {f"Typha{one}File": f"/etc/{one}" for one in ("Key", "Cert", "CA")}
    assert () == broken(value_of(**TODAY))
    assert () == broken(value_of(**files, TyphaCN="typha"))
    assert () == broken(value_of(TyphaKeyFile="none"))
    assert [
        (
            "felix.parameters.TyphaKeyFile: TLS to Typha needs TyphaCN or TyphaURISAN as well; "
            "give all of them, or none (CS-V230)"
        )
    ] == [str(one) for one in broken(value_of(**files))]
    assert "needs TyphaKeyFile, TyphaCertFile, TyphaCAFile" in str(
        broken(value_of(TyphaURISAN="x"))[0]
    )


def test_a_plain_document_raises_no_doubt_but_of_its_defaults():
    assert ("DatastoreType is etcdv3 by default already",) == doubtful(value_of(**TODAY))


@pytest.mark.parametrize(
    ("parameters", "note"),
    [
        ({"HealthEnabled": False}, "HealthEnabled is not true: whether Felix is ready"),
        ({"HealthEnabled": False}, "HealthEnabled is false by default already"),
        ({"EtcdKeyFile": "/k"}, "EtcdKeyFile without EtcdCertFile or EtcdCaFile: TLS to etcd"),
        ({"mtuIfacePattern": "^bond0*"}, "asks for any number of 0, also none"),
        (
            {"RouteTableRange": "1-9", "RouteTableRanges": "1-9"},
            "RouteTableRange has no effect beside RouteTableRanges",
        ),
        ({"VXLANMTU": 0}, "VXLANMTU is 0 by default already"),
        ({"VXLANEnabled": "none"}, "VXLANEnabled is none by default already"),
    ],
)
def test_what_deserves_a_second_look_is_told(parameters, note):
    assert any(note in one for one in doubtful(value_of(**{"HealthEnabled": True} | parameters)))


def test_a_pattern_that_means_what_it_says_is_no_glob():
    assert () == doubtful(value_of(HealthEnabled=True, mtuIfacePattern="^bond0.*"))


def test_a_default_that_moved_is_told_for_the_version_that_has_it():
    value = value_of(HealthEnabled=True, IptablesRefreshInterval=180)
    assert () == doubtful(value)
    assert () == doubtful(value, "3.27")
    assert ("IptablesRefreshInterval is 180 by default already",) == doubtful(value, "3.32")


def test_what_cuts_a_host_off_is_named_with_the_reason():
    before = {"datastoretype": "etcdv3", "BPFEnabled": "no", "VXLANPort": "4789"}
    after = {"DatastoreType": "kubernetes", "BPFEnabled": "true", "VXLANPort": "31439"}
    found = dict(irreversible(before, after))
    assert {"DatastoreType", "BPFEnabled"} == set(found)
    assert "another datastore" in found["DatastoreType"]


def test_another_way_to_write_the_same_is_no_change():
    before = {"IptablesMarkMask": "4294901760", "useinternaldataplanedriver": "Y"}
    assert () == irreversible(before, {"InterfacePrefix": "cali", "BPFEnabled": ""})
    assert () == irreversible(
        {"UseInternalDataplaneDriver": "None"}, {"useInternalDataplaneDriver": "0"}
    )
    assert () == irreversible({"RouteTableRange": "none"}, {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DatastoreType", "kubernetes"),
        ("FelixHostname", "other"),
        ("InterfacePrefix", "tap"),
        ("IptablesMarkMask", "0xff000000"),
        ("NftablesMarkMask", "0xff000000"),
        ("BPFEnabled", "true"),
        ("DataplaneDriver", "/usr/bin/driver"),
        ("UseInternalDataplaneDriver", "false"),
        ("UseInternalDataplaneDriver", "none"),
        ("RouteTableRange", "65-99"),
        ("RouteTableRanges", "65-99"),
        ("BPFEnabled", "what Felix cannot read"),
    ],
)
def test_each_of_them_counts_when_it_is_set_and_when_it_is_dropped(name, text):
    assert [name] == [one for one, _ in irreversible({}, {name: text})]
    assert [name] == [one for one, _ in irreversible({name: text}, {})]
