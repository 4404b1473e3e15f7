"""What can go wrong with a calicoctl, at a test's order, and what a test can see of its calls.

Separate because no real calicoctl fails on order.
"""

from __future__ import annotations

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.calico import ETCD, Tool, calico, fake, item, nets
from tests.lab.calico import Calico
from tests.lab.calico.commands import CLIENT_VERSION

__all__ = ["calico", "fake"]

pytestmark = pytest.mark.root

ACCEPT = {"exportV4": [{"action": "Accept"}]}


def test_each_call_leaves_its_words_its_datastore_and_its_end(calico: Calico, fake: Tool):
    fake.give("apply", nets("a"))
    fake("get", "globalnetworkset", "x", "-o", "json")
    first, second = calico.calls
    assert (["apply", "-f", "-"], 0) == (first.argv, first.exit_code)
    assert (["get", "globalnetworkset", "x", "-o", "json"], 1) == (second.argv, second.exit_code)
    assert {"DATASTORE_TYPE": "etcdv3", "ETCD_ENDPOINTS": ETCD} == first.env


def test_the_writes_are_told_in_their_order(calico: Calico, fake: Tool):
    peer = item("BGPPeer", "p", {"peerIP": "192.0.2.9", "asNumber": 64512, "filters": ["f"]})
    fake.give("apply", item("BGPFilter", "f", ACCEPT), peer)
    fake.give("apply", item("NetworkSet", "s"))
    fake.give("replace", peer)
    fake("delete", "bgppeer", "p")
    writes = ["create BGPFilter(f)", "create BGPPeer(p)", "create NetworkSet(default/s)"]
    assert [*writes, "update BGPPeer(p)", "delete BGPPeer(p)"] == calico.writes


def test_a_test_may_look_at_and_change_objects_as_somebody_else(calico: Calico, fake: Tool):
    fake.give("apply", nets("a"))
    seen = fake.get("globalnetworkset", "a")
    assert seen == calico.get("GlobalNetworkSet", "a")
    calico.put(nets("a", "203.0.113.0/24"))
    calico.put(item("NetworkSet", "s", namespace="default"))
    assert "update conflict" in fake.give("apply", seen).err
    changed = fake.get("globalnetworkset", "a")
    assert ["203.0.113.0/24"] == changed["spec"]["nets"]
    assert seen["metadata"]["uid"] == changed["metadata"]["uid"]
    assert ["s"] == calico.names("NetworkSet")
    calico.drop("NetworkSet", "s")
    calico.drop("GlobalNetworkSet", "a")
    assert [] == calico.items("NetworkSet")
    assert calico.get("GlobalNetworkSet", "a") is None


def test_no_write_of_many_at_once_is_lost(calico: Calico, fake: Tool):
    names = [f"n{number}" for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda name: fake.give("apply", nets(name), nets("all")), names))
    assert {0} == {one.code for one in done}
    assert sorted([*names, "all"]) == calico.names("GlobalNetworkSet")
    assert 2 * len(names) == calico.store.content().revision == len(calico.writes)


def test_each_write_has_a_version_of_its_own(calico: Calico):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: calico.put(nets(f"n{number}")), range(100)))
    versions = sorted(int(one["metadata"]["resourceVersion"]) for one in made)
    assert list(range(1, 101)) == versions
    assert len(made) == len(calico.names("GlobalNetworkSet"))


def test_a_slow_call_and_one_that_never_answers(calico: Calico, fake: Tool):
    calico.faults(latency_s=0.3)
    begun = time.monotonic()
    assert 0 == fake("version").code
    assert time.monotonic() - begun >= 0.3
    calico.faults(hang=True, verbs=["apply"])
    with pytest.raises(subprocess.TimeoutExpired):
        fake("apply", "-f", "-", text="{}", timeout_s=0.3)
    assert calico.calls[-1].exit_code is None
    assert [] == fake.get("globalnetworkset")["items"]


