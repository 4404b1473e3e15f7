"""The rendered file: its seal, its names, what lies over its filters, and what cannot get in."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from confsync.drivers.bird import guards
from confsync.drivers.bird.bgp import (
    Direct,
    ForeignFile,
    Pipe,
    StaticRoute,
    Syncer,
    Table,
    Withheld,
)
from confsync.drivers.bird.effective import overlaid
from confsync.drivers.bird.policy import Changes, Filter, Foreign, Named, NamedFilter, NamedSet
from confsync.drivers.bird.render import (
    _environment,
    disabled_in,
    held_in,
    is_intact,
    protocols,
    render,
    render_id,
    symbols,
)
from confsync.drivers.bird.rules import broken
from confsync.drivers.bird.syntax import call, community, mask, quoted, symbol, word
from tests.drivers.bird.speakers import (
    ALL,
    F4,
    KERNEL,
    NEXT,
    NONE,
    address,
    channel,
    filtering,
    net,
    peer,
    prefixes,
    rule,
    session,
    speaker,
    verdict,
)

REASON = Withheld("CHG-1")
KEPT = {
    "cs_device": "device1",
    "cs_kernel4": "kernel1",
    "cs_announce4": "static1",
    "cs_rr1_ipv4": "rr1-v4.old",
    "cs_bfd": "bfd1",
}
MANY = speaker(
    peer("rr1", session("10.0.0.2"), session("fd00::2")),
    peer("rr-2", session("10.0.0.3", name="rr2-v4"), disabled=REASON),
    announce=("192.0.2.0/24",),
    tables=(Table("private4", F4),),
    pipes=(Pipe("p-1", "master4", "private4", F4, ALL, ALL),),
    direct=Direct(),
    routes=(
        StaticRoute("a", net("10.1.0.0/16"), dest="blackhole"),
        StaticRoute("b", net("10.2.0.0/16"), dest="blackhole", table="private4"),
    ),
    syncers=(*KERNEL, Syncer("main-4", "private4", F4, kernel_table=240)),
    sets=(NamedSet("n", ipv4=(prefixes("10.0.0.0/8"),)), NamedSet("empty")),
    filters=(NamedFilter("n", ALL, None),),
)


def body(text: str, name: str) -> str:
    """Return one protocol's lines, without the indentation."""
    start = text.index(f" {name} {{\n")
    return " ".join(text[start : text.index("\n}\n", start)].split())


# --- the seal


def test_the_seal_breaks_with_any_edit():
    text = render(MANY)
    assert is_intact(text)
    assert render_id(text) == text.splitlines()[1].split('"')[1]
    start = text.index("\n", text.index("define"))
    for at in range(start, len(text), 97):
        assert not is_intact(f"{text[:at]}#{text[at:]}")
    assert not is_intact(text[:-1])
    assert not is_intact(text + "\n")


@pytest.mark.parametrize("text", ["", "\n", "router id 1.2.3.4;", '# x\ndefine cs_render = "a";\n'])
def test_any_other_file_is_not_ours(text):
    assert (None, False, frozenset()) == (render_id(text), is_intact(text), held_in(text))


# --- names


@pytest.mark.parametrize("names", [{}, KEPT], ids=["ours", "kept"])
@pytest.mark.parametrize("whole", [True, False])
def test_every_protocol_is_listed_once_and_can_be_held(names, whole, tmp_path):
    listed = protocols(MANY, names, whole=whole)
    text = render(MANY, frozenset(listed), names, whole=whole)
    found = [line.split()[2].strip("'") for line in text.splitlines() if line[:9] == "protocol "]
    assert (list(listed), len(set(listed))) == (found, len(listed))
    assert (frozenset(listed),) * 2 == (held_in(text), disabled_in(text))
    tail = "" if whole else "router id 1.2.3.4;\nprotocol device {}\n"
    assert (0, "") == verdict(text + tail, tmp_path)


def test_what_a_document_disables_is_not_held_by_hand():
    text = render(MANY)
    assert (frozenset(), {"rr2-v4"}) == (held_in(text), disabled_in(text))
    assert {"rr2-v4"} == held_in(render(MANY, frozenset({"rr2-v4"})))


