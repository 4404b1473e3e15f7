"""Health on real sessions: what a change breaks is seen, and what it does not is not blamed."""

from __future__ import annotations

import asyncio
import time

import pytest

from confsync.model.plan import Impact
from confsync.ports import Position, Verdict
from tests.drivers.bird.driven import Driven, bgp, peered, with_text
from tests.lab.bird import Since
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

PREFIXES = tuple(f"198.18.{n}.0/24" for n in range(1, 6))


@pytest.fixture
def far(lab):
    return lab.far_end(1, bfd=True)


@pytest.fixture
def rich(lab):
    """Give a neighbour that announces several prefixes."""
    return lab.far_end(1, originate=PREFIXES)


@pytest.fixture
def host(lab):
    driven = Driven(lab)
    yield driven
    driven.driver.close()


async def sampled(host, step):
    (probe,) = host.driver.probes(step)
    return probe, await probe.sample()


async def judged_until(probe, baseline, verdict):
    """Sample until the verdict is as wanted; the test's time-out is the deadline."""
    while (judged := probe.judge(baseline, (await probe.sample(),))).verdict is not verdict:
        assert judged.verdict is Verdict.WAIT, judged
    return judged


async def running(host, far, routes=1, **document):
    """Commit a document with the far peer and wait for its session and routes."""
    document = document or peered(far)
    await host.committed(**document)
    host.bird.wait_established("cs_far_ipv4")
    wait_until("routes", lambda: len(host.bird.host.routes()) == routes, timeout_s=10)


async def tried(host, step):
    """Run a step unconfirmed; return its probe, the baseline before, and the checkpoint."""
    await host.driver.check(step)
    saved = await host.driver.checkpoint(step)
    probe, baseline = await sampled(host, step)
    await host.driver.apply(step, saved, 30)
    return probe, baseline, saved


async def told(probe, baseline, reason):
    """Sample until this is the reason that is told; return its verdict."""
    deadline = time.monotonic() + 10
    while (judged := probe.judge(baseline, (await probe.sample(),))).reason != reason:
        assert time.monotonic() < deadline, judged
        await asyncio.sleep(0.02)
    return judged.verdict


# --- the straight way


async def test_a_new_session_is_waited_for_and_a_hitless_change_keeps_it(host, far):
    step, saved = await host.prepare(**peered(far, bfd=True))
    probe, baseline = await sampled(host, step)
    await host.driver.apply(step, saved, 30)
    waiting = probe.judge(baseline, (await probe.sample(),))
    assert waiting.verdict is Verdict.WAIT
    assert waiting.reason.startswith("far not Established: ")
    await judged_until(probe, baseline, Verdict.OK)
    await host.driver.commit(step, saved)
    host.had = bgp(**peered(far, bfd=True))
    wait_until("routes", host.bird.host.routes, timeout_s=10)
    document = peered(far, bfd=True, description="rack 7")
    step, saved = await host.prepare(**document)
    probe, baseline = await sampled(host, step)
    assert {"real": 1, "dead": 0} == baseline["kernel"]["ipv4"]
    await host.driver.apply(step, saved, 30)
    assert Verdict.OK is probe.judge(baseline, (await probe.sample(),)).verdict
    await host.driver.commit(step, saved)
    _, after = await sampled(host, step)
    stood = [Since(one["protocols"]["cs_far_ipv4"]["since"]) for one in (baseline, after)]
    assert stood[0] == stood[1]


async def test_a_wrong_as_is_never_healthy_and_undo_brings_the_session_back(host, far):
    document = peered(far)
    await host.committed(**document)
    host.bird.wait_established("cs_far_ipv4")
    wait_until("routes", host.bird.host.routes, timeout_s=10)
    step, saved = await host.prepare(**peered(far, asn=64999))
    probe, baseline = await sampled(host, step)
    await host.driver.apply(step, saved, 30)
    judged = probe.judge(baseline, (await probe.sample(),))
    assert Verdict.WAIT is judged.verdict
    assert judged.reason.startswith("far not Established: ")
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)
    host.bird.wait_established("cs_far_ipv4")
    wait_until("routes", host.bird.host.routes, timeout_s=10)


