"""SIGKILL of the real agent, placed by strace before the n-th system call, every n.

Before, between and after any two writes of a transaction the host must come to rest on exactly the
old or exactly the new configuration, whatever dies with the agent and however often.
"""

from __future__ import annotations

import os

import pytest

from tests.lab import Lab
from tests.lab.agent import Settings
from tests.lab.site import Site
from tests.lab.strace import Injection
from tests.lab.sweep import Doomed, Sweep, Violation
from tests.lab.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

FULL = bool(os.environ.get("CONFSYNC_TEST_FULL"))


def quick(**bird: float) -> Settings:
    """Return settings without waits, so that an order to apply ends when the transaction has."""
    return {"drivers": {"bird": {"hold_s": 0.0, **bird}}, "source": {"quiet_min_s": 0.0}}


# Every durable write and rename: the journal's thread, the disk's, and last-known-good's. Between
# two of them lie the pages of the journal and the words to BIRD: of those each third, or all.
CALLS = {
    "fdatasync": (Injection("fdatasync", ""), 1),
    "fsync": (Injection("fsync", ""), 1),
    "renameat": (Injection("renameat", ""), 1),
    "unlinkat": (Injection("unlinkat", ""), 1),
    "pwrite64": (Injection("pwrite64", ""), 1 if FULL else 5),
    "sendto": (Injection("sendto", "", threads=False), 1 if FULL else 3),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_any_write_ends_on_exactly_one_side(lab: Lab, call: str) -> None:
    sweep = Sweep(Site(lab, consul=False, settings=quick()))
    injection, stride = CALLS[call]
    assert sweep.every(injection, stride=stride) > 0
    sweep.show()
    assert sweep.since == sweep.site.since(), "no session was reset on the whole way"


@pytest.mark.parametrize("call", ["fsync", "renameat"])
def test_a_kill_while_it_remembers_leaves_a_memory_that_can_be_believed(
    lab: Lab, call: str
) -> None:
    sweep = Sweep(Site(lab, consul=False, settings=quick()))
    assert sweep.every(Injection(call, "", paths=sweep.memory_paths)) > 0
    sweep.show()
    assert "memory.dropped" not in sweep.site.agent.log
    assert {point.ended for point in sweep.points} == {"new"}


@pytest.mark.parametrize("call", ["fdatasync", "renameat"])
def test_with_consul_as_the_source_it_is_the_same(lab: Lab, call: str) -> None:
    sweep = Sweep(Site(lab, settings=quick()))
    assert sweep.every(Injection(call, "")) > 0
    sweep.show()
    assert sweep.since == sweep.site.since()


@pytest.mark.parametrize("call", ["fdatasync", "unlinkat"])
def test_a_kill_while_rolling_back_ends_on_the_old_side(lab: Lab, call: str) -> None:
    sweep = Doomed(Site(lab, consul=False, settings=quick()))
    assert sweep.every(Injection(call, "")) > 0
    sweep.show()
    assert {point.ended for point in sweep.points} == {"old"}
    assert sweep.since == sweep.site.since()


# Before anything is removed, between two removals, after the last: then the journal's rows.
DEATHS = [("unlinkat", 1), ("unlinkat", 2), ("unlinkat", 3)]


@pytest.mark.parametrize("side", ["old", "new"])
def test_recovery_may_be_killed_again_and_again(lab: Lab, side: str) -> None:
    sweep = Sweep(Site(lab, consul=False, settings=quick(hold_s=0.5)))
    if side == "new":
        sweep.kill_after_pivot()
    else:
        kill_while_verifying(sweep)
    for death in DEATHS:
        assert sweep.kill_recovery(*death), death
    count = 1
    while sweep.kill_recovery("fdatasync", count):
        count += 1
    assert count > 1
    assert sweep.recover() == side
    sweep.show()
    assert sweep.since == sweep.site.since()


def kill_while_verifying(sweep: Sweep) -> None:
    """Kill an agent whose candidate runs, unconfirmed."""
    before = sweep.site.render()
    sweep.site.publish(sweep.documents[1 - sweep.now])
    wait_until("the candidate runs", lambda: sweep.site.render() != before)
    sweep.site.agent.kill()
    assert sweep.on_disk() == "old"


@pytest.mark.parametrize("restarted", [False, True], ids=["down", "restarted"])
def test_bird_may_die_with_the_agent(lab: Lab, restarted: bool) -> None:
    """The candidate runs, then: renamed but unconfirmed."""
    sweep = Sweep(Site(lab, consul=False, bfd=False, settings=quick(hold_s=0.5)))
    bird = sweep.site.near
    for side in ("old", "new"):
        if side == "new":
            sweep.kill_after_pivot()
        else:
            kill_while_verifying(sweep)
        bird.kill()
        if restarted:
            bird.start()
            assert sweep.recovered() == side
        else:
            sweep.start_alone()
            assert sweep.on_disk() == side, "with BIRD down the disk alone decides"
            bird.start()
            assert sweep.at_rest() == side
        sweep.site.source_back()
        sweep.arrive()


@pytest.mark.parametrize(
    ("mistake", "call", "first", "found"),
    [
        ("rename_before_the_row", "unlinkat", 1, "journal is closed"),
        ("no_undo", "sendto", 8, "yet BIRD runs"),
        ("written_in_place", "fsync", 1, "neither old nor new"),
    ],
)
def test_the_sweep_finds_an_agent_with_a_mistake(
    lab: Lab, mistake: str, call: str, first: int, found: str
) -> None:
    site = Site(lab, consul=False, settings=quick())
    site.agent.program = ("tests.lab.wrong", mistake)
    sweep = Sweep(site)
    with pytest.raises(Violation, match=found):
        sweep.every(Injection(call, "", threads=call != "sendto"), first=first)