def test_a_kept_name_is_quoted_and_rules_speak_of_it():
    text = render(MANY, names=KEPT)
    assert "protocol bgp 'rr1-v4.old' {\n" in text
    assert "cs_rr1_ipv4" not in text
    own = speaker(peer("p", session("10.0.0.2", channel(exports=None))))
    assert 'if proto = "static1" then accept;' in render(own, names=KEPT)
    assert 'if proto = "cs_announce4" then accept;' in render(own)


def test_a_kept_name_may_be_a_keyword():
    assert "protocol kernel 'kernel' {" in render(MANY, names={"cs_kernel4": "kernel"})


def test_every_name_of_the_file_is_known():
    text = render(MANY)
    assert len(set(symbols(MANY))) == len(symbols(MANY))
    own = [line.split()[1:3] for line in text.splitlines() if line.startswith(("filter", "define"))]
    named = {words[0] for words in own} - {"cs_render"}
    tables = {one.name for one in MANY.tables}
    assert set(symbols(MANY)) == named | tables | set(protocols(MANY))


def test_a_peer_a_filter_and_a_set_of_one_name_are_apart():
    one = filtering(rule(prefix_set="f"), sets=(NamedSet("f", ipv4=(prefixes("10.0.0.0/8"),)),))
    value = replace(one, peers=(peer("f"),))
    assert len(set(symbols(value))) == len(symbols(value))


@settings(deadline=None)
@given(
    st.lists(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,47}", fullmatch=True), max_size=6, unique=True)
)
def test_different_names_are_different_symbols(names):
    chosen = tuple(NamedFilter(name, ALL, ALL) for name in names)
    kept = tuple(NamedSet(name, communities=("1:2",)) for name in names)
    value = speaker(*map(peer, names), filters=chosen, sets=kept)
    assert len(set(symbols(value))) == len(symbols(value))
    assert all(len(symbol(name)) <= 64 for name in symbols(value))


# --- a fragment


def test_a_fragment_holds_nothing_of_the_main_file(tmp_path):
    value = replace(MANY, foreign=(ForeignFile("/nowhere.conf", "filters", "puppet"),))
    text = render(value, whole=False)
    words = ("router id", "timeformat", "log ", "device", "direct ", "protocol bfd", "include")
    assert [] == [word for word in words if f"\n{word}" in text or f"protocol {word}" in text]
    assert ("cs_kernel_mainD4", "cs_pipe_pD1", "cs_announce4", "cs_static4") == protocols(
        value, whole=False
    )[:4]
    assert "cs_kernel4" not in text
    assert is_intact(text)
    main = 'router id 1.2.3.4;\ninclude "cs.conf";\nprotocol device {}\n'
    (tmp_path / "cs.conf").write_text(text)
    assert (0, "") == verdict(main, tmp_path)


def test_foreign_peers_come_last_because_they_may_use_ours():
    files = (ForeignFile("/a/peers.conf", "peers", "x"), ForeignFile("/a/sets.conf", "sets", "x"))
    text = render(replace(MANY, foreign=files))
    assert text.endswith('\ninclude "/a/peers.conf";\n')
    assert text.index("/a/sets.conf") < text.index("cs_SET_") < text.index("filter cs_FILTER_")


# --- what lies over a filter


SOME = Filter((rule(prefixes=(prefixes("10.0.0.0/8"),), changes=Changes(local_pref=200)),), False)
MARKED = (
    "export filter { if net ~ [10.0.0.0/8] then { bgp_local_pref = 200; "
    "bgp_community.add((65535, 0)); accept; } reject; };"
)
DRAINS = {
    "ebgp": (
        65510,
        "import filter { bgp_local_pref = 0; accept; };",
        MARKED,
    ),
    "external": (
        "external",
        "import filter { bgp_local_pref = 0; accept; };",
        MARKED,
    ),
    "ibgp": (
        "internal",
        "import all;",
        "export filter { if net ~ [10.0.0.0/8] then { bgp_local_pref = 0; accept; } reject; };",
    ),
}


@pytest.mark.parametrize("by", ["peer", "host"])
@pytest.mark.parametrize("policy", [SOME, Named("some")], ids=["inline", "named"])
@pytest.mark.parametrize("kind", DRAINS)
def test_a_drain_marks_every_route_that_passes(kind, policy, by, tmp_path):
    asn, imports, exports = DRAINS[kind]
    own = peer("p", session("10.0.0.2", channel(imports=ALL, exports=policy)), asn=asn)
    value = speaker(own, filters=(NamedFilter("some", SOME, None),))
    drained = {
        "peer": replace(value, peers=(replace(own, drain=REASON),)),
        "host": replace(value, drain=REASON),
    }[by]
    text = render(drained)
    assert imports in body(text, "cs_p_ipv4")
    assert exports in body(text, "cs_p_ipv4")
    assert "65535" not in render(value)
    assert (0, "") == verdict(text, tmp_path)


