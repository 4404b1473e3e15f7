"""What a real Consul may do to us: nothing wrong is applied, the reason is told, and it goes on."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.lab import Lab
from tests.lab.site import NODE_KEY, PREFIX, Site
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.consul import ConsulServer

pytestmark = pytest.mark.root

WHOLE = f'key_prefix "{PREFIX}/" {{ policy = "write" }}'
PART = f"""
key "{PREFIX}/head" {{ policy = "read" }}
key_prefix "{PREFIX}/desired/common/" {{ policy = "read" }}
"""
QUIET_S = 1.0
# A server asks itself anew after a second what a token may do; by default after half a minute.
ACL = {"enabled": True, "default_policy": "deny", "policy_ttl": "1s", "token_ttl": "1s"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give a site whose agent has a token of its own, and has seen two changes."""
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        server = lab.consul(acl=True, settings={"acl": ACL})
        token = lab.folder / "token"
        token.write_text(server.kv.new_token("agent", WHOLE))
        source = {"quiet_min_s": QUIET_S, "consul": {"token_file": str(token)}}
        # A blocking query outlives its token: that is found when the agent looks by itself.
        settings = {"source": source, "drift": {"interval_s": 2.0}}
        settings["drivers"] = {"bird": {"hold_s": 0.0}}
        site = Site(lab, consul=server, bfd=False, settings=settings)
        site.start()
        site.wait_state("in-sync", change=site.push(site.document()))
        yield site


@pytest.fixture
def site(built: Site) -> Iterator[Site]:
    """Give the site at rest; whatever a test did to Consul is put back."""
    keys = entries(server(built))
    built.wait_state("in-sync")
    yield built
    if server(built).process.exit_code is not None:
        server_back(built, keys)
    server(built).kv.put_all(keys)
    rules_back(built, keys)
    built.wait_state("in-sync")


def server(site: Site) -> ConsulServer:
    assert site.consul
    return site.consul


def entries(of: ConsulServer) -> dict[str, str | bytes]:
    found = of.kv.json("GET", f"kv/{PREFIX}/?recurse&consistent")
    return {one["Key"]: base64.b64decode(one["Value"] or "") for one in found}


@contextmanager
def nothing_happens(site: Site) -> Iterator[None]:
    """Require that no transaction began and no session was reset."""

    def picture() -> tuple[Any, ...]:
        transaction = site.status()["last_transaction"]["id"]
        return transaction, site.near.config.read_bytes(), site.render(), site.since()

    before = picture()
    yield
    assert picture() == before


def goes_on(site: Site) -> None:
    """Require that a new document is carried out, with nobody's help."""
    before = site.render()
    site.put(site.document(announce={"two": "198.51.100.0/24"}))
    wait_until("the new document runs", lambda: site.render() != before, timeout_s=40)
    site.wait_state("in-sync")
    site.put(site.document())
    wait_until("and the first one again", lambda: site.render() == before)


class Fault(NamedTuple):
    """What is done, how the agent tells it, and the cure."""

    strike: Callable[[Site], None]
    state: str
    words: tuple[str, ...]
    cure: Callable[[Site, dict[str, str | bytes]], None]


def keys_back(site: Site, keys: dict[str, str | bytes]) -> None:
    server(site).kv.put_all(keys)


def rules_back(site: Site, _: object) -> None:
    server(site).kv.change_rules("agent", WHOLE)


def server_back(site: Site, _: object) -> None:
    server(site).restart()
    server(site).wait_leader()


def token_back(site: Site, _: object) -> None:
    fresh = server(site).kv.new_token(f"agent-{time.monotonic_ns()}", WHOLE)
    token_file(site).write_text(fresh)


def token_file(site: Site) -> Any:
    return site.lab.folder / "token"


def head(site: Site, **changes: Any) -> None:
    kv = server(site).kv
    found = json.loads(kv.get(f"{PREFIX}/head") or b"")
    kv.put(f"{PREFIX}/head", json.dumps({**found, **changes}))


