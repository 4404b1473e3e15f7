from __future__ import annotations

import pytest

from confsync.cli.output import Options
from confsync.cli.plan import joined, outcome, proposal
from confsync.flow.passed import Pass
from confsync.flow.transact import Outcome
from confsync.model.errors import HostBusy, HostRefused, PlanRefused, Unreachable, Violation
from confsync.model.ids import Digest, DriverName
from confsync.model.machine import State
from confsync.model.plan import Difference, Impact, Plan, Step

REVISION = Digest("a" * 64)
CHANGES = (
    Difference("+", "bgp.peers.rr3.ipv4", None, "172.18.6.3", Impact.HITLESS),
    Difference("-", "bgp.announce.old", "10.0.0.0/24", None, Impact.HITLESS),
    Difference("~", "bgp.local_as", 65500, 65501, Impact.SESSION_RESET),
)
STEP = Step(DriverName("bird"), "configure", 1, "bird", Impact.SESSION_RESET, "x", {}, CHANGES)
NOTHING = Pass(plan=Plan(REVISION, ()))
CHANGE = Pass(plan=Plan(REVISION, (STEP,), ("rr3 has no BFD",)))
REFUSED = PlanRefused("peer_loss", "bgp.ipv4", "2 peers would go")


@pytest.fixture
def options(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    return Options()


def ended(state, reason=""):
    return Pass(plan=CHANGE.plan, outcome=Outcome(state, REVISION, reason))


def test_a_plan_shows_each_difference_with_its_impact(options):
    result = proposal(CHANGE, options)
    assert 2 == result.exit
    assert ("rr3 has no BFD",) == result.warnings
    assert (
        result.text
        == """\
+ bgp.peers.rr3.ipv4 172.18.6.3   hitless
- bgp.announce.old 10.0.0.0/24   hitless
~ bgp.local_as 65500 -> 65501   session reset
1 step, impact: session reset. Nothing was changed."""
    )
    assert "session reset" == result.data["steps"][0]["impact"]
    assert CHANGE.plan.digest == result.data["digest"]


def test_what_else_people_want_to_know_stands_beside_the_impact(options):
    sizes = ("lvm.vg_ext/lv_instances", "200 GiB", "260 GiB", Impact.ONLINE_GROW)
    item = Difference("~", *sizes, note="41 GiB stay free")
    step = Step(DriverName("lvm"), "lv.extend", 1, "x", Impact.ONLINE_GROW, "x", {}, (item,))
    result = proposal(Pass(plan=Plan(REVISION, (step,))), options)
    shown = "~ lvm.vg_ext/lv_instances 200 GiB -> 260 GiB   online grow; 41 GiB stay free"
    assert shown == result.text.splitlines()[0]
    assert "41 GiB stay free" == result.data["steps"][0]["differences"][0]["note"]


def test_no_changes_is_said_and_is_0(options):
    assert (0, "No changes.") == (proposal(NOTHING, options).exit, proposal(NOTHING, options).text)
    assert (0, "No changes.") == (outcome(NOTHING, options).exit, outcome(NOTHING, options).text)


def test_a_plan_names_what_stands_against_it(options):
    found = Pass(plan=CHANGE.plan, refusals=(REFUSED,), observing=(DriverName("bird"),))
    result = proposal(found, options)
    assert 2 == result.exit
    assert "--allow peer_loss:bgp.ipv4" in result.note
    assert "bird is not ours" in result.note
    assert ["peer_loss:bgp.ipv4"] == result.data["refusals"]


@pytest.mark.parametrize("tell", [proposal, outcome])
@pytest.mark.parametrize(
    ("found", "code", "note"),
    [
        (Pass(violations=(Violation("CS-V1", ("bgp",), "bad"),)), 65, "bgp: bad (CS-V1)"),
        (Pass(failure=HostBusy("BIRD does not answer")), 75, "BIRD does not answer"),
        (Pass(failure=HostRefused("syntax error")), 4, "syntax error"),
        (Pass(fault=Unreachable("no leader")), 69, "no leader"),
        (Pass(), 69, "nothing is desired yet"),
    ],
)
def test_without_a_plan_the_reason_is_told(options, tell, found, code, note):
    result = tell(found, options)
    assert (code, note) == (result.exit, result.note)
    assert result.errors


@pytest.mark.parametrize(
    ("found", "code", "note"),
    [
        (Pass(plan=CHANGE.plan, refusals=(REFUSED,)), 75, "--allow peer_loss:bgp.ipv4"),
        (Pass(plan=CHANGE.plan, held="paused by lars"), 75, "paused by lars"),
        (Pass(plan=CHANGE.plan, quarantined="rr3"), 75, "confsync agent retry"),
        (Pass(plan=CHANGE.plan, observing=(DriverName("bird"),)), 75, "nothing was written"),
        (CHANGE, 4, "what runs differs from what was applied"),
        (ended(State.ROLLED_BACK, "rr3 not up"), 4, "rr3 not up; rolled back, verified equal"),
        (ended(State.HALTED, "undo failed"), 5, "undo failed; NOT restored"),
    ],
)
def test_an_apply_that_did_not_succeed_never_says_so(options, found, code, note):
    result = outcome(found, options)
    assert code == result.exit
    assert note in result.note
    assert "" == result.text
    assert result.errors


def test_an_apply_that_succeeded(options):
    result = outcome(ended(State.COMMITTED), options)
    assert 0 == result.exit
    assert result.text.endswith("1 step, impact: session reset. Done and verified.")
    assert "committed" == result.data["outcome"]


def test_last_known_good_is_said_aloud(options):
    result = proposal(Pass(plan=NOTHING.plan, fault=Unreachable("no leader")), options)
    assert ("no leader; last-known-good is used",) == result.warnings


SITE_ITEM = Difference("+", "calico.globalnetworksets.lan", None, "1 net", Impact.HITLESS)
SITE_STEP = Step(
    DriverName("calico"), "create", 1, "lan", Impact.HITLESS, "x", {}, (SITE_ITEM,)
)  # fmt: skip
SITE_CHANGE = Pass(plan=Plan(Digest("b" * 64), (SITE_STEP,), ("lan is not used",)))
SITE_REFUSED = PlanRefused("foreign", "lan", "somebody else made it")


def test_the_plan_of_the_site_follows_the_hosts(options):
    result = joined(proposal(NOTHING, options), proposal(SITE_CHANGE, options), "bgo")
    assert (2, "") == (result.exit, result.note)
    assert ("site bgo: lan is not used",) == result.warnings
    assert (
        result.text
        == """\
No changes.
site bgo:
+ calico.globalnetworksets.lan 1 net   hitless
1 step, impact: hitless. Nothing was changed."""
    )
    assert ([], "create") == (result.data["steps"], result.data["site"]["steps"][0]["kind"])


def test_what_stands_against_either_is_told_with_whose_it_is(options):
    host = proposal(Pass(plan=CHANGE.plan, refusals=(REFUSED,)), options)
    site = Pass(plan=SITE_CHANGE.plan, refusals=(SITE_REFUSED, REFUSED))
    told = joined(host, proposal(site, options), "bgo").note.splitlines()
    assert [False, True, True] == [line.startswith("site bgo: ") for line in told]
    allowances = ("--allow peer_loss:bgp.ipv4", "--allow foreign:lan", "--allow peer_loss:bgp.ipv4")
    assert all(word in line for word, line in zip(allowances, told, strict=True))


BROKEN = Pass(violations=(Violation("CS-V1", ("calico",), "bad"),))
AWAY = Pass(fault=Unreachable("no leader"))


@pytest.mark.parametrize(
    ("host", "site", "code"),
    [
        (NOTHING, NOTHING, 0), (CHANGE, NOTHING, 2), (NOTHING, SITE_CHANGE, 2),
        (CHANGE, BROKEN, 65), (BROKEN, SITE_CHANGE, 65), (AWAY, BROKEN, 69), (BROKEN, AWAY, 65),
    ],
)  # fmt: skip
def test_a_plan_that_is_none_hides_neither_the_other_nor_itself(options, host, site, code):
    results = proposal(host, options), proposal(site, options)
    both = joined(*results, "bgo")
    assert code == both.exit
    assert results[1].data == both.data["site"]
    assert (*results[0].errors, *results[1].errors) == both.errors
    assert all(one.text in both.text and one.note in both.note for one in results)
