"""The policies of config/consul, held to what each token may do, by a real Consul at each site."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.lab.kv import ConsulError, Kv
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab.sites import Sites

ROOT = "confsync/v1"
TREE = ("desired/common/bgp", "manifest/common", "changes/7", "blobs/ab")
SHARED = (*TREE, "head", "mirror", "ops/freeze/all", "conflicts")
HELD = (
    *SHARED,
    "copying/mirror",
    "lease/replicate",
    "mirror-ops",
    "moved",
    "report/osl/osl-compute-01",
    "report/bgo/bgo-compute-01",
    "lease/site",
    "site/journal/open",
    "site/report",
)
FOREIGN = ("other/app", "confsync/v2/head", "confsync/v10")


class May(NamedTuple):
    """What a token may do, asked at osl for a datacenter."""

    reads: frozenset[str]
    writes: frozenset[str]


NOTHING = May(frozenset(), frozenset())
REPLICATED = {
    *TREE,
    "mirror",
    "ops/freeze/all",
    "conflicts",
    "copying/mirror",
    "lease/replicate",
    "mirror-ops",
}
OF_SITE = {"lease/site", "site/journal/open", "site/report"}
REPORTS = {"report/osl/osl-compute-01", "report/bgo/bgo-compute-01"}
PUBLISHED = {*TREE, "head", "moved", "ops/freeze/all", "conflicts"}
EXPECTED: dict[tuple[str, str], May] = {
    ("agent", "osl"): May(
        frozenset({*SHARED, "report/osl/osl-compute-01"}), frozenset({"report/osl/osl-compute-01"})
    ),
    ("agent", "bgo"): May(frozenset(SHARED), frozenset()),
    ("site-osl", "osl"): May(
        frozenset({*SHARED, *OF_SITE, *REPORTS}),
        frozenset(OF_SITE),
    ),
    ("site-osl", "bgo"): May(frozenset(SHARED), frozenset()),
    ("replicator-osl", "osl"): May(frozenset(HELD), frozenset(REPLICATED)),
    ("replicator-osl", "bgo"): May(frozenset(HELD), frozenset()),
    ("publisher", "bgo"): May(frozenset(HELD), frozenset(PUBLISHED)),
    ("publisher", "osl"): May(frozenset(HELD), frozenset()),
    ("emergency", "bgo"): May(frozenset(HELD), frozenset(PUBLISHED)),
    ("emergency", "osl"): May(frozenset(HELD), frozenset(PUBLISHED)),
    ("reader", "osl"): May(frozenset(HELD), frozenset()),
    ("reader", "bgo"): May(frozenset(HELD), frozenset()),
    ("local", "osl"): May(frozenset(HELD), frozenset()),
    ("local", "bgo"): NOTHING,  # a local token is nobody elsewhere
    ("", "osl"): NOTHING,
    ("", "bgo"): NOTHING,
}


def allowed(kv: Kv, method: str, path: str, body: bytes | None = None) -> bool:
    """Tell whether this is permitted: all that is refused is refused loudly."""
    try:
        kv.call(method, path, body)
    except ConsulError as error:
        if error.status != 403:
            raise
        return False
    return True


@pytest.mark.root
def test_each_token_may_do_what_config_consul_says_and_no_more(sites: Sites):
    osl = sites.sites["osl"].consul.servers[0].kv
    secrets = {name: sites.tokens.secret(name) for name in ("publisher", "emergency", "reader")}
    secrets["agent"] = sites.node_token("osl", "osl-compute-01")
    sites.tokens.node("osl", "osl-compute-02", acts=True)
    sites.wait_known("osl-compute-02")
    secrets["site-osl"] = sites.tokens.secret("osl-compute-02")
    secrets["replicator-osl"] = sites.tokens.secret("replicator-osl")
    secrets["local"] = osl.token_of("local", ["confsync-reader"], local=True)
    secrets[""] = ""
    for datacenter in sites.sites:
        for key in HELD:
            osl.as_other(osl.token, datacenter=datacenter).put(f"{ROOT}/{key}", "there")
        for key in FOREIGN:
            osl.as_other(osl.token, datacenter=datacenter).put(key, "there")

    found = {}
    for token, datacenter in EXPECTED:
        kv = osl.as_other(secrets[token], datacenter=datacenter)
        found[token, datacenter] = May(
            frozenset(one for one in HELD if allowed(kv, "GET", f"kv/{ROOT}/{one}?consistent")),
            frozenset(one for one in HELD if allowed(kv, "PUT", f"kv/{ROOT}/{one}", b"there")),
        )
        assert not [one for one in FOREIGN if allowed(kv, "GET", f"kv/{one}?consistent")], token
        assert not [one for one in FOREIGN if allowed(kv, "PUT", f"kv/{one}", b"x")], token
    assert found == EXPECTED


@pytest.mark.root
def test_whole_prefixes_are_read_or_refused_loudly(sites: Sites):
    osl = sites.sites["osl"].consul.servers[0].kv
    agent = osl.as_other(sites.node_token("osl", "osl-compute-01"))
    for prefix in ("desired/common/", "manifest/", "changes/", "blobs/", "ops/", "conflicts"):
        osl.put(f"{ROOT}/{prefix}one", "1")
        assert allowed(agent, "GET", f"kv/{ROOT}/{prefix}?recurse&consistent"), prefix
        assert allowed(agent, "GET", f"kv/{ROOT}/{prefix}?keys&consistent"), prefix
    for prefix in ("report/", "lease", "copying", ""):
        assert not allowed(agent, "GET", f"kv/{ROOT}/{prefix}?recurse&consistent"), prefix

    [one] = agent.txn({"Verb": "get-tree", "Key": f"{ROOT}/desired/common/"})["Results"]
    assert f"{ROOT}/desired/common/one" == one["KV"]["Key"]
    with pytest.raises(ConsulError, match="Permission denied"):
        agent.txn({"Verb": "set", "Key": f"{ROOT}/desired/common/one", "Value": "2"})
    assert b"1" == osl.get(f"{ROOT}/desired/common/one")


@pytest.mark.root
def test_a_replicator_holds_the_lease_at_its_own_site_only(sites: Sites):
    osl = sites.sites["osl"].consul.servers[0].kv
    replicator = osl.as_other(sites.tokens.secret("replicator-osl"))
    session = replicator.json("PUT", "session/create", {"TTL": "10s", "LockDelay": "1s"})["ID"]
    assert replicator.json("PUT", f"kv/{ROOT}/lease/replicate?acquire={session}", b"osl-compute-01")
    assert replicator.json("PUT", f"session/renew/{session}")
    operation = {"Verb": "check-session", "Key": f"{ROOT}/lease/replicate", "Session": session}
    written = {"Verb": "set", "Key": f"{ROOT}/mirror", "Value": "1"}
    assert replicator.txn(operation, written)["Errors"] is None
    assert allowed(replicator, "PUT", f"session/destroy/{session}")

    away = osl.as_other(sites.tokens.secret("replicator-osl"), datacenter="bgo")
    assert not allowed(away, "PUT", "session/create", b'{"TTL": "10s"}')
    agent = osl.as_other(sites.node_token("osl", "osl-compute-01"))
    assert not allowed(agent, "PUT", "session/create", b'{"TTL": "10s"}')


@pytest.mark.root
def test_tokens_go_on_working_at_a_site_that_is_cut_off(sites: Sites):
    site = sites.sites["osl"]
    osl = site.consul.servers[0].kv
    agent = osl.as_other(sites.node_token("osl", "osl-compute-01"), timeout_s=2)
    osl.put(f"{ROOT}/mirror", "1")
    assert b"1" == agent.get(f"{ROOT}/mirror")
    sites.links["osl-wan"].cut_silently()
    # What was cached is forgotten with the process; what was replicated is not.
    site.consul.servers[0].restart()
    site.consul.servers[0].wait_leader()
    wait_until("it is known", lambda: allowed(agent, "GET", f"kv/{ROOT}/mirror?consistent"))
    assert b"1" == agent.get(f"{ROOT}/mirror")
    agent.put(f"{ROOT}/report/osl/osl-compute-01", "alive")
