"""What an operator sees of all sites, and what every agent writes for it."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.pair import AWAY, HOME
from tests.lab.site import NODE_KEY, PREFIX, Site
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.consul import ConsulServer
    from tests.lab.pair import Pair

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

NODE = "lab-edge-1"
SITE_KEY = f"{PREFIX}/site/report"


@pytest.fixture
def osl(lab: Lab, pair: Pair) -> Site:
    consul = {"address": pair.away.url, "home_datacenter": HOME}
    settings = {"site": AWAY, "source": {"consul": consul}, "replicate": {"enabled": True}}
    return Site(lab, consul=pair.away, bfd=False, settings=settings)


def report(server: ConsulServer, site: str = AWAY, node: str = NODE) -> Any:
    return json.loads(server.kv.get(f"{PREFIX}/report/{site}/{node}") or b"null")


def said(site: str, node: str, state: str, age_s: float = 1, **more: Any) -> str:
    """Return a report as an agent would write it."""
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    told = {"state": state, "at": at, "site": site, "node": node, "role": "edge", "reason": ""}
    return json.dumps(told | {"applied": 1, "next": "", "seq": 1, "boot": "x", **more})


def tell(
    server: ConsulServer, site: str, node: str, state: str, *age_s: float, **more: Any
) -> None:
    server.kv.put(f"{PREFIX}/report/{site}/{node}", said(site, node, state, *age_s, **more))


def show(server: ConsulServer, key: str, change: int, phase: str = "complete") -> None:
    """Write a head as a publisher, or a mirror as a replicator would have."""
    record = {"phase": phase, "change": change, "by": "ann", "at": "", "via": "", "why": ""}
    server.kv.put(f"{PREFIX}/{key}", json.dumps(record))


def fleet(site: Site, *words: str) -> tuple[int, Any, str]:
    """Return exit code, data and text."""
    told = site.run("status", *(words or ("--sites",)))
    data = site.run("status", *(words or ("--sites",)), "--json")
    return data.returncode, json.loads(data.stdout).get("data"), told.stdout + told.stderr


def test_a_transition_is_reported_and_seen_from_the_other_site(osl: Site, pair: Pair) -> None:
    osl.start()
    wait_until("it is told", lambda: (report(pair.away) or {}).get("state") == "in-sync")
    change = osl.push(osl.document(announce={"one": "203.0.113.0/24"}))
    wait_until("the change is told", lambda: report(pair.away)["applied"] == change)
    assert (AWAY, NODE, "edge") == tuple(report(pair.away)[n] for n in ("site", "node", "role"))
    assert "203.0.113.0" not in json.dumps(report(pair.away)), "no values"
    osl.agent.settings["source"]["consul"]["address"] = pair.home.url
    osl.agent.write_settings()
    code, data, text = fleet(osl)
    assert (0, [HOME, AWAY]) == (code, [one["site"] for one in data["sites"]]), text
    assert [(NODE, "in-sync")] == [(one["node"], one["state"]) for one in data["nodes"]]
    assert {"home": True, "change": change, "behind": 0}.items() <= data["sites"][0].items()
    assert {"home": False, "change": change, "behind": 0}.items() <= data["sites"][1].items()


def test_a_consul_that_was_away_gets_the_newest_state(osl: Site, pair: Pair) -> None:
    osl.start()
    wait_until("it is told", lambda: report(pair.away))
    boot = report(pair.away)["boot"]
    pair.away.stop()
    try:
        assert osl.run("agent", "pause", "--reason", "INC-7").returncode == 0
    finally:
        pair.away.cont()
    told = wait_until("it is told", lambda: report(pair.away)["state"] == "frozen", 30)
    assert told
    assert (boot, True) == (report(pair.away)["boot"], "INC-7" in report(pair.away)["frozen_by"])


@pytest.fixture
def watcher(osl: Site, pair: Pair) -> Site:
    """Give somebody who looks from home, with reports of four nodes."""
    for server in (pair.home, pair.away):
        server.kv.put(f"{PREFIX}/desired/common/x", "{}")
    tell(pair.home, HOME, "bgo-edge-1", "in-sync")
    tell(pair.home, HOME, "bgo-nat-1", "in-sync", role="nat")
    tell(pair.away, AWAY, "osl-edge-1", "in-sync", 3600)
    tell(pair.away, AWAY, "osl-nat-1", "halted", reason="rollback failed", next="do it", role="nat")
    osl.agent.settings["source"]["consul"]["address"] = pair.home.url
    return osl


def test_a_node_that_is_silent_is_not_what_it_was(watcher: Site) -> None:
    code, data, text = fleet(watcher)
    states = {one["node"]: one["state"] for one in data["nodes"]}
    assert {"in-sync", "silent", "halted"} == set(states.values())
    assert ("silent", 5) == (states["osl-edge-1"], code)
    assert "osl-edge-1  SILENT  #1  its last report, in-sync, is 1h00m old" in text
    assert "osl-nat-1  HALTED  #1  rollback failed  next: do it" in text
    assert "bgo-edge-1" not in text, "only those with problems are listed"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("not json", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "does not say when"),
        ('{"state": 7, "role": null, "applied": "x", "at": 5, "node": "other"}', "does not say"),
    ],
)
def test_a_report_that_is_none_is_one_nodes_trouble_only(
    watcher: Site, pair: Pair, raw: str, told: str
) -> None:
    pair.home.kv.put(f"{PREFIX}/report/{HOME}/bgo-bad-1", raw)
    code, data, text = fleet(watcher, HOME)
    assert (69, {"bgo-bad-1": "silent", "bgo-edge-1": "in-sync", "bgo-nat-1": "in-sync"}) == (
        code, {one["node"]: one["state"] for one in data["nodes"]},
    ), text  # fmt: skip
    assert told in text or told in str(data)


@pytest.fixture
def calm(watcher: Site, pair: Pair) -> Site:
    """Give somebody who looks from home, where no node has a problem."""
    tell(pair.away, AWAY, "osl-edge-1", "in-sync")
    tell(pair.away, AWAY, "osl-nat-1", "in-sync", role="nat")
    return watcher


@pytest.mark.parametrize(
    ("state", "age_s", "more", "code", "shown"),
    [
        ("in-sync", 1, {"applied": 7}, 0, "IN-SYNC  #7  told "),
        ("pending", 1, {}, 2, "PENDING  #1  told "),
        (
            "rolled-back", 1, {"reason": "no report from x", "next": "push another"}, 4,
            "ROLLED-BACK  #1  no report from x (osl-nat-1 acts)  next: push another",
        ),
        ("rejected", 1, {"reason": "bad"}, 4, "REJECTED  #1  bad (osl-nat-1 acts)"),
        ("halted", 1, {"reason": "no"}, 5, "HALTED  #1  no (osl-nat-1 acts)"),
        (
            "in-sync", 3600, {"next": "nothing"}, 69,
            "SILENT  #1  its last report, in-sync, is 1h00m old (osl-nat-1 acted)  next: start an",
        ),
        ("in-sync", -86_400, {}, 69, "SILENT  #1  its last report, in-sync, does not say when"),
    ],
)  # fmt: skip
def test_a_site_is_shown_by_what_its_agent_tells(
    calm: Site, pair: Pair, state: str, age_s: float, more: Any, code: int, shown: str
) -> None:
    pair.away.kv.put(SITE_KEY, said(AWAY, "osl-nat-1", state, age_s, **more))
    found, data, text = fleet(calm)
    assert (code, True) == (found, f"{AWAY}: the site  {shown}" in text), text
    work = {one["site"]: one["site_work"] for one in data["sites"]}
    assert (None, "osl-nat-1") == (work[HOME], work[AWAY]["node"])
    assert ("silent" if code == 69 else state) == work[AWAY]["state"]
    assert "bgo: the site" not in text, "nobody acts for that one"
    assert {"in-sync"} == {one["state"] for one in data["nodes"]}, "it is no node's state"


@pytest.mark.parametrize("raw", ["not json", "[]", "{}", '{"state": 7, "node": 7, "at": 5}'])
def test_a_sites_report_that_is_none_is_silence(calm: Site, pair: Pair, raw: str) -> None:
    pair.away.kv.put(SITE_KEY, raw)
    code, data, text = fleet(calm)
    shown = f"{AWAY}: the site  SILENT  -  its last report, unknown, does not say when it was"
    assert (69, True, True) == (code, shown in text, "(nobody known acted)" in text), text
    assert "silent" == data["sites"][1]["site_work"]["state"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((AWAY,), 5), (("--site", AWAY), 5), (("--problems",), 5), ((HOME,), 0),
        (("osl-nat-1",), 0), (("--node", "osl-nat-1"), 0), (("--role", "nat"), 0),
    ],
)  # fmt: skip
def test_a_site_is_selected_by_its_own_name_only(
    calm: Site, pair: Pair, words: tuple[str, ...], code: int
) -> None:
    pair.away.kv.put(SITE_KEY, said(AWAY, "osl-nat-1", "halted"))
    found, data, text = fleet(calm, *words)
    assert (code, bool(code)) == (found, f"{AWAY}: the site" in text), text
    assert bool(code) == any(one["site_work"] for one in data["sites"])
    pair.away.kv.put(SITE_KEY, said(AWAY, "osl-nat-1", "in-sync"))
    assert ("--problems" not in words and bool(code)) == ("the site" in fleet(calm, *words)[2])


def test_a_clock_that_runs_ahead_hides_no_death(watcher: Site, pair: Pair) -> None:
    tell(pair.home, HOME, "bgo-edge-1", "in-sync", -86_400)
    code, data, _ = fleet(watcher, "bgo-edge-1")
    assert (69, ["silent"]) == (code, [one["state"] for one in data["nodes"]])


def test_a_consul_of_our_own_that_hangs_is_told_soon(watcher: Site, pair: Pair) -> None:
    pair.home.stop()
    try:
        code, _, text = fleet(watcher)
    finally:
        pair.home.cont()
    assert (69, True) == (code, "no answer from Consul in 3 s" in text), text


@pytest.mark.parametrize(
    ("words", "names", "code"),
    [
        ((HOME,), {"bgo-edge-1", "bgo-nat-1"}, 0),
        (("*-nat-*",), {"bgo-nat-1", "osl-nat-1"}, 5),
        (("--role", "nat", "--site", "b*"), {"bgo-nat-1"}, 0),
        (("--node", "osl-edge-1"), {"osl-edge-1"}, 69),
        (("--problems",), {"osl-edge-1", "osl-nat-1"}, 5),
        (("--problems", "--site", HOME), set(), 0),
        (("nobody",), set(), 69),
    ],
)
def test_selectors(watcher: Site, words: tuple[str, ...], names: set[str], code: int) -> None:
    found, data, text = fleet(watcher, *words)
    assert (code, names) == (found, {one["node"] for one in data["nodes"]}), text


def test_a_node_that_nobody_heard_of_is_said(watcher: Site) -> None:
    assert "no report of such a node was found" in fleet(watcher, "bgo-edge-9")[2]


def test_problems_are_listed_beside_all_that_are_counted(watcher: Site) -> None:
    data = fleet(watcher, "--problems")[1]
    assert [2, 2] == [one["nodes"] for one in data["sites"]]
    assert {"in-sync": 2} == data["sites"][0]["states"]


@pytest.mark.parametrize(
    ("phase", "change", "told", "code"),
    [
        ("complete", 7, "#7  ", 0),
        ("complete", 5, "#5 (2 behind)", 2),
        ("complete", 9, "#9 (2 ahead of home)", 2),
        ("publishing", 7, "#7 publishing", 2),
    ],
)
def test_a_copy_that_is_not_what_home_has_is_not_in_sync(
    watcher: Site, pair: Pair, phase: str, change: int, told: str, code: int
) -> None:
    show(pair.home, "head", 7)
    show(pair.away, "mirror", change, phase)
    for node in ("osl-edge-1", "osl-nat-1"):
        tell(pair.away, AWAY, node, "in-sync", applied=change)
    found, data, text = fleet(watcher)
    assert (code, True) == (found, told in text), text
    assert 7 - change == data["sites"][1]["behind"]
    found, data, text = fleet(watcher, "bgo-edge-*")
    assert (0, [HOME]) == (found, [one["site"] for one in data["sites"]]), text
    pair.home.kv.delete(f"{PREFIX}/head")
    found, _, text = fleet(watcher, AWAY)
    assert (69, True) == (found, "(lag unknown)" in text), text


def test_a_site_with_a_copy_and_no_reports_is_not_fine(watcher: Site, pair: Pair) -> None:
    show(pair.home, "head", 7)
    for key in pair.away.kv.keys(f"{PREFIX}/report/"):
        pair.away.kv.delete(key)
    assert 0 == fleet(watcher)[0], "a datacenter of others"
    show(pair.away, "mirror", 7)
    code, _, text = fleet(watcher)
    assert (69, True) == (code, f"{AWAY}: no node has ever reported there" in text), text


def test_a_site_that_is_not_meant_is_not_waited_for_in_the_exit_code(
    watcher: Site, pair: Pair
) -> None:
    show(pair.home, "head", 7)
    pair.away.stop()
    try:
        code, data, text = fleet(watcher, "--site", HOME)
    finally:
        pair.away.cont()
    assert (0, [HOME]) == (code, [one["site"] for one in data["sites"]]), text


def test_a_site_that_hangs_is_named_and_the_others_are_shown(watcher: Site, pair: Pair) -> None:
    pair.away.stop()
    try:
        code, data, text = fleet(watcher)
    finally:
        pair.away.cont()
    assert (69, True) == (code, f"{AWAY}: could not be asked: no answer in 3 s" in text), text
    assert {"bgo-edge-1", "bgo-nat-1"} == {one["node"] for one in data["nodes"]}


def test_conflicts_are_shown_with_what_ends_them(osl: Site) -> None:
    osl.start()
    osl.put(osl.document(announce={"two": "198.51.100.0/24"}))
    wait_until("it is known", lambda: osl.status()["mirror"]["conflicts"])
    wait_until("it is written", lambda: fleet(osl)[1]["sites"][1]["conflicts"])
    code, _, text = fleet(osl)
    assert code == 2
    assert f"confsync push TREE -m WHY --take {AWAY}:{NODE_KEY}" in text
    assert f"confsync push TREE -m WHY --drop {AWAY}:{NODE_KEY}" in text
    assert "edited here and kept" in osl.run("status").stdout


def test_an_agent_whose_reports_are_refused_says_so(lab: Lab) -> None:
    server = lab.consul(acl=True)
    token = lab.folder / "token"
    ours = f'key_prefix "{PREFIX}/" {{ policy = "write" }} '
    ours += f'key_prefix "{PREFIX}/report/" {{ policy = "deny" }}'
    token.write_text(server.kv.new_token("mute", ours))
    source = {"consul": {"token_file": str(token)}}
    site = Site(lab, consul=server, bfd=False, settings={"source": source})
    site.start()
    said = f"others are not told how this node is: {PREFIX}/report/lab/{NODE} may not be written"
    wait_until("it is said", lambda: said in site.run("status").stdout)
    assert 0 == site.run("status").returncode, "it is no state of this node"


def test_a_token_that_may_not_read_is_said(lab: Lab) -> None:
    server = lab.consul(acl=True)
    token = lab.folder / "token"
    token.write_text(server.kv.new_token("nobody", 'key_prefix "other/" { policy = "read" }'))
    source = {"consul": {"token_file": str(token)}}
    site = Site(lab, consul=server, bfd=False, settings={"source": source})
    code, _, text = fleet(site)
    assert (69, True) == (code, "dc1: could not be asked" in text and "403" in text)


@pytest.mark.parametrize(
    "hidden", ["head", "mirror", "moved", "conflicts", "site/report", "report/"]
)
def test_what_a_token_may_not_read_is_not_taken_for_empty(lab: Lab, hidden: str) -> None:
    server = lab.consul(acl=True)
    tell(server, "dc1", "n1", "halted")
    rules = f'key_prefix "{PREFIX}/" {{ policy = "list" }} key_prefix "{PREFIX}/{hidden}" '
    token = lab.folder / "token"
    token.write_text(server.kv.new_token("half", rules + '{ policy = "deny" }'))
    source = {"consul": {"token_file": str(token)}}
    site = Site(lab, consul=server, bfd=False, settings={"source": source})
    code, _, text = fleet(site)
    told = f"dc1: could not be asked: {PREFIX}/{hidden}"
    assert (69, True) == (code, told in text and "403" in text), text
    assert "ever reported" not in text


def test_without_settings_the_fleet_is_shown(watcher: Site, pair: Pair) -> None:
    watcher.agent.write_settings()
    argv = [*watcher.agent.command("status"), "--config", str(watcher.lab.folder / "none.toml")]
    env = {**watcher.agent.env, "CONSUL_HTTP_ADDR": pair.home.url}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (5, True) == (done.returncode, "osl-nat-1" in done.stdout), done.stdout + done.stderr
