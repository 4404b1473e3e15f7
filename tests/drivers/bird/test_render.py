"""The rendered file: what BIRD reads, its seal, and that nothing unquoted gets into it."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.render import (
    _environment,
    held_in,
    is_intact,
    protocols,
    quoted,
    render,
    render_id,
    symbol,
    word,
)
from tests.drivers.bird.golden_cases import BGP, CASES, FOLDER

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


def verdict(text: str, folder) -> tuple[int, str]:
    """Return what BIRD's own parser says, in a child that it may crash."""
    path = folder / "bird.conf"
    path.write_text(text)
    argv = ["/usr/sbin/bird", "-p", "-c", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("case", RENDERED)
def test_bird_takes_every_golden_file(case, tmp_path):
    secret = tmp_path / "transit.conf"
    secret.write_text('password "x";\n')
    text = render(golden(case)).replace("/etc/confsync/secrets/transit.conf", str(secret))
    assert (0, "") == verdict(text, tmp_path)


@pytest.mark.parametrize("case", RENDERED)
def test_every_protocol_is_listed_once_and_can_be_held(case):
    value = golden(case)
    names = protocols(value)
    text = render(value, frozenset(names))
    assert len(set(names)) == len(names)
    assert list(names) == [line.split()[2] for line in text.splitlines() if line[:9] == "protocol "]
    assert frozenset(names) == held_in(text)
    assert frozenset() == held_in(render(value))


@pytest.mark.parametrize("case", RENDERED)
def test_bird_takes_a_file_with_everything_held(case, tmp_path):
    value = replace(golden(case), peers=tuple(p for p in golden(case).peers if not p.password_file))
    assert (0, "") == verdict(render(value, frozenset(protocols(value))), tmp_path)


def test_the_seal_breaks_with_any_edit():
    text = render(golden("everything"))
    assert is_intact(text)
    assert render_id(text) == text.splitlines()[1].split('"')[1]
    body = text.index("\n", text.index("define"))
    for at in range(body, len(text), 97):
        edited = f"{text[:at]}#{text[at:]}"
        assert not is_intact(edited)
    assert not is_intact(text[:-1])
    assert not is_intact(text + "\n")


@pytest.mark.parametrize("text", ["", "\n", "router id 1.2.3.4;", '# x\ndefine cs_render = "a";\n'])
def test_any_other_file_is_not_ours(text):
    assert (None, False, frozenset()) == (render_id(text), is_intact(text), held_in(text))


def test_a_description_cannot_pretend_to_be_held():
    assert frozenset() == held_in(render(one_peer(description="disabled; # held by hand")))


@settings(deadline=None)
@given(
    st.lists(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,47}", fullmatch=True), max_size=6, unique=True)
)
def test_different_peers_have_different_protocols(names):
    peers = {name: {"ipv4": f"10.0.0.{n}"} for n, name in enumerate(names, start=2)}
    value = parsed({"router_id": "10.0.0.1", "local_as": 65501, "peers": peers})
    rendered = [peer.protocol(session) for peer, session in value.pairs]
    assert len(names) == len(set(rendered))
    assert all(len(symbol(name)) <= 64 for name in rendered)


# --- quoting


@pytest.mark.parametrize("text", ['a"', "a\n", "a\0", "\x1b[2J", "x" * 5000, "\u2028"])
def test_what_birds_quotes_cannot_hold_is_refused(text):
    with pytest.raises(ValueError, match="cannot be quoted"):
        quoted(text)


@pytest.mark.parametrize("name", ["rr1", "cs_", "cs_a-b", "cs_a b", "cs_" + "x" * 62, "cs_é"])
def test_only_our_names_are_names(name):
    with pytest.raises(ValueError, match="not a name"):
        symbol(name)


def test_only_known_words_are_words():
    with pytest.raises(ValueError, match="not a word"):
        word("accept; reject")


@pytest.mark.parametrize("value", ["text", 1.5, None, b"x", ("a",)])
def test_a_template_cannot_print_a_bare_value(value):
    with pytest.raises(TypeError, match="bare"):
        _environment().from_string("{{ value }}").render(value=value)


def test_a_template_cannot_use_an_unknown_name():
    with pytest.raises(UndefinedError):
        _environment().from_string("{{ nobody }}").render()


TEXT = st.text(max_size=255).filter(lambda text: text.isprintable() and '"' not in text)


@settings(deadline=None)
@given(TEXT)
def test_a_description_stays_between_its_quotes(text):
    plain, told = (
        render(one_peer()).splitlines()[2:],
        render(one_peer(description=text)).splitlines(),
    )
    extra = [f'  description "{text}";'] if text else []
    assert extra == [line for line in told[2:] if line not in plain]


@pytest.mark.parametrize(
    "text", ["; } protocol static x {", "# /* */", "'\\", "${x}", "{{ x }}", "é" * 255, "𐍈" * 255]
)
def test_bird_takes_strange_descriptions_as_text(text, tmp_path):
    assert (0, "") == verdict(render(one_peer(description=text)), tmp_path)


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
        f"local 10.0.0.1 as {REMOTE};\n  direct;\n  passive no;\n  bfd no",
        f"local as {REMOTE};\n  multihop;\n  passive no;\n  bfd yes",
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


def test_a_long_string_kills_bird_and_never_gets_there(tmp_path):
    text = render(one_peer(description="x")).replace('"x"', f'"{"x" * 5000}"')
    code, _ = verdict(text, tmp_path)
    assert code < 0
    assert isinstance(
        BGP.parse({"local_as": 1, "peers": {"p": {"description": "x" * 5000}}}), tuple
    )
