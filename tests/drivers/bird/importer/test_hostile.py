"""Texts that nobody should have written: refused with their line, soon, and without a traceback."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.drivers.bird.importer.lexer import Unreadable
from tests.drivers.bird.importer.cases import FOLDER, READABLE, one

BOUND_S = 20.0  # for the largest files, on a busy machine
HEAD = "router id 192.0.2.1;\nprotocol device {}\n"
PEER = "protocol bgp a {{ local as 64500; neighbor 192.0.2.2 as 64501; ipv4 {{ {} }}; }}\n"

REFUSED = {
    "an open brace": ("protocol device {\n", 3, "does not end"),
    "a brace too many": ("}\n", 3, "closes"),
    "an open text": ('log "x;\n', 3, "quotes"),
    "an open comment": ("/* x\n", 3, "comment"),
    "an open name": ("protocol bgp 'a {}\n", 3, "name"),
    "a NUL": ("\nlog \0 all;\n", 4, "no meaning"),
    "another alphabet": ("\n\nlog é all;\n", 5, "no meaning"),
    "what is no UTF-8": (b"log \xff all;\n".decode(errors="replace"), 3, "no meaning"),
    "braces in braces": ("{" * 100_000, 3, "too deeply"),
    "brackets that open": ("define X = " + "[" * 100_000, 3, "too deeply"),
    "a template of nobody": ("protocol bgp a from b {}\n", 3, "no template"),
    "a filter of nobody": ("filter { accept; }\n", 3, "without a name"),
    "a protocol without a body": ("protocol bgp a;\n", 3, "does not end"),
    "an option that does not end": ("protocol bgp a { local as 1 }\n", 3, "does not end"),
    "a huge number": ("define X = 4294967296;", 3, "too large"),
    "a number of many digits": (f"define X = {'9' * 100_000};", 3, "too large"),
    "a huge hexadecimal number": (f"define X = 0x{'f' * 100_000};", 3, "too large"),
    "nothing but a word": ("protocol", 3, "does not end"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_text_is_refused_at_its_line(what):
    text, line, why = REFUSED[what]
    with pytest.raises(Unreadable, match=why) as refused:
        one(HEAD + text)
    assert str(line) in str(refused.value)


def test_a_file_that_draws_in_itself_is_refused():
    with pytest.raises(Unreadable, match="nested too deeply"):
        one(f'{HEAD}include "bird.conf";\n')


LOST = {
    "a division by nothing": "hold time 1 / 0;",
    "an address that is none": "source address 999.0.0.1;",
    "no value": "hold time;",
    "a half": "source address",
    "signs without end": f"hold time {'1 + ' * 100_000}1;",
    "opposites without end": f"passive {'!' * 100_000}1;",
    "members without end": f"hold time 1{'.len' * 100_000};",
}


@pytest.mark.parametrize("what", LOST)
def test_an_option_without_meaning_is_lost_and_nothing_else(what):
    began = time.monotonic()
    found = one(
        HEAD + PEER.format("import all;").replace("ipv4", f"{LOST[what].rstrip(';')}; ipv4")
    )
    assert 1 == len([line for line in found.lost if "line 3" in line]), found.lost
    assert ["a"] == [peer.name for peer in found.value.peers]
    assert time.monotonic() - began < BOUND_S


FILTERS = {
    "questions in questions": "if net.len = 1 then { " * 50 + "accept;" + " }" * 50,
    "questions without a brace": "if net.len = 1 then " * 5000 + "accept;",
    "questions that double": "if net.len = 1 then preference = 1; else bgp_med = 1; " * 500,
    "any of many": f"if {' || '.join(['net.len = 1'] * 5000)} then accept;",
    "all of many": f"if {' && '.join(['from = 1.1.1.1'] * 5000)} then accept;",
    "parentheses": f"if {'(' * 55}true{')' * 55} then accept;",
    "changes without end": "bgp_path.prepend(1); bgp_path.prepend(2); " * 5000,
}


@pytest.mark.parametrize("what", FILTERS)
def test_a_filter_without_end_stays_one_of_another_hand(what):
    began = time.monotonic()
    found = one(f"{HEAD}filter f {{ {FILTERS[what]} reject; }}\n{PEER.format('import filter f;')}")
    assert [peer.name for peer in found.value.peers] == ["a"]
    assert time.monotonic() - began < BOUND_S


LARGE = {
    "a line of 5 MB": "# " + "x" * 5_000_000,
    "a name of 5 MB": f"define {'x' * 5_000_000} = 1;",
    "a set of 5 MB": f"define X = [ {', '.join(['10.0.0.0/8'] * 400_000)} ];",
    "many empty statements": ";" * 500_000,
    "many comments": "/**/" * 1_000_000,
    "many protocols": "".join(f"protocol static s{n} {{ ipv4; }}\n" for n in range(30_000)),
    "many nameless protocols": "protocol static { ipv4; }\n" * 30_000,
}


@pytest.mark.parametrize("what", LARGE)
def test_a_large_text_is_read_in_bounded_time(what):
    began = time.monotonic()
    with contextlib.suppress(Unreadable):
        one(f"{HEAD}{LARGE[what]}\n")
    assert time.monotonic() - began < BOUND_S


WORDS = sorted(
    {
        word
        for case in READABLE
        for word in (FOLDER / case / "bird.conf").read_text().replace(";", " ; ").split()
    }
)


@given(st.lists(st.sampled_from(["{", "}", ";", "(", ")", "[", "]", *WORDS]), max_size=60))
def test_any_words_are_read_or_refused(words):
    with contextlib.suppress(Unreadable):
        one(" ".join(words))


@given(st.sampled_from(READABLE), st.integers(0, 10_000), st.sampled_from(["", "{", ";", *WORDS]))
def test_any_configuration_with_one_word_put_wrong_is_read_or_refused(case, place, word):
    words = (FOLDER / case / "bird.conf").read_text().replace(";", " ; ").split(" ")
    words[place % len(words)] = word
    with contextlib.suppress(Unreadable):
        one(" ".join(words))
