from __future__ import annotations

import copy

import pytest

from confsync.drivers.bird.health import judge, moved
from confsync.ports import Verdict

NEW = "b" * 32
RR1, RR2 = "cs_rr1_ipv4", "cs_rrD2_ipv6"


def session(**changes):
    return {
        "family": "ipv4", "neighbor": "10.0.0.1", "required": True, "touched": False,
        "imports": False, "exports": False, "bfd": False, **changes,
    }  # fmt: skip


def protocol(family="ipv4", info="Established", since="10:00:00.000", imported=5, exported=2):
    up = info == "Established"
    channel = {
        "state": "UP" if up else "DOWN", "imported": imported if up else 0,
        "exported": exported if up else 0, "limit_hit": False,
    }  # fmt: skip
    return {
        "proto": "BGP", "state": "up" if up else "start", "since": since, "info": info,
        "neighbor": "", "last_error": "", "channels": {family: channel},
    }  # fmt: skip


def expect(rr1=None, rr2=None, **kernel):
    family2 = {"family": "ipv6", "neighbor": "fd00::1"}
    return {
        "protocols": [RR1, RR2],
        "sessions": {RR1: session(**(rr1 or {})), RR2: session(**{**family2, **(rr2 or {})})},
        "kernel": {"ipv4": True, "ipv6": True, "changed": False, **kernel},
    }


def strict():
    return {**expect(), "strict": True}


def fragment(**others):
    return {**expect(), "whole": False, **others}


def sample(rr1=None, rr2=None, **changes):
    return {
        "marker": NEW, "window": 20.0, "recovering": False,
        "protocols": {RR1: rr1 or protocol(), RR2: rr2 or protocol("ipv6")},
        "bfd": {"10.0.0.1": "Up", "fd00::1": "Up"},
        "kernel": {"ipv4": {"real": 5, "dead": 0}, "ipv6": {"real": 5, "dead": 0}},
        **changes,
    }  # fmt: skip


def with_more(name, one=None):
    found = sample()
    return {**found, "protocols": {**found["protocols"], name: one or protocol()}}


def with_main(one=None):
    return with_more("kernel1", one)


MAIN = {**with_main(), "marker": None, "window": None}
BEFORE = sample(marker="a" * 32, window=None)
ACTIVE = protocol(info="Active, Socket: Connection refused", since="10:00:09.000")
RESET = protocol(since="10:00:09.000")
OFF_BEFORE = {**protocol(), "state": "down", "info": ""}
OFF = {**OFF_BEFORE, "since": "10:00:09.000"}  # BIRD dates what is disabled anew at each configure
LIMITED = copy.deepcopy(protocol())
LIMITED["channels"]["ipv4"]["limit_hit"] = True
CHANNEL_DOWN = copy.deepcopy(protocol())
CHANNEL_DOWN["channels"]["ipv4"]["state"] = "DOWN"
TOUCHED = {"rr1": {"touched": True}}
NO_KERNEL = {"ipv4": {"real": 0, "dead": 5}, "ipv6": {"real": 5, "dead": 0}}


