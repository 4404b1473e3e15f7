from __future__ import annotations

import json
from pathlib import Path

import pytest

from confsync.drivers.bird.observe import (
    Condition,
    Place,
    greeted_version,
    locate,
    parse_bfd,
    parse_condition,
    parse_marker,
    parse_protocols,
    program_version,
    refusal,
)
from confsync.drivers.bird.ownership import EXAMPLES
from confsync.drivers.bird.socket import Framer
from confsync.model.ids import digest
from tests.lab.bird import EXAMPLE

BFD = """\
1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 10.99.0.2                 c3va       Up         10:07:09.256    0.100    0.300
 fd00:9:1::2               ---        Down       2026-11-22 10:48:51.256    1.000    5.000
 fe80::1%eth0              eth0       Init       10:07:09.256    0.100    0.300
"""
REPLIES = Path(__file__).parent / "replies"


def reply(text):
    (found,) = Framer().feed(text.encode())
    return found


@pytest.mark.parametrize("case", sorted(path.stem for path in REPLIES.glob("*.txt")))
def test_protocols_are_read_as_in_the_golden_file(case):
    seen = parse_protocols(reply((REPLIES / f"{case}.txt").read_text()))
    expected = json.loads((REPLIES / f"{case}.json").read_text())
    assert expected == {one.name: one.as_json() for one in seen}


def test_held_is_down_without_a_reason_of_birds():
    seen = parse_protocols(reply((REPLIES / "unhealthy.txt").read_text()))
    assert {"held", "held_with_message"} == {one.name for one in seen if one.held}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0003-Daemon is up and running\n0000 \n", Condition("", None)),
        ("0003-Daemon is up and running\n0022-Configuration unconfirmed, undo in 8.997 s\n0000 \n",
         Condition("", 8.997)),
        ("0004-Reconfiguration in progress\n0022-Configuration unconfirmed, undo in 30 s\n0000 \n",
         Condition("Reconfiguration in progress", 30.0)),
        ("0005-Reconfiguration in progress, next one enqueued\n0000 \n",
         Condition("Reconfiguration in progress, next one enqueued", None)),
        ("9001 syntax error\n", Condition("syntax error", None)),
    ],
)  # fmt: skip
def test_condition_is_read(text, expected):
    assert expected == parse_condition(reply(text), reply("0013 Daemon is up and running\n"))


def test_graceful_restart_recovery_is_read():
    status = (
        "1000-BIRD 2.0.12\n0024-Graceful restart recovery in progress\n   Wait timer\n0013 up\n"
    )
    ready = reply("0003-Daemon is up and running\n0000 \n")
    assert Condition("", None, recovering=True) == parse_condition(ready, reply(status))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0023 0123456789abcdef\n", "0123456789abcdef"),
        ("9001 syntax error, unexpected CF_SYM_UNDEFINED\n", None),
        ("9002 Invalid symbol type\n", None),
    ],
)
def test_marker_is_read(text, expected):
    assert expected == parse_marker(reply(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9001 There is no BFD protocol running\n", {}),
        (BFD + "0000 \n",
         {"10.99.0.2": "Up", "fd00:9:1::2": "Down", "fe80::1": "Init"}),
    ],
)  # fmt: skip
def test_bfd_sessions_are_read(text, expected):
    assert expected == parse_bfd(reply(text))


@pytest.mark.parametrize(
    ("greeting", "program", "said"),
    [
        ("BIRD 2.0.12 ready.", "BIRD version 2.0.12\n", ""),
        ("BIRD 3.3.2 ready.", "BIRD version 3.3.2\n", ""),
        ("BIRD 1.6.8 ready.", "BIRD version 1.6.8\n", "too old"),
        ("BIRD 2.0.12 ready.", "BIRD version 2.17.5\n", "restart BIRD first"),
        ("BIRD 2.0.12 ready.", "Segmentation fault\n", "nothing that can be read"),
        ("FRR ready.", "BIRD version 2.0.12\n", "not BIRD"),
    ],
)
def test_versions_that_cannot_be_worked_with_are_refused(greeting, program, said):
    found = refusal(greeted_version(greeting), program_version(program))
    assert said in found
    assert bool(said) is bool(found)


@pytest.mark.parametrize(
    ("settings", "there", "expected"),
    [
        (("/a.conf", "/a.ctl"), (), ("/a.conf", "/a.ctl")),
        (("", ""), (), ("/etc/bird/bird.conf", "/run/bird/bird.ctl")),
        (("", ""), ("/etc/bird.conf", "/run/bird.ctl"), ("/etc/bird.conf", "/run/bird.ctl")),
        (("", ""), ("/etc/bird/bird.conf", "/run/bird.ctl"),
         ("/etc/bird/bird.conf", "/run/bird/bird.ctl")),
        (("", "/a.ctl"), ("/etc/bird.conf",), ("/etc/bird.conf", "/a.ctl")),
    ],
)  # fmt: skip
def test_config_and_socket_are_found(settings, there, expected):
    assert Place(*expected) == locate(*settings, there.__contains__)


def test_this_machines_example_is_known():
    assert digest(EXAMPLE.read_bytes()) in EXAMPLES
