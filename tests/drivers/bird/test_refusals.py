"""What BIRD has against a text, told with its place; and what it takes although it is wrong."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

import pytest

from confsync.drivers.bird.checks import explained
from confsync.drivers.bird.daemon import Daemon
from confsync.drivers.bird.step import Change
from confsync.model.errors import HostBusy, HostRefused
from confsync.model.section import Ownership
from confsync.ports import Position, Verdict
from tests.drivers.bird.driven import Driven, with_text
from tests.lab import Lab

pytestmark = pytest.mark.root

ONE = {"announce": {"one": "192.0.2.0/24"}}
TWO = {"announce": {"one": "192.0.2.0/24", "two": "198.51.100.0/24"}}
START = "router id 10.9.1.1;\nprotocol device {}\n"
BGP = "protocol bgp b { local as 65001; neighbor 10.0.0.2 as 65001; ipv4 {}; "
EBGP = BGP.replace("2 as 65001; ipv4 {}", "2 as 65002; ipv4 { import none; export none; }")
HOPS = BGP.replace("ipv4 {}", "multihop; ipv4 {}")
STATIC = "protocol static {{ ipv4; route {} blackhole; }}\n"
ITSELF = 'include  "bird.conf.confsync-candidate";\n'
TWICE = "protocol static s4 { ipv4; }\nprotocol static s4 { ipv4; }\n"
STATIC6 = "protocol static { ipv6; route 2001:db8::1/33 blackhole; }\n"
NOTHING = "No protocol is specified in the config file"

# The text after START (None = alone), and what is told of which line.
CASES = {
    "empty": (None, "", 1, NOTHING),
    "comments only": (None, "# nothing\n/* at all */\n", 1, NOTHING),
    "missing semicolon": (START, "define A = 1\nprotocol static {}\n", 4, "unexpected PROTOCOL"),
    "unknown keyword": (START, BGP + "hold tim 3; }\n", 3, "expecting TIME"),
    "undefined filter": (START, "protocol static { ipv4 { import filter f; }; }\n", 3, "UNDEFINED"),
    "undefined template": (START, "protocol bgp b from t {}\n", 3, "UNDEFINED"),
    "undefined table": (START, "protocol static { ipv4 { table t; }; }\n", 3, "UNDEFINED"),
    "address": (START, BGP.replace("0.0.2", "99.0.300"), 3, "Invalid IPv4 address 10.99.0.300"),
    "host bits": (START, STATIC.format("192.0.2.1/25"), 3, "maybe you wanted 192.0.2.0/25"),
    "host bits, with colons": (START, STATIC6, 3, "Invalid IPv6 prefix 2001:db8::1/33"),
    "prefix length": (START, STATIC.format("192.0.2.0/33"), 3, "Invalid prefix length 33"),
    "other family": (START, STATIC.format("2001:db8::/32"), 3, "incompatible with channel type"),
    "no AS": (START, BGP.replace(" as 65001;", ";") + "}\n", 3, "must be set"),
    "AS 0": (START, BGP.replace("2 as 65001", "2 as 0") + "}\n", 3, "must be set"),
    "AS too large": (START, BGP.replace("65001", "4294967296"), 3, "Number out of range"),
    "asdot": (START, BGP.replace("65001", "1.10"), 3, "syntax error"),
    "no neighbour": (
        START,
        BGP.replace("neighbor", "#") + "\n}\n",
        4,
        "Neighbor must be configured",
    ),
    "no policy": (
        START,
        BGP.replace("2 as 65001", "2 as 65002") + "}\n",
        3,
        "explicit import policy",
    ),
    "name twice": (START, TWICE, 4, "'s4' already defined"),
    "two syncers": (
        START,
        "protocol kernel a { ipv4; }\nprotocol kernel b { ipv4; }\n",
        4,
        "already",
    ),
    "hold time": (START, BGP + "hold time 2; }\n", 3, "must be in range 3-65535 or zero"),
    "keepalive": (START, BGP + "hold time 9; keepalive time 10; }\n", 3, "eepalive"),
    "rr client": (START, EBGP + "rr client; }\n", 3, "Only internal neighbor can be RR client"),
    "BFD over hops": (START, HOPS + "bfd; }\n", 3, "requires specified local address"),
    "LLGR alone": (
        START,
        BGP + "graceful restart off; long lived graceful restart on; }\n",
        3,
        "graceful",
    ),
    "open string": (START, 'log "x\n', 3, "Unterminated string"),
    "open comment": (START, "/* x\n", 4, "Unterminated comment"),
    "include missing": (START, 'include  "none.conf";\n', 3, "Unable to open included file"),
    "include for ever": (None, ITSELF, 1, "Max include depth"),
    "log folder": (START, 'log "/nowhere/x" all;\n', 3, "Unable to open log file"),
    "carriage return": (START, "define A = 1;\r\n", 3, "Unknown character"),
    "byte order mark": (START, "\ufeffdefine A = 1;\n", 3, "Unknown character"),
    "NUL": (START, "define A = 1;\0\n", 3, "Unknown character"),
    "community": (START, "define A = (65536, 1);\n", 3, "out of bounds"),
    "long name": (START, f"define {'x' * 65} = 1;\n", 3, "Symbol too long"),
    "bare dash": (START, "protocol static a-b {}\n", 3, "syntax error"),
    "keyword as a name": (START, "protocol static 'keep' {}\n", 3, "syntax error"),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Give a host whose very paths look like the places that BIRD tells."""
    with Lab(tmp_path_factory.mktemp("a:7:3 b")) as lab:
        yield Driven(lab)


