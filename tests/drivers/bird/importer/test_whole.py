from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.importer.lexer import Unreadable
from confsync.drivers.bird.importer.whole import Read, whole
from confsync.drivers.bird.render import render
from confsync.drivers.bird.section import BgpSection

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in FOLDER.iterdir())
OURS = Path(__file__).parents[1]
BGP = BgpSection()
MAIN = "/etc/bird/bird.conf"
HEAD = "router id 192.0.2.1;\nprotocol device {}\n"
SESSION = "protocol bgp far { local as 64500; neighbor 192.0.2.2 as 64501; ipv4 { %s }; }\n"


def read(text: str, **others: str) -> Read:
    beside = {f"/etc/bird/{name}.conf": inner for name, inner in others.items()}
    return whole({MAIN: text, **beside}, MAIN)


def sound(found: Read) -> bool:
    """Tell whether the draft is a document, or it is said why none can be made of it."""
    told = any("no document can have this" in line for line in found.lost)
    return told or isinstance(BGP.parse(yaml.safe_load(found.draft)), Bgp)


def configuration(case: str) -> str:
    return (FOLDER / case / "bird.conf").read_text()


def ours() -> list[Bgp]:
    documents = [*OURS.glob("golden/*/document.yaml"), *OURS.glob("profiles/*.yaml")]
    values = [BGP.parse(yaml.safe_load(path.read_text())) for path in documents]
    return [value for value in values if isinstance(value, Bgp)]


@pytest.mark.parametrize("case", CASES)
def test_a_hand_made_file_is_read_as_written_down(case):
    found = read(configuration(case))
    assert (FOLDER / case / "draft.yaml").read_text() == found.draft
    assert yaml.safe_load((FOLDER / case / "names.yaml").read_text()) == dict(found.names)


