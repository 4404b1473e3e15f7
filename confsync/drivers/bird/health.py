"""BIRD's health: one sample, and the pure judgement of samples against the baseline.

Separate because what "as healthy as before" means must be readable, and testable without a daemon.
Invariant: nobody is blamed for what was down before, and what may be down matters to nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Final

from confsync.drivers.bird.daemon import Daemon
from confsync.host import netlink
from confsync.model import limits
from confsync.model.ids import Json
from confsync.ports import Judgement, Sample, Verdict

_FAMILIES: Final = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_WORST_FIRST: Final = (Verdict.LOST, Verdict.FAILED, Verdict.WAIT)
_REASONS_SHOWN: Final = 4
_ANY_DAY: Final = "2000-01-01"
_COUNTED: Final = {"imports": "imported", "exports": "exported"}


class BirdProbe:
    """What must be as healthy after a step as before."""

    name = "bird"

    def __init__(self, daemon: Daemon, render: str, expect: Json) -> None:
        self._daemon = daemon
        self._render = render
        self._expect = expect

    async def sample(self) -> Sample:
        """Return what BIRD and the kernel say now. Raises HostBusy, DeadlinePassed."""
        seen = await self._daemon.look()
        kernel = {name: await netlink.bird_routes(number) for name, number in _FAMILIES.items()}
        return {
            "marker": seen.marker,
            "window": seen.condition.window_s,
            "recovering": seen.condition.recovering,
            "protocols": {name: one.as_json() for name, one in seen.protocols.items()},
            "bfd": seen.bfd,
            "kernel": {name: {"real": one.real, "dead": one.dead} for name, one in kernel.items()},
        }

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Compare the newest sample with the baseline."""
        return judge(self._render, self._expect, baseline, seen[-1])


def judge(render: str, expect: Json, baseline: Sample, now: Sample) -> Judgement:
    """Return the worst finding; the reasons of equally bad ones are told together.

    Shape: `expect` as in the step: names of all protocols, sessions by protocol (`imports` and
    `exports` = the plan may change what passes there), kernel export by family; `whole` = no other
    hand defines protocols, `dynamic` = how the names begin that ranges of neighbours bring,
    `strict` = nothing may change but who wrote the file.
    """
    found = list(_findings(render, expect, baseline, now))
    for verdict in _WORST_FIRST:
        if reasons := [reason for kind, reason in found if kind is verdict]:
            more = len(reasons) - _REASONS_SHOWN
            told = "; ".join(reasons[:_REASONS_SHOWN])
            return Judgement(verdict, told + (f"; and {more} more" if more > 0 else ""))
    return Judgement(Verdict.OK)


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Return the protocols that changed their state between two lists of `since`.

    Why: BIRD reckons `since` back from now with two clocks that it reads apart, so that it wavers
    by a few milliseconds; and a step of the wall clock moves every one alike. A change of state
    only ever moves it forward, and the device protocol has none: the least shift is the clock's.
    """
    shifts = {name: _shift_s(before[name], after[name]) for name in before.keys() & after.keys()}
    clock_s = min((shift_s for shift_s in shifts.values() if shift_s < inf), default=0.0)
    return frozenset(
        name for name, shift_s in shifts.items() if shift_s - clock_s > limits.BIRD_SINCE_WAVERS_S
    )


def _shift_s(before: str, after: str) -> float:
    if _same(before, after):
        return 0.0
    try:
        return _apart_s(before, after)
    except ValueError:  # a time without its day, as under another hand's `timeformat`
        return inf


def _apart_s(before: str, after: str) -> float:
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


def _same(before: str, after: str) -> bool:
    """Tell whether the later look tells the same moment, in as many words or in more.

    Why more: BIRD's own format tells the time of what is recent, else the day. Ours tells both,
    and takes its place in the very step that takes over a hand-made file.
    """
    day, _, clock = after.rpartition(" ")
    if before in (after, day):
        return True
    try:
        apart_s = _apart_s(f"{_ANY_DAY} {before}", f"{_ANY_DAY} {clock}")
    except ValueError:
        return False
    return abs(apart_s) <= limits.BIRD_SINCE_WAVERS_S


Finding = tuple[Verdict, str]


def _findings(render: str, expect: Json, baseline: Sample, now: Sample) -> Iterator[Finding]:
    if now["marker"] != render:
        yield Verdict.LOST, "BIRD runs another configuration than the one under test"
        return
    if now["window"] is None:
        yield Verdict.LOST, "BIRD's undo timer is gone: somebody configured it meanwhile"
        return
    if now["recovering"]:
        yield Verdict.WAIT, "graceful restart recovery in progress"
    reset = moved(_since(baseline), _since(now))
    yield from _protocols(expect, baseline, now, reset)
    there = set(now["protocols"])
    for name, session in sorted(expect["sessions"].items()):
        if session["required"] and name in there:
            want = {**session, "strict": expect.get("strict", False)}
            yield from _session(_spoken(name, expect), name, want, baseline, now, reset)
    yield from _kernel(expect["kernel"], baseline, now)


def _protocols(
    expect: Json, baseline: Sample, now: Sample, reset: frozenset[str]
) -> Iterator[Finding]:
    """Tell which protocols are missing, there without reason, or another hand's and disturbed."""
    wanted, there = set(expect["protocols"]), set(now["protocols"])
    foreign = set()
    if not expect.get("whole", True):
        foreign = {name for name in baseline["protocols"] if not name.startswith("cs_")} - wanted
    dynamic = tuple(expect.get("dynamic", ()))
    for name in sorted((wanted | foreign) - there):
        yield Verdict.FAILED, f"protocol {name} is missing"
    for name in sorted(there - wanted - foreign):
        if not (dynamic and name.startswith(dynamic)):
            yield Verdict.FAILED, f"protocol {name} is there, though the configuration has none"
    down = _down(baseline) & _down(now)
    for name in sorted(foreign & reset - down):
        yield Verdict.FAILED, f"protocol {name} is not ours, and was reset"