async def test_a_peer_that_was_down_before_is_nobodys_fault(host, far):
    far.bird.kill()
    await host.committed(**peered(far))
    step, saved = await host.prepare(**peered(far, description="rack 7"))
    probe, baseline = await sampled(host, step)
    await host.driver.apply(step, saved, 30)
    assert Verdict.OK is probe.judge(baseline, (await probe.sample(),)).verdict
    await host.driver.commit(step, saved)


async def test_a_new_prefix_is_at_the_peer_within_two_seconds_and_resets_nothing(host, far):
    await running(host, far)
    before = host.bird.sessions()
    step = await host.plan(**{**peered(far), "announce": {"two": "198.51.100.0/24"}})
    assert Impact.HITLESS is step.impact
    began = time.monotonic()
    probe, baseline, saved = await tried(host, step)
    assert Verdict.OK is probe.judge(baseline, (await probe.sample(),)).verdict
    wait_until("the peer has it", lambda: "198.51.100.0/24" in far.host.routes(), timeout_s=2)
    assert time.monotonic() - began < 2
    await host.driver.commit(step, saved)
    assert before == host.bird.sessions()


async def test_a_new_hold_time_is_announced_as_a_reset_and_healthy_in_its_time(host, far):
    await running(host, far)
    before = host.bird.sessions()["cs_far_ipv4"].since
    step = await host.plan(**peered(far, hold_s=60))
    (item,) = step.differences
    assert (Impact.SESSION_RESET, ["far"]) == (step.impact, [one.name for one in item.hits])
    probe, baseline, saved = await tried(host, step)
    assert Verdict.WAIT is probe.judge(baseline, (await probe.sample(),)).verdict
    async with asyncio.timeout(step.verify_s):
        await judged_until(probe, baseline, Verdict.OK)
    await host.driver.commit(step, saved)
    assert before != host.bird.sessions()["cs_far_ipv4"].since
    assert Position.NEW == await host.driver.position(step, saved)


# --- Established, counted right, and yet no traffic


def without_kernel(text):
    start = text.index("protocol kernel cs_kernel4")
    return text[:start] + text[text.index("protocol kernel cs_kernel6") :]


def without_kernel_export(text):
    return text.replace("if source = RTS_BGP then accept;", "")


NO_KERNEL = "kernel ipv4: no routes with a next hop, 1 before"


@pytest.mark.parametrize(
    ("spoil", "verdict", "reason"),
    [
        (without_kernel_export, Verdict.WAIT, NO_KERNEL),
        (without_kernel, Verdict.FAILED, "protocol cs_kernel4 is missing"),
    ],
)
async def test_routes_that_leave_the_kernel_are_never_healthy(host, far, spoil, verdict, reason):
    await running(host, far)
    step = await host.plan(**peered(far, description="rack 7"))
    bad = with_text(step, spoil(step.args["text"]))
    probe, baseline, saved = await tried(host, bad)
    assert verdict is await told(probe, baseline, reason)
    assert "Established" == host.bird.sessions()["cs_far_ipv4"].info
    await host.driver.undo(bad, saved)
    wait_until("routes", lambda: ["198.18.1.0/24"] == list(host.bird.host.routes()), timeout_s=10)


async def test_next_hops_that_nothing_leads_to_are_never_healthy(host, far):
    """`multihop` at one end: the session comes back, and its next hop is looked up in vain."""
    await running(host, far)
    step = await host.plan(**peered(far, hold_s=60))
    bad = with_text(step, step.args["text"].replace("\n  direct;\n", "\n  multihop;\n"))
    probe, baseline, saved = await tried(host, bad)
    expected = "kernel ipv4: no routes with a next hop, 1 before; 1 unreachable"
    assert Verdict.WAIT is await told(probe, baseline, expected)
    assert "Established" == host.bird.sessions()["cs_far_ipv4"].info
    await host.driver.undo(bad, saved)
    host.bird.wait_established("cs_far_ipv4")


async def test_a_document_with_multihop_at_one_end_keeps_its_next_hops(host, far):
    await running(host, far)
    step = await host.plan(**peered(far, multihop=True))
    probe, baseline, saved = await tried(host, step)
    await judged_until(probe, baseline, Verdict.OK)
    assert {"real": 1, "dead": 0} == (await probe.sample())["kernel"]["ipv4"]
    await host.driver.undo(step, saved)


# --- counts


