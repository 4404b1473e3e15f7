"""What a configuration that somebody else wrote needs around it, so that it runs as it was meant.

Separate because it reads BIRD's language just well enough to lay cables: interfaces by their names,
addresses, and for the first sessions a neighbour that answers. What is missed stays down, as on any
host.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.net import HERE
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Lab
    from tests.lab.bird import Bird

NEIGHBOURS = 4  # each is a host of its own
NAME_CHARS = 15  # of an interface
COMMENT = re.compile(r'("[^"\n]*")|#[^\n]*|/\*.*?\*/', re.DOTALL)
INCLUDE = re.compile(r'\binclude\s+"([^"]+)"\s*;')
DEFINE = re.compile(r"\bdefine\s+(\w+)\s*=\s*([^;]+);")
BLOCK = re.compile(r"\b(?:protocol|template)\s+bgp\b\s*([\w']*)\s*(?:from\s+([\w']+)\s*)?\{")
LOCAL = re.compile(r"\b(?:local|source\s+address)\s+(?!as\b)([\w.:]+)")
PASSWORD = re.compile(r"\bpassword\s+(\"[^\"]+\"|\w+)\s*;")
GATEWAY = re.compile(r"\broute\s+\S+\s+via\s+([\w.:]+)")
SOURCE = re.compile(r"\bkrt_prefsrc\s*=\s*([\w.:]+)")
INTERFACE = re.compile(r'\b(?:interface|via)\s+((?:"[^"]+"\s*,?\s*)+)')
TOLD = re.compile(r"^\s+(Neighbor address|Neighbor AS|Local AS):\s+(\S+)", re.MULTILINE)


class Wanted(NamedTuple):
    """A session that a configuration wants: as BIRD tells it, and as the text adds to it."""

    neighbor: str
    interface: str
    far_as: int
    near_as: int
    local: str
    password: str


def surround(lab: Lab, config: Path, told: dict[str, str]) -> list[Bird]:
    """Make interfaces, addresses and neighbours for a configuration; return the neighbours' BIRDs.

    Shape: `told` is what BIRD says of each BGP protocol when it runs the configuration.
    """
    text = _flat(config)
    constants = dict(DEFINE.findall(text))
    sessions = list(_sessions(text, constants, told))[:NEIGHBOURS]
    far = [_neighbour(lab, number, one) for number, one in enumerate(sessions, start=1)]
    ours = {one.local for one in sessions}
    taken = {one.interface for one in sessions} | {"lo"}
    nowhere = lab.namespace("nowhere")
    for number, name in enumerate(sorted(_interfaces(text) - taken), start=1):
        addresses = (f"10.254.{number}.1/24", f"fd00:fe:{number:x}::1/64")
        lab.cable(HERE, name, nowhere, f"to{number}", near_addresses=addresses)
    lab.cable(HERE, "around0", nowhere, "to0")
    for address in _addresses(SOURCE, text, constants) - ours:
        HERE.add_address("around0", address)
    reached = {one.neighbor for one in sessions}
    for number, gateway in enumerate(sorted(_addresses(GATEWAY, text, constants) - ours - reached)):
        _point_to_point("around0", f"10.253.{number}.1", f"fd00:fd:{number:x}::1", gateway)
    return far


def _flat(config: Path) -> str:
    """Return a text with its includes in their places and without comments."""
    text = COMMENT.sub(lambda match: match[1] or " ", config.read_text(errors="replace"))

    def drawn_in(match: re.Match[str]) -> str:
        return "\n".join(_flat(path) for path in sorted(config.parent.glob(match[1])))

    return INCLUDE.sub(drawn_in, text)


def _sessions(text: str, constants: dict[str, str], told: dict[str, str]) -> Iterator[Wanted]:
    bodies = _bodies(text)
    for number, (name, said) in enumerate(told.items(), start=1):
        words = dict(TOLD.findall(said))
        neighbor, _, interface = words.get("Neighbor address", "").partition("%")
        if not neighbor:  # a range: who comes is not known
            continue
        body = bodies.get(name, "")
        near_as = int(words["Local AS"])
        password = _first(PASSWORD, body, constants)
        yield Wanted(
            neighbor,
            interface or f"around{number}",
            int(words.get("Neighbor AS", "0")) or near_as + 1,
            near_as,
            _first(LOCAL, body, constants),
            password.strip('"'),
        )


def _bodies(text: str) -> dict[str, str]:
    """Return what each BGP protocol says, its templates' words last."""
    found: dict[str, tuple[str, str]] = {}
    unnamed = 0
    for match in BLOCK.finditer(text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        name = match[1].strip("'")
        if not name:
            unnamed += 1
            name = f"bgp{unnamed}"
        found[name] = (text[match.end() : end], (match[2] or "").strip("'"))
    return {name: _inherited(name, found) for name in found}


def _inherited(name: str, found: dict[str, tuple[str, str]]) -> str:
    body, base = found.get(name, ("", ""))
    return f"{body}\n{_inherited(base, found)}" if base and base != name else body


def _first(pattern: re.Pattern[str], text: str, constants: dict[str, str]) -> str:
    found = pattern.search(text)
    return _resolved(found[1], constants) if found else ""


def _resolved(word: str, constants: dict[str, str]) -> str:
    return constants.get(word, word).strip()


def _addresses(pattern: re.Pattern[str], text: str, constants: dict[str, str]) -> set[str]:
    """Return the addresses in a text that need an interface; link-local ones name theirs."""
    words = {_resolved(word, constants) for word in pattern.findall(text)}
    return {word for word in words if _is_address(word) and not word.startswith("fe80:")}


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def _interfaces(text: str) -> set[str]:
    quoted = " ".join(INTERFACE.findall(text))
    names = (name.replace("*", "0") for name in re.findall(r'"([^"]+)"', quoted))
    return {name[:NAME_CHARS] for name in names if name != "0"}


def _point_to_point(name: str, own4: str, own6: str, peer: str) -> str:
    own, bits = (own6, 128) if ":" in peer else (own4, 32)
    nodad = ("nodad",) if ":" in peer else ()
    HERE.ip("address", "add", own, "peer", f"{peer}/{bits}", "dev", name, *nodad)
    return own


def _neighbour(lab: Lab, number: int, one: Wanted) -> Bird:
    """Make the far end of a session: a host with a BIRD that announces and takes all."""
    host = lab.namespace(f"far{number}")
    lab.cable(HERE, one.interface, host, "eth0")
    bits = 128 if ":" in one.neighbor else 32
    if one.neighbor.startswith("fe80:"):
        local = one.local or f"fe80::ffff:{number:x}"
        HERE.add_address(one.interface, f"{local}/64")
        host.add_address("eth0", f"{one.neighbor}/64")
        local += "%eth0"
    else:
        own4, own6 = one.local or f"10.252.{number}.1", one.local or f"fd00:fc:{number:x}::1"
        local = _point_to_point(one.interface, own4, own6, one.neighbor)
        nodad = ("nodad",) if bits > 32 else ()
        host.ip("address", "add", one.neighbor, "peer", f"{local}/{bits}", "dev", "eth0", *nodad)
    return lab.bird(f"far{number}", _far_text(number, one, local), host)


def _far_text(number: int, one: Wanted, local: str) -> str:
    password = f'password "{one.password}";' if one.password else ""
    return f"""\
router id 10.251.{number}.1;
protocol device {{}}
protocol static s4 {{
    ipv4;
    route 0.0.0.0/0 blackhole; route 198.18.{number}.0/24 blackhole; route 172.20.16.0/24 blackhole;
}}
protocol static s6 {{
    ipv6;
    route ::/0 blackhole; route 2001:db8:f{number}::/48 blackhole;
    route fd12:3456:789a::/48 blackhole;
}}
protocol bgp near {{
    local {one.neighbor} as {one.far_as};
    neighbor {local} as {one.near_as};
    direct; {password}
    connect delay time 1; connect retry time 1; error wait time 1, 2;
    ipv4 {{ import all; export all; next hop self; extended next hop on; }};
    ipv6 {{ import all; export all; next hop self; }};
}}
"""


def settle(bird: Bird, far: list[Bird], timeout_s: float) -> int:
    """Wait until the sessions with our neighbours are up, no longer than this; return how many."""

    def up() -> int:
        return sum(one.sessions()["near"].info == "Established" for one in far)

    try:
        wait_until("every neighbour's session", lambda: up() == len(far), timeout_s, every_s=0.2)
    except Exception as error:  # noqa: BLE001 - some want what we do not give: that is their state
        with bird.log.open("a") as log:
            log.write(f"{error}\n")
    return up()
