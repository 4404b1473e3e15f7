"""What which BIRD can be told, by field."""

from __future__ import annotations

from dataclasses import replace

import pytest

from confsync.drivers.bird.capabilities import CHANNEL_SINCE, PEER_SINCE, parse_version, unsupported
from tests.drivers.bird.speakers import F4, channel, net, peer, session, speaker

NEW = speaker(
    peer(
        "p",
        session("10.0.0.2", channel(F4, import_table=True)),
        asn=65510,
        role="customer",
        enforce_first_as=True,
        llgr="aware",
        llgr_stale_s=5,
        dynamic_name="d",
        dynamic_name_digits=3,
    )
)
RANGE = replace(session(), neighbor=None, neighbor_range=net("10.0.0.0/24"))


def fields(value, version: str) -> set[str]:
    """Return the paths, without the section and the peer."""
    return {".".join(map(str, one.path[3:])) for one in unsupported(value, version)}


def test_every_field_of_the_table_is_used_here():
    said = {path.partition(".")[0] for path in fields(NEW, "2.0.1")}
    assert PEER_SINCE.keys() | CHANNEL_SINCE.keys() == said


@pytest.mark.parametrize(
    ("version", "left"),
    [
        ("2.0.12", set()),
        ("BIRD 2.0.12", set()),
        ("2.17.5", set()),
        ("3.1.2", set()),
        ("2.0.10", {"role"}),
        ("2.0.7", {"role", "enforce_first_as"}),
    ],
)
def test_a_field_is_known_from_its_first_version_on(version, left):
    assert left == fields(NEW, version)


def test_the_refusal_names_the_field_and_both_versions():
    (fault,) = unsupported(NEW, "BIRD 2.0.10")
    assert ("bgp", "peers", "p", "role") == fault.path
    assert "BIRD 2.0.10 does not know role; 2.0.11 is the first that does" == fault.message


@pytest.mark.parametrize(
    ("version", "left"), [("2.0.12", set()), ("2.16.9", set()), ("2.17", {"graceful_restart_s"})]
)
def test_a_later_version_may_take_less(version, left):
    value = speaker(peer("p", graceful_restart="on", graceful_restart_s=4096))
    assert left == fields(value, version)
    assert not fields(speaker(peer("p", graceful_restart_s=4095)), version)


def test_a_range_needs_more_when_it_has_a_password():
    assert {"ipv4_range"} == fields(speaker(peer("p", RANGE)), "2.0.4")
    assert set() == fields(speaker(peer("p", RANGE)), "2.0.5")
    assert {"ipv4_range"} == fields(speaker(peer("p", RANGE, password_file="/x")), "2.0.7")


def test_bird_1_is_told_nothing():
    (fault,) = unsupported(speaker(), "BIRD 1.6.8")
    assert ("bgp",) == fault.path


def test_an_unknown_version_is_not_judged():
    assert () == unsupported(NEW, "unknown")
    assert parse_version("unknown") is None
    assert (2, 0, 12) == parse_version("2.0.12-7+deb12u1")