def importing(kept):
    """Return how an import filter with a slip spoils a text: it takes so many prefixes."""
    some = f"net ~ [ {', '.join(PREFIXES[:kept])} ]" if kept else "false"
    slip = f"import filter {{ if {some} then accept; reject; }};"

    def spoil(text):
        head, start, session = text.partition("protocol bgp cs_far_ipv4")
        return head + start + session.replace("import all;", slip)

    return spoil


@pytest.mark.parametrize(
    ("kept", "verdict", "reason"),
    [
        (0, Verdict.WAIT, "far: no routes imported, 5 before"),
        (2, Verdict.WAIT,
         "far: 2 routes imported, 5 before; kernel ipv4: 2 routes with a next hop, 5 before"),
        (3, Verdict.OK, ""),
    ],
)  # fmt: skip
async def test_most_routes_must_stay_unless_the_change_is_about_them(
    host, rich, kept, verdict, reason
):
    await running(host, rich, routes=5)
    step = await host.plan(**peered(rich, description="rack 7"))
    bad = with_text(step, importing(kept)(step.args["text"]))
    probe, baseline, saved = await tried(host, bad)
    wait_until("the filter is at work", lambda: len(host.bird.host.routes()) == kept, timeout_s=10)
    assert verdict is await told(probe, baseline, reason)
    await host.driver.undo(bad, saved)
    wait_until("routes", lambda: len(host.bird.host.routes()) == 5, timeout_s=10)


async def test_routes_that_the_change_denies_by_its_own_words_may_go(host, rich):
    await running(host, rich, routes=5)
    deny = {"import": {"ipv4": {"default": "deny"}}}
    step = await host.plan(**peered(rich, **deny))
    assert Impact.HITLESS is step.impact
    probe, baseline, _ = await tried(host, step)
    wait_until("they are gone", lambda: not host.bird.host.routes(), timeout_s=10)
    assert Verdict.OK is probe.judge(baseline, (await probe.sample(),)).verdict


# --- BFD, limits, passwords


async def test_a_peer_that_loses_bfd_is_caught_within_the_hold(host, far):
    """Established at once, and ended by the peer 0.3 s later: only time can tell."""
    await running(host, far, **peered(far, bfd=True))
    wait_until("BFD", lambda: " Up " in " ".join(host.bird.ctl("show bfd sessions")), timeout_s=10)
    step = await host.plan(**peered(far))
    probe, baseline, saved = await tried(host, step)
    assert Verdict.OK is probe.judge(baseline, (await probe.sample(),)).verdict
    async with asyncio.timeout(step.hold_s):
        judged = await until_not_ok(probe, baseline)
    assert judged.reason.startswith("far not Established: ")
    assert "BFD session down" in " ".join(far.bird.ctl("show protocols"))
    await host.driver.undo(step, saved)


async def until_not_ok(probe, baseline):
    while (judged := probe.judge(baseline, (await probe.sample(),))).verdict is Verdict.OK:
        await asyncio.sleep(0.02)
    return judged


@pytest.mark.parametrize(
    ("action", "verdict", "reason"),
    [
        ("disable", Verdict.WAIT,
         "far not Established: Automatic shutdown: Route limit exceeded"),
        ("block", Verdict.FAILED, "far: a route limit is hit"),
    ],
)  # fmt: skip
async def test_a_limit_that_is_hit_is_told_by_its_name(host, rich, action, verdict, reason):
    await running(host, rich, routes=5)
    limit = {"ipv4": {"routes": 2, "action": action}}
    step = await host.plan(**peered(rich, hold_s=60, import_limit=limit))
    probe, baseline, saved = await tried(host, step)
    assert verdict is await told(probe, baseline, reason)
    await host.driver.undo(step, saved)
    host.bird.wait_established("cs_far_ipv4")


async def test_a_password_that_the_kernel_refuses_is_told(host, far):
    await running(host, far)
    step = await host.plan(**peered(far, hold_s=60))
    password = f'hold time 60;\n  password "{"x" * 81}";'
    bad = with_text(step, step.args["text"].replace("hold time 60;", password))
    probe, baseline, saved = await tried(host, bad)
    assert Verdict.WAIT is await told(
        probe, baseline, "far not Established: Error: Kernel MD5 auth failed"
    )
    await host.driver.undo(bad, saved)
    host.bird.wait_established("cs_far_ipv4")