GUARDS = {
    "default_route": "if net ~ [0.0.0.0/0] then reject;",
    "bogons": "if net ~ [0.0.0.0/8{8,32}, 10.0.0.0/8{8,32},",
    "too_long": "if net.len ~ [25..32] then reject;",
    "own_as": "if bgp_path ~ [65501] then reject;",
    "long_path": "if bgp_path.len > 100 then reject;",
    "graceful_shutdown": "if bgp_community ~ [(65535, 0)] then bgp_local_pref = 0;",
}


@pytest.mark.parametrize("word", guards.WORDS)
def test_a_guard_asks_before_the_filter(word, tmp_path):
    own = peer("p", session("10.0.0.2", channel(imports=Named("some"))), guard=(word,))
    text = render(speaker(own, filters=(NamedFilter("some", SOME, None),)))
    assert f"import filter {{ {GUARDS[word]}" in body(text, "cs_p_ipv4")
    assert (0, "") == verdict(text, tmp_path)


def test_what_a_filter_prefers_yields_to_a_neighbour_that_is_about_to_go(tmp_path):
    own = peer("p", session("10.0.0.2", channel(imports=SOME)), guard=("graceful_shutdown",))
    obeys = GUARDS["graceful_shutdown"]
    wanted = (
        f"import filter {{ {obeys} if net ~ [10.0.0.0/8] then bgp_local_pref = 200; {obeys} "
        "if net ~ [10.0.0.0/8] then accept; reject; };"
    )
    text = render(speaker(own))
    assert wanted in body(text, "cs_p_ipv4")
    assert (0, "") == verdict(text, tmp_path)


def test_a_guard_asks_for_the_as_that_the_peer_knows_us_by():
    own = peer("p", session("10.0.0.2"), asn=65510, local_as=65009, guard=("own_as",))
    assert "if bgp_path ~ [65009] then reject;" in body(render(speaker(own)), "cs_p_ipv4")


def test_a_closed_channel_needs_no_guard():
    own = peer("p", session("10.0.0.2", channel(imports=NONE)), guard=guards.WORDS)
    assert "import none;" in body(render(speaker(own)), "cs_p_ipv4")


def test_another_hands_filter_cannot_be_guarded():
    own = session("10.0.0.2", channel(imports=Foreign("theirs")))
    (fault,) = broken(speaker(peer("p", own, guard=("bogons",))))
    assert "bgp.peers.p.guard: set, but theirs is another hand's" in str(fault)


def test_a_closed_channel_stays_closed_when_drained():
    own = peer("p", session("10.0.0.2", channel(imports=NONE, exports=NONE)), asn=65510)
    text = body(render(speaker(own, drain=REASON)), "cs_p_ipv4")
    assert "import none; export none;" in text


def test_another_hands_filter_cannot_be_drained():
    own = channel(imports=ALL, exports=Foreign("theirs"))
    value = speaker(peer("p", session("10.0.0.2", own), asn=65510), drain=REASON)
    assert (ALL, Foreign("theirs")) == overlaid(value, value.peers[0], own)
    with pytest.raises(ValueError, match="another hand"):
        render(value)


def test_a_named_filter_has_a_half_for_each_family_that_uses_it():
    own = peer("p", session("10.0.0.2", channel(exports=Named("some"))), drain=REASON)
    with pytest.raises(ValueError, match="no filter"):
        render(speaker(own, filters=(NamedFilter("some", None, ALL),)))


def test_a_rules_own_source_address_goes_before_the_tables(tmp_path):
    chosen = Filter((rule(changes=Changes(source_address=address("10.0.0.9"))),), permit=False)
    one = Syncer("kernel4", "master4", F4, exports=chosen, source_address=address("10.0.0.1"))
    text = render(speaker(syncers=(one,)))
    wanted = "export filter { krt_prefsrc = 10.0.0.1; krt_prefsrc = 10.0.0.9; accept; reject; };"
    assert wanted in body(text, "cs_kernel4")
    assert (0, "") == verdict(text, tmp_path)


