"""Filters that nobody would write, and routes that tell them apart.

Separate because both BIRD and our reader get them: what a filter does with each route is asked of
BIRD, with the filter as it was written and as the rules that we made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

PREFIXES: Final = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.128/25", "192.0.2.0/24")
ASNS: Final = (64496, 64500, 64511, 65000)
PAIRS: Final = ("(64500, 1)", "(64500, 2)", "(65535, 0)")
LARGES: Final = ("(64500, 1, 1)", "(64500, 2, 9)")


def _path(route: Random) -> str:
    return "".join(f"bgp_path.prepend({route.choice(ASNS)}); " for _ in range(route.randrange(4)))


def _tags(route: Random, name: str, known: tuple[str, ...]) -> str:
    return "".join(f"{name}.add({one}); " for one in known if route.random() < 0.4)


def routes(seed: int) -> str:
    """Return static protocols with a route for each prefix, of two origins."""
    chance = Random(seed)
    made = []
    for name in ("one", "two"):
        lines = [
            f"  route {prefix} {chance.choice(('blackhole', 'unreachable', 'via 127.0.0.7'))} {{ "
            f"{_path(chance)}{_tags(chance, 'bgp_community', PAIRS)}"
            f"{_tags(chance, 'bgp_large_community', LARGES)}}};"
            for prefix in PREFIXES
        ]
        made.append(f"protocol static {name} {{\n  ipv4;\n" + "\n".join(lines) + "\n}\n")
    return "".join(made)


FUNCTIONS: Final = """\
function inside() { return net ~ [ 10.1.0.0/16+ ]; }
function longer_than(int least) { if net.len > least then return true; return false; }
function from_as(int who) {
  if bgp_path ~ [= * who * =] then { bgp_med = 7; return true; }
  return false;
}
function answers_late(int who) {
  if inside() then bgp_med = 9; else return false;
  return bgp_path.last = who;
}
function refuses() { if net.len = 25 then reject; }
function marks(pair which) { bgp_community.add(which); if inside() then accept; }
"""
QUESTIONS: Final[tuple[Callable[[Random], str], ...]] = (
    lambda c: f"net = {c.choice(PREFIXES)}",
    lambda c: f"net != {c.choice(PREFIXES)}",
    lambda c: f"net ~ {c.choice(PREFIXES)}",
    lambda c: f"net ~ [ {c.choice(PREFIXES)}+, {c.choice(PREFIXES)} ]",
    lambda c: f"net !~ [ 10.0.0.0/8{{{c.randrange(8, 16)},{c.randrange(16, 30)}}} ]",
    lambda c: f"net.len {c.choice(('<', '<=', '=', '!=', '>=', '>'))} {c.choice((8, 16, 24, 25))}",
    lambda c: f"{c.choice((16, 24))} {c.choice(('<', '<=', '=', '>=', '>'))} net.len",
    lambda c: f"bgp_path ~ [= * {c.choice(ASNS)} * =]",
    lambda c: f"bgp_path ~ [ {c.choice(ASNS)}, {c.choice(ASNS)} ]",
    lambda c: f"bgp_path.first {c.choice(('=', '!='))} {c.choice(ASNS)}",
    lambda c: f"bgp_path.last = {c.choice(ASNS)}",
    lambda c: f"bgp_path.len {c.choice(('<', '<=', '>=', '>'))} {c.randrange(4)}",
    lambda c: f"bgp_community ~ [ {c.choice(PAIRS)}, {c.choice(PAIRS)} ]",
    lambda c: f"{c.choice(PAIRS)} ~ bgp_community",
    lambda c: f"bgp_large_community !~ [ {c.choice(LARGES)} ]",
    lambda c: f"source = {c.choice(('RTS_STATIC', 'RTS_BGP'))}",
    lambda c: f'proto {c.choice(("=", "!="))} "{c.choice(("one", "two"))}"',
    lambda c: f'proto ~ "{c.choice(("o*", "*w*", "?ne"))}"',
    lambda c: f"dest = {c.choice(('RTD_BLACKHOLE', 'RTD_UNREACHABLE', 'RTD_UNICAST'))}",
    lambda _: 'ifname = "lo"',
    lambda _: "gw = 127.0.0.7",
    lambda c: c.choice(("true", "false", "inside()", "!inside()")),
    lambda c: f"longer_than({c.choice((8, 16, 24))})",
    lambda c: f"from_as({c.choice(ASNS)})",
    lambda c: f"answers_late({c.choice(ASNS)})",
)
CHANGES: Final[tuple[Callable[[Random], str], ...]] = (
    lambda c: f"bgp_local_pref = {c.randrange(300)}",
    lambda c: f"bgp_med = {c.randrange(300)}",
    lambda c: f"preference = {c.randrange(1, 300)}",
    lambda c: f"bgp_path.prepend({c.choice(ASNS)})",
    lambda c: f"bgp_community.add({c.choice(PAIRS)})",
    lambda c: f"bgp_community.delete([ {c.choice(PAIRS)} ])",
    lambda c: f"bgp_large_community.add({c.choice(LARGES)})",
    lambda c: f"bgp_large_community.delete([ {c.choice(LARGES)} ])",
    lambda _: "bgp_path.delete([ 64512..65534, 4200000000..4294967294 ])",
    lambda _: "krt_prefsrc = 127.0.0.1",
    lambda _: "bgp_origin = ORIGIN_IGP",
    lambda c: c.choice(("refuses()", "marks((64500, 2))")),
)


def question(chance: Random, depth: int = 2) -> str:
    """Return a condition."""
    if depth and chance.random() < 0.4:
        sign = chance.choice(("&&", "||"))
        both = f"{question(chance, depth - 1)} {sign} {question(chance, depth - 1)}"
        return chance.choice((both, f"({both})", f"!({both})"))
    return chance.choice(QUESTIONS)(chance)


def body(chance: Random, depth: int = 3) -> str:
    """Return the statements of a filter, or of a block."""
    made = []
    for _ in range(chance.randrange(1, 4)):
        kind = chance.random()
        if kind < 0.5 and depth:
            other = f" else {{ {body(chance, depth - 1)} }}" if chance.random() < 0.4 else ""
            made.append(f"if {question(chance)} then {{ {body(chance, depth - 1)} }}{other}")
        elif kind < 0.85:
            made.append(f"{chance.choice(CHANGES)(chance)};")
        else:
            made.append(chance.choice(("accept;", "reject;")))
    return " ".join(made)