@pytest.fixture
def host(built):
    yield built
    built.driver.close()


async def complaints(host, text):
    """Return what the child and the daemon itself have against a text, in our words."""
    step = with_text(await host.plan(**ONE), text)
    with pytest.raises(HostRefused) as refused:
        await host.driver.check(step)
    change, daemon = Change.of(step), Daemon(str(host.bird.socket))
    Path(change.candidate).write_text(text)
    told = explained(await daemon.complaint(change.candidate), change)
    Path(change.candidate).unlink()
    daemon.close()
    return str(refused.value).removeprefix("BIRD refuses: "), told


@pytest.mark.parametrize("case", CASES)
async def test_what_bird_refuses_is_told_with_its_line(host, case):
    start, text, line, said = CASES[case]
    child, daemon = await complaints(host, (start or "") + text)
    assert daemon == child
    assert daemon.startswith(f"line {line}, column ")
    assert said in daemon


# --- what BIRD takes although it is wrong


def cuts(text):
    """Return a text cut after each of its statements but the last."""
    lines = text.splitlines(keepends=True)
    ends = [
        n
        for n, line in enumerate(lines, 1)
        if line[:1] not in " #\n" and line.endswith((";\n", "}\n"))
    ]
    return ["".join(lines[:end]) for end in ends[:-1]]


async def test_a_text_cut_after_any_statement_is_refused_or_never_healthy(host):
    step = await host.plan(**ONE)
    shortened, taken = cuts(step.args["text"]), 0
    assert len(shortened) > 8
    for text in shortened:
        bad = with_text(step, text)
        with suppress(HostRefused):
            await host.driver.check(bad)
            taken += 1
        if "protocol device" not in text:
            assert taken == 0
            continue
        saved = await host.driver.checkpoint(bad)
        (probe,) = host.driver.probes(bad)
        baseline = await probe.sample()
        await host.driver.apply(bad, saved, 30)
        judged = probe.judge(baseline, (await probe.sample(),))
        assert (Verdict.FAILED, True) == (judged.verdict, "is missing" in judged.reason)
        await host.driver.undo(bad, saved)
    assert taken > 2


async def test_a_candidate_that_was_cut_on_disk_is_written_anew(host):
    step, saved = await host.prepare(**ONE)
    for text in cuts(step.args["text"]):
        Path(Change.of(step).candidate).write_text(text)
        await host.driver.apply(step, saved, 30)
        assert step.args["text"] == Path(Change.of(step).candidate).read_text()
        assert Verdict.OK is await judged(host, step)
        await host.driver.undo(step, saved)
        step, saved = await host.prepare(**ONE)
    await host.driver.undo(step, saved)


async def judged(host, step):
    (probe,) = host.driver.probes(step)
    seen = await probe.sample()
    return probe.judge(seen, (seen,)).verdict


async def test_a_live_file_that_was_cut_is_not_what_we_wrote(lab):
    host = Driven(lab)
    step, _ = await host.committed(**ONE)
    for text in cuts(step.args["text"]):
        host.bird.config.write_text(text)
        assert Ownership.EDITED == (await host.driver.observe()).ownership
    host.driver.close()


# --- a BIRD without privileges, as distributions run it


@pytest.fixture
def unprivileged(lab):
    """Give a BIRD of the user bird, who may reach its folder."""
    folder = lab.folder / "near"
    folder.mkdir()
    os.chown(folder, *ids("bird"))
    for one in (lab.folder, *lab.folder.parents[:-2]):
        one.chmod(one.stat().st_mode | 0o011)
    driven = Driven(lab, options=("-u", "bird", "-g", "bird"))
    yield driven
    driven.driver.close()


def ids(name):
    found = pwd.getpwnam(name)
    return found.pw_uid, found.pw_gid


async def test_a_file_that_bird_may_not_read_stops_the_change_before_it_begins(unprivileged):
    host = unprivileged
    await host.committed(**ONE)
    host.bird.config.chmod(0o600)
    before, marker = host.bird.config.read_bytes(), host.marker()
    step = await host.plan(**TWO)
    with pytest.raises(HostBusy, match=r"no way back: .*Permission denied"):
        await host.driver.check(step)
    assert (before, marker, []) == (host.bird.config.read_bytes(), host.marker(), host.leftovers())


async def test_a_new_file_can_be_read_by_bird_alone(unprivileged):
    host = unprivileged
    host.bird.config.unlink()
    step, saved = await host.committed(**ONE)
    found = host.bird.config.stat()
    assert (0o640, ids("bird")[1]) == (found.st_mode & 0o777, found.st_gid)
    assert "0020" == host.bird.ctl("configure check")[-1][:4]
    assert Position.NEW == await host.driver.position(step, saved)