DEFAULTS = {
    "internal": (
        "import filter { if net ~ [0.0.0.0/0] then reject; accept; };",
        'export filter { if proto = "cs_announce4" then accept; reject; };',
    ),
    "external": ("import none;", "export none;"),
}


@pytest.mark.parametrize("asn", DEFAULTS)
def test_a_peer_without_filters_has_the_defaults_of_its_kind(asn):
    own = peer("p", session("10.0.0.2", channel(imports=None, exports=None)), asn=asn)
    text = body(render(speaker(own)), "cs_p_ipv4")
    assert [] == [line for line in DEFAULTS[asn] if line not in text]


def test_a_rule_that_does_nothing_is_not_written():
    text = render(filtering(rule(NEXT, prefixes=(prefixes("10.0.0.0/8"),)), permit=True))
    assert "filter cs_FILTER_f_ipv4 {\n  accept;\n}\n" in text


# --- quoting


@pytest.mark.parametrize("text", ['a"', "a\n", "a\0", "\x1b[2J", "x" * 5000, "\u2028"])
def test_what_birds_quotes_cannot_hold_is_refused(text):
    with pytest.raises(ValueError, match="cannot be quoted"):
        quoted(text)


@pytest.mark.parametrize("name", ["", "a b", "a'b", "a{", "a;", "cs_" + "x" * 62, "cs_é", "a\n"])
def test_only_what_bird_takes_for_names_are_names(name):
    with pytest.raises(ValueError, match="not a name"):
        symbol(name)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (word, "accept; reject"),
        (community, "1:2;"),
        (community, "1"),
        (community, "(1,2)"),
        (mask, "* =] then accept"),
        (mask, ""),
        (call, "f"),
        (call, "f(); reject"),
        (call, "f(x)"),
        (call, 'f("x")'),
        (call, "f(1"),
        (call, "f(1)) || true || g(1)"),
        (call, "f(g())"),
        (call, "f(1,)"),
    ],
)
def test_a_text_that_is_no_leaf_of_birds_language_is_refused(read, text):
    with pytest.raises(ValueError, match=r"^(this is not|a call takes)"):
        read(text)


@pytest.mark.parametrize("value", ["text", 1.5, None, b"x", ("a",)])
def test_a_template_cannot_print_a_bare_value(value):
    with pytest.raises(TypeError, match="bare"):
        _environment().from_string("{{ value }}").render(value=value)


def test_a_template_cannot_use_an_unknown_name():
    with pytest.raises(UndefinedError):
        _environment().from_string("{{ nobody }}").render()


def test_a_description_cannot_pretend_to_be_held():
    own = peer("p", description="disabled; # held by hand")
    assert frozenset() == held_in(render(speaker(own)))


TEXT = st.text(max_size=255).filter(lambda text: text.isprintable() and '"' not in text)


@settings(deadline=None)
@given(TEXT)
def test_a_description_stays_between_its_quotes(text):
    plain = render(speaker(peer("p"))).splitlines()[2:]
    told = render(speaker(peer("p", description=text))).splitlines()[2:]
    extra = [f'  description "{text}";'] if text else []
    assert extra == [line for line in told if line not in plain]


@pytest.mark.parametrize(
    "text", ["; } protocol static x {", "# /* */", "'\\", "${x}", "{{ x }}", "é" * 255, "𐍈" * 255]
)
def test_bird_takes_strange_descriptions_as_text(text, tmp_path):
    assert (0, "") == verdict(render(speaker(peer("p", description=text))), tmp_path)


def test_a_long_string_kills_bird_and_never_gets_there(tmp_path):
    text = render(speaker(peer("p", description="x"))).replace('"x"', f'"{"x" * 5000}"')
    assert verdict(text, tmp_path)[0] < 0


# --- equal values, equal bytes


@settings(max_examples=25, deadline=None)
@given(st.permutations(sorted(KEPT.items())), st.booleans(), st.booleans())
def test_equal_values_are_equal_bytes(kept, held, whole):
    value = replace(MANY, drain=REASON) if held else MANY
    names = frozenset({"rr1-v4.old"}) if held else frozenset()
    first = render(value, names, dict(kept), whole=whole)
    assert first == render(copy.deepcopy(value), names, dict(reversed(kept)), whole=whole)
