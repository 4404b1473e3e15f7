"""A host of osl, whose changes are published in bgo: it reads its own datacenter, always."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.pair import AWAY, HOME
from tests.lab.site import NODE_KEY, PREFIX, Site
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.pair import Pair

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

KEY = f"{PREFIX}/desired/{NODE_KEY}"


@pytest.fixture
def osl(lab: Lab, pair: Pair) -> Site:
    settings = {
        "site": AWAY,
        "source": {"consul": {"address": pair.away.url, "home_datacenter": HOME}},
        "replicate": {"enabled": True},
    }
    return Site(lab, consul=pair.away, bfd=False, settings=settings)


def announcing(site: Site, prefix: str) -> dict[str, Any]:
    return site.document(announce={"one": prefix})


def conflicts(site: Site) -> list[str]:
    return list(site.status()["mirror"]["conflicts"])


def edited(site: Site) -> dict[str, Any]:
    """Write another document at osl, as an operator does in an emergency; wait until it runs."""
    document = announcing(site, "198.51.100.0/24")
    site.put(document)
    wait_until("the edit runs here", lambda: b"198.51.100.0/24" in site.near.config.read_bytes())
    wait_until("it is shown", lambda: conflicts(site) == [f"desired/{NODE_KEY}"])
    return document


def test_a_change_at_home_reaches_a_host_of_another_site(osl: Site, pair: Pair) -> None:
    osl.start()
    assert b"complete" in (pair.away.kv.get(f"{PREFIX}/mirror") or b"")
    assert pair.away.kv.get(f"{PREFIX}/head") is None, "a push goes to home"
    change = osl.push(announcing(osl, "203.0.113.0/24"))
    status = osl.wait_state("in-sync", change=change)
    assert b"203.0.113.0/24" in osl.near.config.read_bytes()
    assert not status["unrecorded"]
    expected = {"home": HOME, "holds": True, "change": change, "behind": 0, "problem": ""}
    assert expected.items() <= status["mirror"].items()


def test_an_edit_at_the_site_is_kept_until_it_is_taken_over(osl: Site) -> None:
    osl.start()
    document = edited(osl)
    change = osl.push(announcing(osl, "203.0.113.0/24"))
    wait_until("it is copied", lambda: osl.status()["mirror"]["change"] == change)
    assert b"198.51.100.0/24" in osl.near.config.read_bytes()
    done = osl.run("push", str(osl.tree), "-m", "as osl", "--take", f"{AWAY}:{NODE_KEY}")
    assert (0, f"{AWAY} has it" in done.stderr) == (done.returncode, True), done.stderr
    assert document == json.loads((osl.tree / f"{NODE_KEY}.yaml").read_text())
    status = osl.wait_state("in-sync", change=change + 1)
    assert b"198.51.100.0/24" in osl.near.config.read_bytes()
    assert not status["unrecorded"]
    wait_until("no conflict", lambda: conflicts(osl) == [])


def test_an_edit_at_the_site_is_given_up_by_name(osl: Site) -> None:
    osl.start()
    edited(osl)
    done = osl.run("push", str(osl.tree), "-m", "no", "--drop", f"{AWAY}:{NODE_KEY}")
    assert done.returncode == 0, done.stderr
    osl.wait_state("in-sync", change=2)
    assert b"192.0.2.0/24" in osl.near.config.read_bytes()
    wait_until("no conflict", lambda: conflicts(osl) == [])


def test_a_change_of_the_tree_is_not_overwritten_by_taking(osl: Site) -> None:
    osl.start()
    edited(osl)
    osl.write(announcing(osl, "203.0.113.0/24"))
    before = (osl.tree / f"{NODE_KEY}.yaml").read_bytes()
    done = osl.run("push", str(osl.tree), "-m", "x", "--take", f"{AWAY}:{NODE_KEY}")
    assert done.returncode == 75
    assert "by hand" in done.stderr
    assert before == (osl.tree / f"{NODE_KEY}.yaml").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--take", "nodes/x"), 64, "wanted SITE:KEY"),
        (("--take", f"{AWAY}:common/bgp"), 75, "no edit to decide about"),
        (("--drop", f"{HOME}:common/bgp"), 75, "nothing was ever copied to bgo"),
        (("--drop", "trd:common/bgp"), 69, "trd"),
        (("--home", HOME), 64, "home already"),
    ],
)
def test_what_cannot_be_decided_is_said(
    osl: Site, words: tuple[str, ...], code: int, said: str
) -> None:
    osl.start()
    done = osl.run("push", str(osl.tree), "-m", "x", *words)
    assert (code, True) == (done.returncode, said in done.stderr), done.stderr


def test_a_site_goes_on_while_home_is_gone_and_takes_the_last_state_after(
    osl: Site, pair: Pair
) -> None:
    osl.start()
    osl.agent.wait_for("/livez")
    pair.home.stop()
    try:
        edited(osl)
    finally:
        pair.home.cont()
    change = osl.push(announcing(osl, "192.0.2.0/24"), "--drop", f"{AWAY}:{NODE_KEY}")
    osl.wait_state("in-sync", change=change)
    assert b"198.51.100.0/24" not in osl.near.config.read_bytes()


def test_an_agent_that_was_killed_copies_on_when_it_is_back(osl: Site) -> None:
    osl.start()
    osl.agent.kill()
    change = osl.push(announcing(osl, "203.0.113.0/24"))
    osl.agent.start()
    osl.wait_state("in-sync", change=change, timeout_s=60)


def test_home_is_moved_and_the_old_one_publishes_no_more(osl: Site, pair: Pair) -> None:
    osl.start()
    done = osl.run("push", str(osl.tree), "-m", "bgo is rebuilt", "--home", AWAY)
    assert done.returncode == 0, done.stderr
    assert f'home_datacenter = "{AWAY}"' in done.stderr
    late = osl.run("push", str(osl.tree), "-m", "late")
    assert (69, True) == (late.returncode, f"home has moved to {AWAY}" in late.stderr)
    osl.restart(source={"consul": {"home_datacenter": AWAY}})
    assert osl.wait_state("in-sync", change=2)["mirror"] is None
    change = osl.push(announcing(osl, "203.0.113.0/24"))
    osl.wait_state("in-sync", change=change)
    assert pair.away.kv.get(f"{PREFIX}/head")
