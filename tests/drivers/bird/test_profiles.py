"""The configurations that operators run on their hosts, and the documents that replace them.

Each profile is a pair: `NAME.conf` as it is written by hand, `NAME.yaml` as a document. Both run
on one host with two route reflectors, and everything that can be seen is compared: all tables of
BIRD's with all attributes, what the reflectors get, and all routes of the kernel's.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.policy import Filter
from confsync.drivers.bird.render import render
from confsync.drivers.bird.section import BgpSection
from tests.lab import HERE
from tests.lab.bird import PROTOCOL, Since
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.bird import Bird

pytestmark = pytest.mark.root

FOLDER = Path(__file__).parent / "profiles"
PROFILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
STILL_S = 3.0  # on a busy machine a BIRD may stand still for a second
ROUTE = re.compile(
    r"^(?P<net>\S*)\s+(?P<kind>\w+) \[(?P<name>\S+) (?:\d{4}-\d\d-\d\d )?[\d:.]+(?P<rest>.*)$"
)
CODE = re.compile(r"^(?:\d{4}[- ]| )")


class Link(NamedTuple):
    """A cable to a reflector: our end and its end, in both families."""

    interface: str
    near: tuple[str, str]
    far: tuple[str, str]


LINKS = (
    Link("bond0", ("198.51.100.9/29", "2001:db8:6::9/64"), ("198.51.100.10", "2001:db8:6::1")),
    Link("bond1", ("198.51.100.17/29", "2001:db8:7::9/64"), ("198.51.100.18", "2001:db8:7::2")),
)
SOURCE = ("198.51.100.9", "2001:db8:6::9")
# What another hand put into the kernel: virtual machines, a default route, a route elsewhere.
KERNEL = (
    "route add 203.0.113.7/32 dev tap1 proto static",
    "route add 192.0.2.80/32 dev dummy1 proto static",
    "route add default via 198.51.100.10 metric 50",
    "route add 198.18.5.0/24 via 198.51.100.18",
    "route add 198.18.6.0/24 via 198.51.100.18 table 240",
    "-6 route add 2001:db8:113::7/128 dev tap1 proto static",
    "-6 route add default via 2001:db8:6::1 metric 50",
    "-6 route add 2001:db8:5::/48 via 2001:db8:7::2",
)
REFLECTOR = """\
router id {far4};
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; }}
protocol static s4 {{
  ipv4;
  route 0.0.0.0/0 blackhole; route 192.0.2.53/32 blackhole; route 203.0.113.0/25 blackhole;
  route 203.0.113.160/27 blackhole; route 198.18.9.0/24 blackhole; route {own4} blackhole;
}}
protocol static s6 {{
  ipv6;
  route ::/0 blackhole; route 2001:db8:53::53/128 blackhole; route 2001:db8:200:1::/64 blackhole;
  route 2001:db8:300::/48 blackhole; route 2001:db8:9::/48 blackhole; route {own6} blackhole;
}}
protocol bfd {{ multihop {{ interval 300 ms; multiplier 3; }}; }}
template bgp host {{
  local as 65500;
  multihop;
  bfd on;
  rr client;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
}}
protocol bgp near4 from host {{
  neighbor {near4} as 65500;
  source address {far4};
  ipv4 {{
    import all;
    add paths tx;
    export filter {{
      if net = 198.18.9.0/24 then bgp_next_hop = 100.64.0.1;
      if source = RTS_STATIC then accept;
      reject;
    }};
  }};
  ipv6 {{ import all; export none; }};
}}
protocol bgp near6 from host {{
  neighbor {near6} as 65500;
  source address {far6};
  ipv6 {{
    import all;
    add paths tx;
    export filter {{
      if net = 2001:db8:9::/48 then bgp_next_hop = 2001:db8:ffff:9::1;
      if source = RTS_STATIC then accept;
      reject;
    }};
  }};
}}
"""


@pytest.fixture
def reflectors(lab: Lab) -> tuple[Bird, ...]:
    """Give a host with its interfaces and routes, and two reflectors that it can reach."""
    far = lab.namespace("far")
    for name in ("tap1", "dummy1"):
        lab.cable(HERE, name, far, f"{name}p")
    made = tuple(reflector(lab, number, link) for number, link in enumerate(LINKS, start=1))
    for words in KERNEL:
        HERE.ip(*words.split())
    return made


def reflector(lab: Lab, number: int, link: Link) -> Bird:
    """Make one reflector on its link; the host's source address is on the first one."""
    host = lab.namespace(f"rr{number}")
    lengths = [near.partition("/")[2] for near in link.near]
    ends = [f"{far}/{length}" for far, length in zip(link.far, lengths, strict=True)]
    lab.cable(HERE, link.interface, host, "eth0", near_addresses=link.near, far_addresses=ends)
    for near, source in zip(link.near, SOURCE, strict=True):
        if (hop := near.partition("/")[0]) != source:
            host.ip("route", "add", source, "via", hop)
    text = REFLECTOR.format(
        near4=SOURCE[0],
        near6=SOURCE[1],
        far4=link.far[0],
        far6=link.far[1],
        own4=f"198.18.{100 + number}.0/24",
        own6=f"2001:db8:10{number}::/48",
    )
    return lab.bird(f"rr{number}", text, host)


