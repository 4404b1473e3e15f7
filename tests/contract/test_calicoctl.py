"""What calicoctl promises and what it does not, run on the fake and on a real one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.contract.calico import calico, fake, item, nets, tool
from tests.lab.calico.kinds import API_VERSION, KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.calico import Tool

__all__ = ["calico", "fake", "tool"]

pytestmark = pytest.mark.root

ALLOW = {"order": 10, "selector": "all()", "ingress": [{"action": "Allow"}]}
CONFLICT = "update conflict: GlobalNetworkSet(a)"
MISSING = "resource does not exist: GlobalNetworkSet(x) with error:"


def test_apply_creates_then_updates_and_says_how_many(tool: Tool):
    success = "Successfully applied 1 'GlobalNetworkSet' resource(s)\n"
    assert (0, success, "") == tool.give("apply", nets("a"))
    first = tool.get("globalnetworkset", "a")
    assert (0, success, "") == tool.give("apply", nets("a", "198.51.100.0/24"))
    second = tool.get("globalnetworkset", "a")

    assert ["192.0.2.0/24"] == first["spec"]["nets"]
    assert ["198.51.100.0/24"] == second["spec"]["nets"]
    assert first["metadata"]["uid"] == second["metadata"]["uid"]
    versions = [int(one["metadata"]["resourceVersion"]) for one in (first, second)]
    assert versions[0] < versions[1]
    assert "creationTimestamp" in first["metadata"]


def test_objects_of_several_kinds_have_no_kind_in_the_report(tool: Tool):
    done = tool.give("apply", nets("a"), item("GlobalNetworkPolicy", "p", ALLOW))
    assert (0, "Successfully applied 2 resource(s)\n", "") == done


def test_a_file_may_be_yaml_of_several_documents(tool: Tool, tmp_path: Path):
    path = tmp_path / "sets.yaml"
    document = f"apiVersion: {API_VERSION}\nkind: GlobalNetworkSet\nmetadata: {{name: %s}}\n"
    path.write_text("---\n".join(document % name for name in "ab"))
    assert 0 == tool("create", f"--filename={path}").code
    found = tool.get("globalnetworksets")
    assert ["a", "b"] == [one["metadata"]["name"] for one in found["items"]]


def test_what_get_answers_can_be_given_back_as_it_is(tool: Tool):
    tool.give("apply", nets("a"), nets("b"))
    assert 0 == tool.give("apply", tool.get("globalnetworkset")).code


def test_get_of_a_kind_is_a_list_of_one_name_bare_of_several_an_array(tool: Tool):
    tool.give("apply", nets("b"), nets("a"))
    listed = tool.get("GlobalNetworkSets")
    assert "GlobalNetworkSetList" == listed["kind"]
    assert ["a", "b"] == [one["metadata"]["name"] for one in listed["items"]]
    assert int(listed["metadata"]["resourceVersion"]) > 0
    assert "GlobalNetworkSet" == tool.get("globalnetworkset", "a")["kind"]
    assert ["b", "a"] == [one["metadata"]["name"] for one in tool.get("GLOBALNETWORKSET", "b", "a")]
    assert [] == tool.get("hep")["items"]


def test_get_of_a_missing_object_fails_and_answers_what_it_found(tool: Tool):
    tool.give("apply", nets("a"))
    alone = tool("get", "globalnetworkset", "x", "-o", "json")
    assert (1, None) == (alone.code, alone.json)
    assert alone.err.startswith(MISSING)
    beside = tool("get", "globalnetworkset", "x", "a", "-o", "json")
    assert (1, "a") == (beside.code, beside.json["metadata"]["name"])


def test_export_strips_a_named_object_and_leaves_a_list_alone(tool: Tool):
    tool.give("apply", nets("a"))
    bare = tool("get", "globalnetworkset", "a", "--export", "-o", "json").json["metadata"]
    assert not {"uid", "resourceVersion", "namespace"} & set(bare)
    listed = tool("get", "globalnetworkset", "--export", "-o", "json").json
    assert "resourceVersion" in listed["metadata"]
    assert "uid" in listed["items"][0]["metadata"]


def test_a_stale_version_is_a_conflict_and_a_right_one_is_not(tool: Tool):
    tool.give("apply", nets("a"))
    seen = tool.get("globalnetworkset", "a")
    tool.give("apply", nets("a", "198.51.100.0/24"))
    done = tool.give("apply", seen)
    assert (1, "") == (done.code, done.out)
    assert f"Failed to apply 'GlobalNetworkSet' resource: [{CONFLICT}]\n" == done.err
    assert f"Hit error: {CONFLICT}\n" == tool.give("replace", seen).err
    assert CONFLICT in tool.give("delete", seen).err
    now = tool.get("globalnetworkset", "a")
    assert ["198.51.100.0/24"] == now["spec"]["nets"]
    assert 0 == tool.give("apply", now | {"spec": seen["spec"]}).code
    assert 0 == tool.give("delete", tool.get("globalnetworkset", "a")).code


def test_create_refuses_what_exists_and_a_version_of_its_own(tool: Tool):
    tool.give("create", nets("a"))
    done = tool.give("create", nets("a"))
    text = "Failed to create 'GlobalNetworkSet' resource: [resource already exists: "
    assert (1, "", f"{text}GlobalNetworkSet(a)]\n") == done
    assert 0 == tool.give("create", nets("a"), flags=("--skip-exists",)).code
    assert "must not be set" in tool.give("create", nets("b", resourceVersion="7")).err


def test_apply_of_several_goes_on_after_an_error_and_exits_1(tool: Tool):
    wrong = nets("c", "192.0.2.0/33")
    done = tool.give("apply", nets("a"), nets("b"), wrong, nets("d"), nets("e"))
    assert 1 == done.code
    partial = "Partial success: applied the first 4 out of 5 'GlobalNetworkSet' resources:\n"
    assert partial == done.out
    assert done.err.startswith("Hit error(s): [error with field Nets[0] = '192.0.2.0/33' (")
    found = tool.get("globalnetworkset")["items"]
    assert ["a", "b", "d", "e"] == [one["metadata"]["name"] for one in found]


def test_of_as_many_errors_as_successes_no_partial_success_is_told(tool: Tool):
    done = tool.give("apply", nets("a"), nets("c", "192.0.2.0/33"))
    assert (1, "") == (done.code, done.out)
    assert "a" == tool.get("globalnetworkset", "a")["metadata"]["name"]


def test_replace_fails_on_a_missing_object_though_it_counts_it(tool: Tool):
    done = tool.give("replace", nets("x"))
    assert 1 == done.code
    assert done.out == (
        "Partial success: replaced the first 1 out of 1 'GlobalNetworkSet' resources:\n"
    )
    assert done.err.startswith(f"Hit error: {MISSING}")
    assert [] == tool.get("globalnetworkset")["items"]


def test_delete_fails_on_a_missing_object_unless_told_to_skip_it(tool: Tool):
    tool.give("apply", nets("a"), nets("b"))
    done = tool("delete", "globalnetworkset", "a", "x", "b")
    assert 1 == done.code
    assert "Successfully deleted 2 'GlobalNetworkSet' resource(s)\n" == done.out
    assert done.err.startswith(f"Failed to delete 'GlobalNetworkSet' resource: {MISSING}")
    assert [] == tool.get("globalnetworkset")["items"]
    skipped = tool("delete", "globalnetworkset", "x", "--skip-not-exists")
    assert (0, "Successfully deleted 1 'GlobalNetworkSet' resource(s)\n", "") == skipped


def test_an_update_replaces_the_spec_and_merges_labels(tool: Tool):
    tool.give("apply", nets("a", labels={"one": "1", "two": "2"}))
    tool.give("apply", item("GlobalNetworkSet", "a", {}, labels={"two": "3"}))
    found = tool.get("globalnetworkset", "a")
    assert {"one": "1", "two": "3"} == found["metadata"]["labels"]
    assert not found["spec"].get("nets")


def test_a_namespaced_kind_lives_in_default_unless_one_is_named(tool: Tool):
    tool.give("apply", item("NetworkPolicy", "p", ALLOW))
    assert 0 == tool.give("apply", item("NetworkPolicy", "p", ALLOW), flags=("-n", "red")).code
    tool.give("apply", item("NetworkPolicy", "q", ALLOW, namespace="blue"))

    def found(*flags: str) -> list[str]:
        items = tool("get", "np", "-o", "json", *flags).json["items"]
        return [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in items]

    assert ["default/p"] == found()
    assert ["red/p"] == found("--namespace=red")
    assert ["blue/q", "default/p", "red/p"] == found("-A") == found("-a")
    done = tool("get", "np", "p", "-n", "green", "-o", "json")
    assert done.err.startswith("resource does not exist: NetworkPolicy(green/p) with error:")
    assert "does not match" in tool.give("apply", nets_in("blue"), flags=("-n", "red")).err


def nets_in(namespace: str) -> dict[str, object]:
    return item("NetworkSet", "s", {"nets": []}, namespace=namespace)


def test_a_kind_without_namespaces_refuses_one(tool: Tool):
    assert "is not namespaced" in tool.give("apply", nets("a"), flags=("-n", "red")).err
    assert "is not a namespaced resource" in tool.give("apply", nets("a", namespace="red")).err
    assert [] == tool.get("globalnetworkset")["items"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_found_by_each_of_its_words(fake: Tool, kind):
    for word in kind.words:
        assert kind.list_name == fake.get(word.upper())["kind"]


@pytest.mark.parametrize("word", ["bgpfilters", "gns", "profile", ""])
def test_other_words_name_no_kind(fake: Tool, word: str):
    done = fake("get", word, "-o", "json")
    assert (1, f"resource type '{word}' is not supported\n") == (done.code, done.err)


def test_policies_and_pools_are_stored_with_defaults(tool: Tool):
    tool.give("apply", item("GlobalNetworkPolicy", "p", {"egress": [{"action": "Deny"}]}))
    tool.give("apply", item("IPPool", "q", {"cidr": "10.1.0.0/16"}))
    policy, pool = tool.get("gnp", "p"), tool.get("ippool", "q")
    assert (["Egress"], "default") == (policy["spec"]["types"], policy["spec"]["tier"])
    assert "default" == policy["metadata"]["labels"]["projectcalico.org/tier"]
    assert (26, "Never", "all()") == tuple(
        pool["spec"][name] for name in ("blockSize", "vxlanMode", "nodeSelector")
    )


UNDECODABLE = {
    "kind": (item("GlobalNetworkSetz", "a"), "Unknown resource type (GlobalNetworkSetz) and/or"),
    "version": (nets("a") | {"apiVersion": "crd.projectcalico.org/v1"}, "and/or version (crd."),
    "spec field": (item("GlobalNetworkSet", "a", {"net": []}), "in the wrong location: net"),
    "metadata field": (nets("a", label={}), "in the wrong location: label"),
    "top field": (nets("a") | {"specs": {}}, "in the wrong location: specs"),
    "text for an array": (item("GlobalNetworkSet", "a", {"nets": "x"}), "cannot unmarshal string"),
    "text for a number": (item("IPPool", "a", {"blockSize": "26"}), "cannot unmarshal string"),
    "number for a time": (
        item("FelixConfiguration", "default", {"iptablesRefreshInterval": "90"}),
        "time: ",
    ),
    "number for a label": (nets("a", labels={"one": 1}), "cannot unmarshal number"),
}


@pytest.mark.parametrize("case", UNDECODABLE)
def test_a_file_with_an_undecodable_object_is_refused_whole(tool: Tool, case: str):
    wrong, text = UNDECODABLE[case]
    done = tool.give("apply", nets("before"), wrong)
    assert (1, "") == (done.code, done.out)
    assert text in done.err
    assert [] == tool.get("globalnetworkset")["items"]
    assert 1 == tool.give("validate", wrong).code


def test_a_file_without_objects_or_that_is_none_is_refused(tool: Tool, tmp_path: Path):
    assert "No resources specified in file -" in tool("apply", "-f", "-").err
    assert "no such file" in tool("apply", "-f", str(tmp_path / "none.json")).err
    assert 1 == tool("apply", "-f", "-", text="{[").code


INVALID = {
    "net": (nets("a", "192.0.2.0/33"), "Nets[0] = '192.0.2.0/33'"),
    "name": (nets("A_b"), "Name = 'A_b'"),
    "types twice": (item("GlobalNetworkPolicy", "a", {"types": ["Ingress", "Ingress"]}), "Types"),
    "action": (item("GlobalNetworkPolicy", "a", {"ingress": [{"action": "Bar"}]}), "Action"),
    "untracked": (item("GlobalNetworkPolicy", "a", {"doNotTrack": True}), "ApplyOnForward"),
    "endpoint of no node": (item("HostEndpoint", "a", {"interfaceName": "eth0"}), "node"),
    "endpoint of no interface": (item("HostEndpoint", "a", {"node": "n"}), "interface"),
    "peer of two nodes": (item("BGPPeer", "a", {"node": "n", "nodeSelector": "all()"}), "ode"),
    "pool with host bits": (item("IPPool", "a", {"cidr": "10.1.0.1/16"}), "strictly masked"),
    "small pool": (item("IPPool", "a", {"cidr": "10.1.0.0/27"}), "too small"),
    "pool of no net": (item("IPPool", "a", {"cidr": "10.1/16"}), "must be a valid subnet"),
    "empty bgp of a node": (item("Node", "a", {"bgp": {}}), "BGP"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_object_is_refused_and_named(fake: Tool, case: str):
    wrong, text = INVALID[case]
    done = fake.give("apply", wrong)
    assert 1 == done.code
    assert text in done.err
    assert [] == fake.get(wrong["kind"])["items"]
    assert 1 == fake.give("validate", wrong).code


def test_a_peer_may_not_name_a_filter_that_is_not_there(fake: Tool):
    peer = item("BGPPeer", "a", {"peerIP": "192.0.2.9", "asNumber": 64512, "filters": ["f"]})
    accept = {"exportV4": [{"action": "Accept"}]}
    assert "BGPFilter" in fake.give("apply", peer).err
    assert 0 == fake.give("apply", item("BGPFilter", "f", accept), peer).code
    assert 0 == fake.give("validate", peer).code


def test_a_pool_keeps_its_net_and_meets_no_other(tool: Tool):
    tool.give("apply", item("IPPool", "p", {"cidr": "10.1.0.0/16"}))
    other = tool.give("apply", item("IPPool", "p", {"cidr": "10.2.0.0/16"}))
    assert "IPPool CIDR cannot be modified" in other.err
    smaller = tool.give("apply", item("IPPool", "p", {"cidr": "10.1.0.0/16", "blockSize": 28}))
    assert "IPPool BlockSize cannot be modified" in smaller.err
    inside = tool.give("apply", item("IPPool", "q", {"cidr": "10.1.2.0/24"}))
    assert "IPPool(q) CIDR overlaps with IPPool(p) CIDR 10.1.0.0/16" in inside.err


def test_validate_writes_nothing(tool: Tool):
    success = "Successfully validated 1 'GlobalNetworkSet' resource(s)\n"
    assert (0, success, "") == tool.give("validate", nets("a"))
    assert [] == tool.get("globalnetworkset")["items"]


@pytest.mark.parametrize(
    "argv",
    [
        ("apply",),
        ("get",),
        ("apply", "globalnetworkset", "a"),
        ("delete", "globalnetworkset", "-f", "-"),
        ("apply", "-f", "-", "--force"),
        ("get", "node", "-f"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused(tool: Tool, argv: tuple[str, ...]):
    done = tool(*argv)
    assert 1 == done.code
    assert f"Invalid option: 'calicoctl {' '.join(argv)}'. Use flag '--help'" in done.err


def test_a_verb_that_is_none_is_refused(tool: Tool):
    assert 'unknown command: "destroy"' in tool("destroy").err


def test_the_version_is_told(tool: Tool):
    lines = tool("version").out.splitlines()
    assert lines[0].startswith("Client Version:    v3.")


def test_a_patch_removes_what_is_null_where_an_update_removes_no_label(tool: Tool):
    made = nets("a")
    made["metadata"]["labels"] = {"x": "1", "y": "2"}
    assert 0 == tool.give("apply", made).code
    made["metadata"]["labels"] = {"y": "2"}
    assert 0 == tool.give("replace", made).code
    assert {"x": "1", "y": "2"} == tool.get("globalnetworkset", "a")["metadata"]["labels"]
    found = tool.get("globalnetworkset", "a")
    version = {"resourceVersion": found["metadata"]["resourceVersion"]}
    patch = {"metadata": {"labels": {"x": None}, **version}, "spec": {"nets": ["10.0.0.0/8"]}}
    done = tool("patch", "globalnetworkset", "a", f"--patch={json.dumps(patch)}")
    assert (0, "Successfully patched 1 'GlobalNetworkSet' resource\n") == (done.code, done.out)
    after = tool.get("globalnetworkset", "a")
    assert ({"y": "2"}, ["10.0.0.0/8"]) == (after["metadata"]["labels"], after["spec"]["nets"])
    done = tool("patch", "globalnetworkset", "a", f"--patch={json.dumps(patch)}")
    assert (1, True) == (done.code, "update conflict" in done.err)