@pytest.mark.parametrize(("when", "there"), [("before", ["a"]), ("after", ["a", "b"])])
def test_it_dies_by_a_signal_before_or_after_a_write(
    calico: Calico, fake: Tool, when: str, there: list[str]
):
    fake.give("apply", nets("a"))
    calico.faults(**{f"die_{when}_write": 2})
    fake.give("apply", nets("a"))
    done = fake.give("apply", nets("b"), nets("c"))
    assert (-signal.SIGKILL, "", "") == done
    assert there == calico.names("GlobalNetworkSet")
    assert calico.calls[-1].exit_code is None
    calico.faults(**{f"die_{when}_write": 1}, die_signal="SEGV")
    assert -signal.SIGSEGV == fake("delete", "globalnetworkset", "a").code


def test_it_dies_between_the_two_writes_of_a_pools_end(calico: Calico, fake: Tool):
    fake.give("apply", item("IPPool", "p", {"cidr": "10.1.0.0/16"}))
    calico.faults(die_before_write=2)
    assert -signal.SIGKILL == fake("delete", "ippool", "p").code
    assert fake.get("ippool", "p")["spec"]["disabled"]
    calico.faults()
    assert 0 == fake("delete", "ippool", "p").code
    assert "update IPPool(p)" == calico.writes[1]


def test_the_datastore_may_refuse_one_object(calico: Calico, fake: Tool):
    calico.faults(reject={"c": "etcdserver: no space"})
    done = fake.give("apply", *(nets(name) for name in "abcde"))
    assert "Hit error(s): [etcdserver: no space]\n" == done.err
    assert list("abde") == calico.names("GlobalNetworkSet")
    calico.faults()
    fake.give("apply", nets("c"))
    calico.faults(reject={"c": "denied"})
    assert 1 == fake("delete", "globalnetworkset", "c").code
    assert 1 == fake.give("replace", nets("c", "10.0.0.0/8")).code
    assert ["192.0.2.0/24"] == fake.get("globalnetworkset", "c")["spec"]["nets"]


def test_another_version_of_the_cluster_is_refused_unless_allowed(calico: Calico, fake: Tool):
    calico.faults(cluster_version="v3.29.0-12-gabc")
    done = fake.give("apply", nets("a"))
    lines = ["Version mismatch.", f"Client Version:   {CLIENT_VERSION}"]
    lines += ["Cluster Version:  3.29.0", "Use --allow-version-mismatch to override."]
    assert (1, "", lines) == (done.code, done.out, done.err.split("\n")[:4])
    assert [] == calico.names("GlobalNetworkSet")
    assert 0 == fake.give("apply", nets("a"), flags=("--allow-version-mismatch",)).code
    assert 0 == fake("--allow-version-mismatch", "get", "node", "-o", "json").code
    assert 0 == fake.give("validate", nets("a")).code
    assert "Cluster Version:   v3.29.0-12-gabc" in fake("version").out.splitlines()
    calico.faults(cluster_version=f"{CLIENT_VERSION}-1-gabc")
    assert 0 == fake.give("apply", nets("a")).code


def test_an_unreachable_datastore_is_told_on_standard_output(calico: Calico, fake: Tool):
    calico.faults(unreachable=True)
    done = fake("get", "node", "-o", "json")
    text = "Failed to create Calico API client: context deadline exceeded\n"
    assert (1, text, "") == done
    assert 0 == fake.give("validate", nets("a")).code
    assert 1 == fake("version").code


def test_another_kind_of_datastore_is_none_of_ours(calico: Calico):
    done = Tool(str(calico.program), DATASTORE_TYPE="kubernetes")("get", "node", "-o", "json")
    assert 1 == done.code
    assert done.out.startswith("Failed to create Calico API client: invalid configuration")


def test_garbage_floods_secrets_and_wrong_codes(calico: Calico, fake: Tool):
    calico.faults(not_json=True)
    with pytest.raises(ValueError, match="Expecting value"):
        fake.get("node")
    calico.faults(flood_bytes=10_000_000)
    assert len(fake("get", "node", "-o", "json").out) > 10_000_000
    calico.faults(stderr="password: hunter2\n", exit_code=7, verbs=["get"])
    done = fake("get", "node", "-o", "json")
    assert (7, "password: hunter2\n") == (done.code, done.err)
    assert "" == fake("version").err


def test_a_fault_that_is_none_is_refused(calico: Calico):
    with pytest.raises(TypeError, match="latency"):
        calico.faults(latency=1)