@pytest.mark.parametrize(
    ("expected", "baseline", "now", "verdict", "reason"),
    [
        (expect(), BEFORE, sample(), "ok", ""),
        # somebody else's hand
        (expect(), BEFORE, sample(marker="a" * 32), "lost", "another configuration"),
        (expect(), BEFORE, sample(marker=None), "lost", "another configuration"),
        (expect(), BEFORE, sample(window=None), "lost", "undo timer is gone"),
        (expect(), BEFORE, sample(recovering=True), "wait", "recovery"),
        # the set of protocols
        (expect(), BEFORE, sample(protocols={RR1: protocol()}), "failed", f"{RR2} is missing"),
        (expect(), BEFORE,
         sample(protocols={RR1: protocol(), RR2: protocol("ipv6"), "x": protocol()}),
         "failed", "x is there"),
        # sessions that the plan does not touch
        (expect(), BEFORE, sample(ACTIVE), "failed", "rr1 was reset"),
        (expect(), BEFORE, sample(RESET), "failed", "rr1 was reset"),
        (expect(), sample(ACTIVE), sample(ACTIVE), "ok", ""),
        (expect(), sample(ACTIVE), sample(RESET), "ok", ""),
        (expect(rr1={"required": False}), BEFORE, sample(ACTIVE), "ok", ""),
        # sessions that it does
        (expect(**TOUCHED), BEFORE, sample(ACTIVE),
         "wait", "rr1 not Established: Active, Socket: Connection refused"),
        (expect(**TOUCHED), BEFORE, sample(RESET), "ok", ""),
        (expect(**TOUCHED), sample(ACTIVE), sample(ACTIVE), "wait", "rr1 not Established"),
        (expect(rr2={"touched": True}), BEFORE, sample(rr2=ACTIVE), "wait", "rr-2 not Established"),
        (expect(rr1={"touched": True, "required": False}), BEFORE, sample(ACTIVE), "ok", ""),
        # routes
        (expect(), BEFORE, sample(CHANNEL_DOWN), "wait", "rr1: channel ipv4 DOWN"),
        (expect(), BEFORE, sample(LIMITED), "failed", "rr1: a route limit is hit"),
        (expect(), sample(LIMITED), sample(LIMITED), "ok", ""),
        (expect(), BEFORE, sample(protocol(imported=0)),
         "wait", "rr1: no routes imported, 5 before"),
        (expect(), BEFORE, sample(protocol(exported=0)),
         "wait", "rr1: no routes exported, 2 before"),
        (expect(), BEFORE, sample(protocol(imported=3)), "ok", ""),
        (expect(), BEFORE, sample(protocol(imported=2)),
         "wait", "rr1: 2 routes imported, 5 before"),
        (strict(), BEFORE, sample(), "ok", ""),
        (strict(), BEFORE, sample(protocol(imported=6)), "wait", "6 routes imported, 5 before"),
        (strict(), BEFORE, sample(protocol(exported=1)), "wait", "1 routes exported, 2 before"),
        (expect(), sample(protocol(imported=0)), sample(protocol(imported=0)), "ok", ""),
        (expect(rr1={"imports": True}), BEFORE, sample(protocol(imported=0)), "ok", ""),
        (expect(rr1={"exports": True}), BEFORE, sample(protocol(exported=0)), "ok", ""),
        # BFD
        (fragment(), MAIN, with_main(), "ok", ""),
        (fragment(), MAIN, sample(), "failed", "protocol kernel1 is missing"),
        (fragment(), MAIN, with_main(RESET), "failed", "kernel1 is not ours, and was reset"),
        (fragment(), MAIN, with_main(OFF), "failed", "kernel1 is not ours, and was reset"),
        (fragment(), {**MAIN, **with_more("kernel1", OFF_BEFORE)}, with_main(OFF), "ok", ""),
        ({**expect(), "dynamic": ["office"]}, BEFORE, with_more("office1"), "ok", ""),
        ({**expect(), "dynamic": ["office"]}, BEFORE, with_more("other1"),
         "failed", "other1 is there"),
        (expect(rr1={"bfd": True}), BEFORE, sample(bfd={"10.0.0.1": "Down"}),
         "wait", "rr1: BFD Down"),
        (expect(rr1={"bfd": True}), sample(bfd={}), sample(bfd={}), "ok", ""),
        (expect(rr1={"bfd": True, "touched": True}), sample(bfd={}), sample(bfd={}),
         "wait", "rr1: BFD missing"),
        (expect(), BEFORE, sample(bfd={}), "ok", ""),
        # the kernel
        (expect(), BEFORE, sample(kernel=NO_KERNEL),
         "wait", "kernel ipv4: no routes with a next hop, 5 before; 5 unreachable"),
        (expect(ipv4=False), BEFORE, sample(kernel=NO_KERNEL), "ok", ""),
        (expect(changed=True), BEFORE, sample(kernel=NO_KERNEL), "ok", ""),
        (expect(), sample(kernel=NO_KERNEL), sample(kernel=NO_KERNEL), "ok", ""),
        (expect(rr1={"imports": True}), BEFORE,
         sample(protocol(imported=0), kernel=NO_KERNEL), "ok", ""),
        # the worst one is told first
        (expect(**TOUCHED), BEFORE, sample(ACTIVE, RESET), "failed", "rr-2 was reset"),
    ],
)  # fmt: skip
def test_judgement(expected, baseline, now, verdict, reason):
    judged = judge(NEW, expected, baseline, now)
    assert (Verdict(verdict), True) == (judged.verdict, reason in judged.reason)
    assert bool(judged.reason) is (judged.verdict is not Verdict.OK)


def test_a_peer_with_two_sessions_is_named_with_its_family():
    both = expect(rr1={"touched": True})
    twin = "cs_rr1_ipv6"
    both["protocols"] = [RR1, twin]
    both["sessions"] = {RR1: both["sessions"][RR1], twin: session(family="ipv6")}
    now = sample(protocols={RR1: ACTIVE, twin: protocol("ipv6")})
    judged = judge(NEW, both, sample(protocols=now["protocols"]), now)
    assert judged.reason.startswith("rr1 ipv4 not Established")


def test_many_reasons_are_counted_not_listed():
    names = [f"cs_p{n}_ipv4" for n in range(9)]
    wanted = expect()
    wanted["protocols"], wanted["sessions"] = names, {}
    judged = judge(NEW, wanted, BEFORE, sample(protocols={}))
    assert judged.reason.endswith("; and 5 more")


DAY = "2026-11-22"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({}, set()),
        ({RR1: f"{DAY} 10:00:00.002", RR2: f"{DAY} 09:59:59.999"}, set()),
        ({RR1: f"{DAY} 10:00:01.000"}, {RR1}),
        ({RR1: f"{DAY} 10:00:09.000", RR2: f"{DAY} 10:00:09.000"}, {RR1, RR2}),
        (dict.fromkeys(("cs_device", RR1, RR2), f"{DAY} 11:00:00.000"), set()),
        (dict.fromkeys(("cs_device", RR1), f"{DAY} 08:00:00.000"), {RR2}),
        ({RR1: "10:00:00.000"}, {RR1}),
    ],
    ids=["same", "wavers", "reset", "both", "clock forward", "clock back, one reset", "no day"],
)
def test_only_a_change_of_state_moves_since(after, expected):
    before = dict.fromkeys(("cs_device", RR1, RR2), f"{DAY} 10:00:00.000")
    assert expected == moved(before, before | after)


@pytest.mark.parametrize(
    ("before", "same", "later"),
    [
        ("10:00:00.000", "10:00:00.004", "10:00:03.000"),
        ("10:00:00.000", f"{DAY} 10:00:00.004", f"{DAY} 10:00:03.000"),
        (DAY, DAY, "10:00:03.000"),
        (DAY, f"{DAY} 10:00:00.000", "2026-11-24 10:00:00.000"),
    ],
    ids=["times", "times, then ours", "days", "days, then ours"],
)
def test_a_reset_is_seen_under_the_time_format_of_another_hand(before, same, later):
    found = moved(
        dict.fromkeys(("device1", "far", "near"), before),
        {"device1": same, "far": same, "near": later},
    )
    assert {"near"} == found