def _down(sample: Sample) -> frozenset[str]:
    """Return the protocols that are down: BIRD dates them anew at each configure."""
    return frozenset(name for name, one in sample["protocols"].items() if one["state"] == "down")


def _since(sample: Sample) -> Mapping[str, str]:
    return {name: one["since"] for name, one in sample["protocols"].items()}


def _session(
    spoken: str, name: str, want: Json, baseline: Sample, now: Sample, reset: frozenset[str]
) -> Iterator[Finding]:
    before = baseline["protocols"].get(name)
    after = now["protocols"][name]
    was_up = before is not None and _established(before)
    if not (was_up or want["touched"]):
        return
    if was_up and not want["touched"] and name in reset:
        yield Verdict.FAILED, f"{spoken} was reset, though the change does not touch it"
        return
    if not _established(after):
        yield Verdict.WAIT, f"{spoken} not Established: {_why(after)}"
        return
    channel = after["channels"].get(want["family"], {})
    if channel.get("state") != "UP":
        yield Verdict.WAIT, f"{spoken}: channel {want['family']} {channel.get('state', 'missing')}"
        return
    earlier = before["channels"].get(want["family"], {}) if was_up else {}
    if channel["limit_hit"] and not earlier.get("limit_hit", False):
        yield Verdict.FAILED, f"{spoken}: a route limit is hit"
    for anew, counted in _COUNTED.items():
        if was_up and not want[anew] and _lost(earlier.get(counted, 0), channel[counted], want):
            left = channel[counted] or "no"
            yield Verdict.WAIT, f"{spoken}: {left} routes {counted}, {earlier[counted]} before"
    if want["bfd"]:
        neighbor = want["neighbor"]
        state = now["bfd"].get(neighbor, "missing")
        asked = want["touched"] or baseline["bfd"].get(neighbor) == "Up"
        if asked and state != "Up":
            yield Verdict.WAIT, f"{spoken}: BFD {state}"


def _lost(before: int, after: int, want: Json) -> bool:
    """Tell whether too many routes are gone that the change does not speak of.

    Why a share: other speakers come and go while we look.
    """
    if want["strict"]:
        return after != before
    return after < before * limits.ROUTES_KEPT


def _kernel(want: Json, baseline: Sample, now: Sample) -> Iterator[Finding]:
    if want["changed"]:
        return
    for family in _FAMILIES:
        before, after = baseline["kernel"][family], now["kernel"][family]
        few = after["real"] < before["real"] * limits.ROUTES_KEPT
        if want[family] and few and _imports(family, now):
            dead = f"; {after['dead']} unreachable" if after["dead"] else ""
            told = f"{after['real'] or 'no'} routes with a next hop, {before['real']} before"
            yield Verdict.WAIT, f"kernel {family}: {told}{dead}"


def _imports(family: str, now: Sample) -> bool:
    """Tell whether any session brings routes that the kernel should have."""
    return any(
        one["channels"].get(family, {}).get("imported", 0) > 0
        for one in now["protocols"].values()
        if one["proto"] == "BGP"
    )


def _established(protocol: Json) -> bool:
    return bool(protocol["state"] == "up" and protocol["info"] == "Established")


def _why(protocol: Json) -> str:
    told = protocol["info"] or ("disabled" if protocol["state"] == "down" else protocol["state"])
    error = protocol["last_error"]
    return f"{told}, last error {error}" if error and error not in told else str(told)


def _spoken(name: str, expect: Json) -> str:
    """Return a peer's name as documents have it; with its family where both have a session."""
    family = expect["sessions"][name]["family"]
    stem = name.removesuffix(f"_{family}")
    peer = stem.removeprefix("cs_").replace("D", "-") if stem != name else name
    twins = sum(other.startswith(f"{stem}_ipv") for other in expect["sessions"])
    return f"{peer} {family}" if twins > 1 else peer