@pytest.mark.parametrize("case", CASES)
def test_the_golden_files_are_ones_that_bird_takes(case):
    argv = ["/usr/sbin/bird", "-p", "-c", FOLDER / case / "bird.conf"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("case", CASES)
def test_a_draft_says_what_was_read(case):
    found = read(configuration(case))
    assert found.value == BGP.parse(yaml.safe_load(found.draft))


@pytest.mark.parametrize("number", range(len(ours())))
def test_what_we_write_ourselves_is_read_without_a_loss(number):
    found = read(render(ours()[number]))
    assert () == found.lost
    again = read(render(found.value, names=found.names))
    assert (found.value, ()) == (again.value, again.lost)
    assert found.names == again.names


@pytest.mark.parametrize("number", range(len(ours())))
def test_the_sessions_of_what_we_write_are_all_found(number):
    value = ours()[number]
    wanted = {
        peer.protocol(session): str(session.neighbor or session.neighbor_range)
        for peer, session in value.pairs
    }
    found = {name: far.partition("%")[0] for name, far in read(render(value)).sessions.items()}
    assert {name: far.partition("%")[0] for name, far in wanted.items()} == found


def test_a_number_beyond_what_a_document_has_is_lost():
    found = read(HEAD + SESSION % "import limit 3000000000;")
    assert any("import_limit: 3000000000 is not a whole number" in line for line in found.lost)


def test_the_largest_number_is_read():
    found = read(f"{HEAD}define X = 0x00ffffffff;\n{SESSION % 'import where bgp_med = X;'}")
    assert ["far"] == [peer.name for peer in found.value.peers]


def test_an_included_file_is_read_in_its_place():
    text = f'{HEAD}include "peers.conf";\n'
    found = read(text, peers=SESSION % "import all; export none;")
    assert ["far"] == [peer.name for peer in found.value.peers]
    assert {"far": "192.0.2.2"} == found.sessions


def test_the_file_of_a_password_is_kept_and_the_password_is_not():
    session = SESSION.replace(";", ';\ninclude "secret.conf";\n', 1) % "import all;"
    found = read(HEAD + session, secret='password "hunter2";\n')
    assert "/etc/bird/secret.conf" == found.value.peers[0].password_file
    assert () == found.lost
    assert "hunter2" not in found.draft


def test_a_password_in_the_file_is_shown_nowhere():
    found = read(
        HEAD + 'protocol bgp far { local as 1; neighbor 192.0.2.2 as 2; password "hunter2"; }'
    )
    assert any("password" in line for line in found.lost)
    assert "hunter2" not in found.draft + "".join(found.lost) + repr(found.value)


@pytest.mark.parametrize(
    ("inner", "lost"),
    [
        ("import filter { case net.len { 24: accept; else: reject; } };", "filter"),
        ("import filter { int i; i = 1; if i = 1 then accept; };", "filter"),
        ("import filter { if bgp_path ~ MISSING then accept; };", "filter"),
        ("import all; secondary;", "secondary"),
        ("import all; aigp on;", "aigp"),
    ],
)
def test_what_cannot_be_said_exactly_is_lost_and_never_said_nearly(inner, lost):
    found = read(HEAD + SESSION % inner)
    assert any(lost in line for line in found.lost), found.lost


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}protocol bgp x {{", "line 3"),
        (f"{HEAD}protocol bgp x {{ local as 1; ", "line 3"),
        (f'{HEAD}log "never ends;\n', "bird.conf:3: the text in quotes does not end"),
        (f"{HEAD}/* never ends\n", "bird.conf:3: the comment does not end"),
        (f"{HEAD}\0\n", "bird.conf:3: this character has no meaning here"),
        (f"{HEAD}£\n", "bird.conf:3: this character has no meaning here"),
        (f"{HEAD}{'{' * 100_000}", "line 3"),
        (f"{HEAD}}}\n", "line 3"),
        (f"{HEAD}define X = {'9' * 5_000};\n", "bird.conf:3: the number is out of range"),
        (f"{HEAD}define X = 4294967296;\n", "bird.conf:3: the number is out of range"),
        (f"{HEAD}define X = 0x1ffffffff;\n", "bird.conf:3: the number is out of range"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(text, said):
    with pytest.raises(Unreadable, match=said):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}{SESSION % ('import where ' + '(' * 50_000 + 'true' + ')' * 50_000 + ';')}",
        f"{HEAD}{SESSION % ('import where ' + '! ' * 50_000 + 'true;')}",
        f"{HEAD}{SESSION % ('import filter {' + 'if net.len > 1 then ' * 5_000 + 'accept; };')}",
        f"{HEAD}{'# ' + 'x' * 5_000_000}\n",
        f"{HEAD}{SESSION % 'import where net ~ [ 10.0.0.0/99 ];'}",
        f"{HEAD}{SESSION % 'import where net ~ [ 10.0.0.1/8 ];'}",
        f"{HEAD}{SESSION % 'import where net ~ [ 300.0.0.0/8 ];'}",
        "",
    ],
)
def test_what_is_strange_is_lost_or_refused_and_breaks_nothing(text):
    try:
        found = read(text)
    except Unreadable:
        return
    assert sound(found)


WORDS = st.sampled_from(
    [
        *(
            "protocol",
            "bgp",
            "static",
            "kernel",
            "filter",
            "function",
            "define",
            "template",
            "from",
        ),
        *("if", "then", "else", "accept", "reject", "net", "~", "=", "!", "&&", "||", "(", ")"),
        *(
            "{",
            "}",
            "[",
            "]",
            ";",
            ",",
            ".",
            "..",
            "ipv4",
            "ipv6",
            "import",
            "export",
            "all",
            "where",
        ),
        *(
            "neighbor",
            "local",
            "as",
            "range",
            "192.0.2.1",
            "10.0.0.0/8",
            "2001:db8::1",
            "64500",
            "x",
        ),
        *("bgp_path", "bgp_community", "add", "delete", "len", "first", "include", '"x.conf"', "+"),
        *(
            "route",
            "via",
            "table",
            "limit",
            "action",
            "password",
            '"secret"',
            "%",
            "port",
            "router id",
        ),
    ]
)


@given(st.lists(WORDS, max_size=60))
@settings(max_examples=300)
def test_any_heap_of_words_is_read_or_refused(words):
    try:
        found = read(" ".join(words))
    except Unreadable:
        return
    assert sound(found)


@given(st.sampled_from(CASES), st.data())
@settings(max_examples=300)
def test_a_real_file_with_a_piece_cut_out_is_read_or_refused(case, data):
    text = configuration(case)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    try:
        found = read(text[:begin] + text[end:])
    except Unreadable:
        return
    assert sound(found)