def labels(bird: Bird) -> dict[str, str]:
    """Return what each protocol is, whatever its name: its kind, its table and its neighbour."""
    found = {}
    for block in re.split(r"^1002-", "\n".join(bird.ctl("show protocols all")), flags=re.MULTILINE):
        words = block.split()
        neighbor = re.search(r"Neighbor address: +(\S+)", block)
        if len(words) > 2:
            found[words[0]] = f"{words[1]} {words[2]} {neighbor[1] if neighbor else ''}"
    return found


def routes(bird: Bird, question: str) -> list[str]:
    """Return routes with all attributes, one text each, in an order of their own."""
    named, net, table, found = labels(bird), "", "", []
    for line in bird.ctl(question):
        text = CODE.sub("", line)
        if text.startswith("Table "):
            table = text
        elif route := ROUTE.match(text):
            net = route["net"] or net
            found.append(f"{table} {net} {route['kind']} [{named[route['name']]}{route['rest']}")
        elif found and text.strip():
            found[-1] += f" | {' '.join(text.split())}"
    return sorted(found)


def counts(bird: Bird) -> list[str]:
    """Return how many routes each session takes and sends."""
    named, who, found = labels(bird), "", []
    for line in bird.ctl("show protocols all"):
        if line.startswith("1002-"):
            who = named.get(line[5:].split()[0], "")
        elif "Routes:" in line and who.startswith("BGP"):
            found.append(f"{who} {' '.join(line.split())}")
    return sorted(found)


def kernel() -> list[str]:
    """Return all routes of the kernel's, of all tables."""
    listed = [
        json.dumps(route, sort_keys=True)
        for family in ("-4", "-6")
        for route in HERE.ip(family, "-details", "route", "show", "table", "all")
    ]
    return sorted(listed)


def picture(near: Bird, far: tuple[Bird, ...]) -> dict[str, Any]:
    """Return all that can be seen of what a configuration does."""
    return {
        "tables": routes(near, "show route table all all"),
        "counts": counts(near),
        "kernel": kernel(),
        **{f"rr{n}": routes(bird, "show route table all all") for n, bird in enumerate(far)},
    }


def seen(lab: Lab, name: str, text: str, far: tuple[Bird, ...]) -> dict[str, Any]:
    """Run a configuration until nothing moves any more, and return the picture of it."""
    near = lab.bird(name, text)
    near.wait_established()
    last: dict[str, Any] = {}
    since = 0.0

    def still() -> bool:
        nonlocal last, since
        now = picture(near, far)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > STILL_S

    wait_until("nothing moves any more", still, 30)
    near.close()
    for family in ("-4", "-6"):
        HERE.ip(family, "route", "flush", "table", "all", "proto", "bird")
    return last


def document(profile: str) -> Bgp:
    """Return a profile's value."""
    value = BgpSection().parse(yaml.safe_load((FOLDER / f"{profile}.yaml").read_text()))
    assert isinstance(value, Bgp), value
    return value


@pytest.mark.parametrize("profile", PROFILES)
def test_a_document_does_what_the_hand_made_file_did(profile, lab, reflectors):
    by_hand = seen(lab, "hand", (FOLDER / f"{profile}.conf").read_text(), reflectors)
    rendered = seen(lab, "ours", render(document(profile)), reflectors)
    assert any("BGP" in line for line in by_hand["counts"])
    for part, lines in by_hand.items():
        assert lines == rendered[part], part


def test_the_comparison_sees_one_rule_that_is_not_there(lab, reflectors):
    value = document("nat")
    (imports, kernel) = value.filters
    emptied = (replace(imports, ipv4=Filter((), permit=True)), kernel)
    right = seen(lab, "right", render(value), reflectors)
    wrong = seen(lab, "wrong", render(replace(value, filters=emptied)), reflectors)
    extra = set(wrong["tables"]) - set(right["tables"])
    assert {"Table master4: 198.18.9.0/24"} == {line.partition(" un")[0] for line in extra}
    assert right["counts"] != wrong["counts"]


# What the hand-made file of compute-osl calls its protocols, most of them by BIRD's own choice.
ADOPTED = {
    "cs_device": "device1",
    "cs_direct": "direct1",
    "cs_bfd": "bfd1",
    "cs_kernel_main4": "kernel1",
    "cs_kernel_main6": "kernel2",
    "cs_kernel_private4": "kernel3",
    "cs_pipe_private4": "pipe1",
    **{f"cs_rr{n}_{family}": f"rr{n}_{family}" for n in (1, 2) for family in ("ipv4", "ipv6")},
}
BIRDS_OWN = {"hold_s": 240, "keepalive_s": 0, "error_wait_min_s": 60, "error_wait_max_s": 300}


def test_a_document_that_says_what_runs_restarts_nothing(lab, reflectors):
    value = document("compute-osl")
    peers = tuple(replace(p, timers=replace(p.timers, **BIRDS_OWN)) for p in value.peers)
    near = lab.bird("near", (FOLDER / "compute-osl.conf").read_text())
    near.wait_established()
    before = clocks(near)
    reply = near.configure(render(replace(value, peers=peers), names=ADOPTED))
    assert reply[-1].startswith("0003 "), reply
    after = clocks(near)
    assert {"cs_announce4", "cs_announce6"} == after.keys() - before.keys()
    assert before == {name: after[name] for name in before}


def clocks(bird: Bird) -> dict[str, Since]:
    """Return since when each protocol is as it is, without the day, which is not always told."""
    found = (PROTOCOL.match(CODE.sub("", line)) for line in bird.ctl("show protocols"))
    return {one["name"]: Since(one["since"].split()[-1]) for one in found if one}
