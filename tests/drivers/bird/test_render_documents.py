"""From a document to what BIRD reads: the golden files, and who refuses what BIRD would refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.render import held_in, protocols, render
from tests.drivers.bird.golden_cases import BGP, CASES, FOLDER
from tests.drivers.bird.speakers import verdict

RENDERED = [case for case in CASES if (FOLDER / case / "bird.conf").exists()]


def parsed(tree) -> Bgp:
    value = BGP.parse(tree)
    assert isinstance(value, Bgp), value
    return value


def golden(case: str) -> Bgp:
    return parsed(yaml.safe_load((FOLDER / case / "document.yaml").read_text()))


def one_peer(**fields) -> Bgp:
    peer = {"ipv4": "10.0.0.2", "source": "10.0.0.1", **fields}
    return parsed({"local_as": 65501, "peers": {"p": peer}})


@pytest.mark.parametrize("case", RENDERED)
def test_bird_takes_every_golden_file(case, tmp_path):
    secret = tmp_path / "transit.conf"
    secret.write_text('password "x";\n')
    text = render(golden(case)).replace("/etc/confsync/secrets/transit.conf", str(secret))
    assert (0, "") == verdict(text, tmp_path)


@pytest.mark.parametrize("case", RENDERED)
def test_bird_takes_a_file_with_everything_held(case, tmp_path):
    value = replace(golden(case), peers=tuple(p for p in golden(case).peers if not p.password_file))
    text = render(value, frozenset(protocols(value)))
    assert frozenset(protocols(value)) == held_in(text)
    assert (0, "") == verdict(text, tmp_path)


# --- what BIRD would refuse, or die of, the model refuses before

REMOTE = "65501;\n  neighbor 10.0.0.2 as 65501"
FACTS = {
    "as 0": ("as 65501;\n  direct", "as 0;\n  direct", {"asn": 0}, "Remote AS"),
    "as too large": ("as 65501;\n  direct", "as 4294967296;\n  direct", {"asn": 2**32}, "range"),
    "asdot": ("as 65501;\n  direct", "as 1.10;\n  direct", {"asn": "1.10"}, "syntax error"),
    "address": ("10.0.0.2", "10.99.0.300", {"ipv4": "10.99.0.300"}, "Invalid IPv4"),
    "hold 2": ("hold time 90", "hold time 2", {"hold_s": 2}, "Hold time"),
    "keepalive": ("keepalive time 30", "keepalive time 91", {"keepalive_s": 91}, "Keepalive"),
    "description": (
        "  direct;",
        '  direct;\n  description "a"b";',
        {"description": 'a"b'},
        "syntax error",
    ),
    "ebgp": (
        "neighbor 10.0.0.2 as 65501",
        "neighbor 10.0.0.2 as 65502",
        {"asn": 65502},
        "",
    ),
    "multihop bfd": (
        f"local 10.0.0.1 as {REMOTE};\n  direct;",
        f"local as {REMOTE};\n  multihop;\n  bfd on;",
        {"source": {}, "multihop": True, "bfd": True},
        "requires specified local address",
    ),
}
ACCEPTED_BY_BIRD = {"ebgp"}  # its policy is rendered, yet it is not the operator's


@pytest.mark.parametrize("case", FACTS)
def test_the_model_refuses_what_bird_refuses(case, tmp_path):
    good, bad, fields, message = FACTS[case]
    text = render(one_peer())
    assert good in text
    code, said = verdict(text.replace(good, bad), tmp_path)
    assert (case in ACCEPTED_BY_BIRD) == (code == 0), said
    assert message in said
    peer = {"ipv4": "10.0.0.2", "source": "10.0.0.1", **fields}
    value = BGP.parse({"router_id": "10.0.0.1", "local_as": 65501, "peers": {"p": peer}})
    assert BGP.rules(value, {}) if isinstance(value, Bgp) else value


@pytest.mark.parametrize("prefix", ["192.0.2.1/25", "192.0.2.0/33", "fd00::/7", "10.0.0.0"])
def test_the_model_refuses_prefixes_that_bird_refuses(prefix, tmp_path):
    tree = {"router_id": "10.0.0.1", "local_as": 1, "announce": {"a": "192.0.2.0/25"}}
    text = render(parsed(tree))
    code, _ = verdict(text.replace("192.0.2.0/25", prefix), tmp_path)
    assert 0 != code
    assert isinstance(BGP.parse({"local_as": 1, "announce": {"a": prefix}}), tuple)


def test_a_text_that_would_kill_bird_is_refused():
    assert isinstance(
        BGP.parse({"local_as": 1, "peers": {"p": {"description": "x" * 5000}}}), tuple
    )