def lowered(site: Site) -> None:
    kv = server(site).kv
    found = json.loads(kv.get(f"{PREFIX}/head") or b"")
    head(site, change=found["change"] - 1)


def deleted(site: Site) -> None:
    server(site).kv.delete(f"{PREFIX}/desired/{NODE_KEY}")


FAULTS = {
    "consul killed": Fault(lambda site: server(site).kill(), "in-sync", ("Consul",), server_back),
    "ACL narrowed to a part": Fault(
        lambda site: server(site).kv.change_rules("agent", PART),
        "stale",
        ("hides", f"desired/{NODE_KEY}"),
        rules_back,
    ),
    "token revoked": Fault(
        lambda site: server(site).kv.delete_token(token_file(site).read_text()),
        "stale",
        ("403", "ACL not found"),
        token_back,
    ),
    "prefix deleted": Fault(
        lambda site: server(site).kv.delete_tree(f"{PREFIX}/"),
        "rejected",
        ("is gone, and nothing is concluded from absence",),
        keys_back,
    ),
    "document deleted": Fault(
        deleted, "rejected", (f"desired/{NODE_KEY} is gone", "nothing is concluded"), keys_back
    ),
    "head lowered": Fault(lowered, "rejected", ("head is older than what was seen",), keys_back),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_nothing_is_told_and_heals(site: Site, name: str) -> None:
    fault, keys = FAULTS[name], entries(server(site))
    with nothing_happens(site):
        fault.strike(site)
        wait_until("the fault is told", lambda: told(site, fault), timeout_s=45)
        fault.cure(site, keys)
        wait_until("the fault is over", lambda: not site.status()["source"]["problem"], 45)
        site.wait_state("in-sync", timeout_s=45)
    goes_on(site)


def told(site: Site, fault: Fault) -> bool:
    status = site.status()
    text = f"{status['reason']} {status['source']['problem']}"
    return status["state"] == fault.state and all(word in text for word in fault.words)


def test_while_somebody_publishes_readers_keep_what_they_have(site: Site) -> None:
    keys = entries(server(site))
    with nothing_happens(site):
        change = json.loads(keys[f"{PREFIX}/head"])["change"] + 1
        head(site, phase="publishing", change=change)
        site.put(site.document(announce={"two": "198.51.100.0/24"}))
        time.sleep(3 * QUIET_S)  # what must not happen would have happened by now
        assert site.status()["reason"] == "a change is being published"
        keys_back(site, keys)
        site.wait_state("in-sync")
    goes_on(site)


def test_a_document_half_written_under_the_quiet_period_is_never_acted_upon(site: Site) -> None:
    before = site.status()["last_transaction"]["id"]
    whole = json.dumps(site.document(announce={"two": "198.51.100.0/24"}))
    for size in range(0, len(whole), len(whole) // 8):
        site.put(whole[:size])
        time.sleep(QUIET_S / 10)
        assert site.status()["state"] != "rejected"
    site.put(whole)
    wait_until("the whole one runs", lambda: site.status()["last_transaction"]["id"] > before)
    status = site.wait_state("in-sync")
    assert status["last_transaction"]["id"] == before + 1
    assert status["last_transaction"]["outcome"] == "committed"
    site.put(site.document())
    wait_until("it is undone", lambda: site.status()["last_transaction"]["id"] > before + 1)


def test_a_document_left_half_written_is_refused_with_its_place(site: Site) -> None:
    with nothing_happens(site):
        site.put(json.dumps(site.document())[:100])
        status = site.wait_state("rejected")
        assert f"desired/{NODE_KEY}" in status["reason"]
        site.put(site.document())
        site.wait_state("in-sync")
    goes_on(site)


def test_flapping_within_the_quiet_period_is_no_change(site: Site) -> None:
    with nothing_happens(site):
        for _ in range(5):
            site.put(site.document(announce={"two": "198.51.100.0/24"}))
            time.sleep(QUIET_S / 10)
            site.put(site.document())
            time.sleep(QUIET_S / 10)
        time.sleep(2 * QUIET_S)
        site.wait_state("in-sync")
