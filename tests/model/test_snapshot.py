"""Snapshots: what may be believed, and that nothing is concluded from absence."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.model.errors import Torn
from confsync.model.ids import digest
from confsync.model.snapshot import (
    Head,
    Layer,
    Manifest,
    Phase,
    QuietPeriod,
    Snapshot,
    Standing,
    content_digest,
    judge,
    parse_head,
    parse_manifest,
)

DIGEST = digest(b"x")


def layer(path, change=None, said=None, **documents):
    """Make a layer; with a change its manifest says what it holds, or what `said` holds."""
    raw = {name: text.encode() for name, text in documents.items()}
    listed = raw if said is None else {name: text.encode() for name, text in said.items()}
    manifest = None
    if change is not None:
        manifest = Manifest(change, {name: digest(text) for name, text in listed.items()})
    return Layer(path, raw, manifest)


def complete(change, *layers):
    return Snapshot(layers, Head(Phase.COMPLETE, change))


def plain(*layers):
    return Snapshot(layers)


# --- what is written


def test_a_head_is_read_back_as_written():
    head = Head(
        Phase.COMPLETE, 419, "maria", "2026-11-22T10:00:00Z", "cli", "rr3", "3fa9c1e", ("a:b",)
    )
    assert head == parse_head(json.dumps(head.as_json()).encode())


def test_a_manifest_is_read_back_as_written():
    manifest = Manifest(419, {"bgp": DIGEST, "bgp/peers/rr3": DIGEST})
    assert manifest == parse_manifest(json.dumps(manifest.as_json()).encode(), "manifest/common")


def test_fields_of_a_newer_confsync_are_let_pass():
    raw = b'{"phase": "publishing", "change": 1, "serial": 7, "signature": {"x": 1}}'
    assert Head(Phase.PUBLISHING, 1) == parse_head(raw)
    assert Manifest(1, {}) == parse_manifest(b'{"change":1,"documents":{},"new":[]}', "m")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"phase": "complete"}',
        b'{"change": 1}',
        b'{"phase": "edited", "change": 1}',
        b'{"phase": ["complete"], "change": 1}',
        b'{"phase": "complete", "change": "1"}',
        b'{"phase": "complete", "change": true}',
        b'{"phase": "complete", "change": 1.0}',
        b'{"phase": "complete", "change": -1}',
        b'{"phase": "complete", "change": 1, "by": 7}',
        b'{"phase": "complete", "change": 1, "allow": "a:b"}',
        b'{"phase": "complete", "change": 1, "allow": [1]}',
    ],
)
def test_what_is_no_head_is_torn_and_named(raw):
    with pytest.raises(Torn, match=r"^mirror"):
        parse_head(raw, "mirror")


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"[]",
        b'{"change": 1}',
        b'{"change": 1, "documents": []}',
        b'{"documents": {}}',
        b'{"change": 1, "documents": {"bgp": "abc"}}',
        b'{"change": 1, "documents": {"bgp": 1}}',
    ],
)
def test_what_is_no_manifest_is_torn_and_named(raw):
    with pytest.raises(Torn, match=r"^manifest/common"):
        parse_manifest(raw, "manifest/common")


# --- what a reading is worth


def test_a_head_that_is_complete_and_matches_is_believed_at_once():
    reading = judge(complete(5, layer("a", 5, bgp="x"), layer("b", 3, lvm="y"), layer("c")), None)
    assert Standing.COMPLETE is reading.standing
    assert not reading.unrecorded


def test_a_half_written_tree_is_not_believed():
    snapshot = replace(complete(5, layer("a", 5, bgp="x")), head=Head(Phase.PUBLISHING, 6))
    assert Standing.PUBLISHING is judge(snapshot, None).standing


@pytest.mark.parametrize(
    "edited",
    [
        layer("b", 5, said={"bgp": "x"}, bgp="y"),
        layer("b", 5, said={"bgp": "x"}, bgp="x", lvm="new"),
        layer("b", 5, said={"bgp": "x", "lvm": "gone"}, bgp="x"),
        layer("b", 5, said={"bgp": "x"}, lvm="x"),
        layer("b", bgp="x"),
    ],
)
def test_a_layer_that_differs_from_its_manifest_was_edited(edited):
    reading = judge(complete(5, layer("a", 5, bgp="x"), edited), None)
    assert (Standing.EDITED, ("b",), True) == (
        reading.standing,
        reading.edited,
        reading.unrecorded,
    )


def test_without_a_head_there_are_plain_writes_only():
    assert Standing.EDITED is judge(plain(layer("a", bgp="x")), None).standing


def test_a_manifest_ahead_of_its_head_is_not_complete():
    assert Standing.EDITED is judge(complete(5, layer("a", 6, bgp="x")), None).standing


# --- absence

GOOD = complete(5, layer("a", 5, bgp="x", lvm="y"), layer("b", 4, felix="z"))


def missing(snapshot, good=GOOD):
    return judge(snapshot, good).missing


def test_the_same_again_misses_nothing():
    assert () == missing(GOOD)


def test_a_newer_head_may_say_that_a_document_is_gone():
    assert () == missing(complete(6, layer("a", 6, bgp="x"), layer("b", 6)))


def test_an_empty_prefix_is_missing_key_by_key():
    expected = (
        "head",
        "manifest/a",
        "desired/a/bgp",
        "desired/a/lvm",
        "manifest/b",
        "desired/b/felix",
    )
    assert expected == missing(plain(layer("a"), layer("b")))


def test_a_deleted_document_is_missing():
    edited = complete(5, layer("a", 5, said={"bgp": "x", "lvm": "y"}, bgp="x"), GOOD.layers[1])
    assert ("desired/a/lvm",) == missing(edited)


def test_a_newer_head_beside_an_edit_accounts_for_nothing():
    edited = layer("a", 6, said={"bgp": "x", "lvm": "y"}, bgp="x")
    assert ("desired/a/lvm",) == missing(complete(6, edited, layer("b", 4, felix="z")))


def test_a_filtered_layer_is_missing_even_under_a_newer_head():
    assert ("manifest/b", "desired/b/felix") == missing(
        complete(6, layer("a", 6, bgp="x", lvm="y"), layer("b"))
    )


def test_the_same_change_accounts_for_nothing():
    good = complete(5, layer("a", 5, said={"bgp": "x"}, bgp="x", lvm="unrecorded"))
    assert ("desired/a/lvm",) == missing(complete(5, layer("a", 5, bgp="x")), good)


def test_the_first_head_may_say_that_a_plain_document_is_gone():
    good = plain(layer("a", bgp="x", lvm="y"))
    assert () == missing(complete(1, layer("a", 1, bgp="x")), good)


def test_layers_that_do_not_concern_the_node_any_more_are_not_missed():
    assert () == missing(complete(6, layer("a", 6, bgp="x")))


def test_nothing_is_missed_in_a_half_written_tree():
    half = replace(plain(layer("a"), layer("b")), head=Head(Phase.PUBLISHING, 6))
    assert (Standing.PUBLISHING, ()) == (judge(half, GOOD).standing, missing(half))


def test_a_restored_backup_goes_back_and_accounts_for_nothing():
    reading = judge(complete(4, layer("a", 4, bgp="x"), layer("b", 4, felix="z")), GOOD)
    assert ("head", "manifest/a") == reading.lower
    assert ("desired/a/lvm",) == reading.missing
    assert () == judge(GOOD, GOOD).lower


NAMES = st.sampled_from(("bgp", "lvm", "felix"))


@st.composite
def snapshots(draw):
    layers = []
    for path in ("a", "b"):
        documents = draw(st.dictionaries(NAMES, st.sampled_from("xy"), max_size=3))
        said = draw(st.none() | st.just(documents) | st.dictionaries(NAMES, st.just("x")))
        change = draw(st.integers(0, 3)) if said is not None else None
        layers.append(layer(path, change, said, **documents))
    heads = st.builds(Head, st.sampled_from(Phase), st.integers(0, 3))
    return Snapshot(tuple(layers), draw(st.none() | heads))


@given(snapshots(), snapshots())
def test_a_document_goes_only_by_a_newer_head_and_a_manifest_without_it(good, snapshot):
    reading = judge(snapshot, good)
    if reading.standing is Standing.PUBLISHING:
        return
    for had, has in zip(good.layers, snapshot.layers, strict=True):
        for name in set(had.documents) - set(has.documents):
            if f"desired/{has.path}/{name}" not in reading.missing:
                assert Standing.COMPLETE is reading.standing
                assert name not in has.manifest.documents
                assert good.head is None or snapshot.head.change > good.head.change


# --- content and quiet


def test_content_is_the_documents_and_nothing_else():
    bare = plain(layer("a", bgp="x"))
    assert content_digest(bare) == content_digest(complete(5, layer("a", 5, bgp="x")))
    others = [
        plain(layer("a", bgp="y")),
        plain(layer("b", bgp="x")),
        plain(layer("a", lvm="x")),
        plain(layer("a", bgp="x"), layer("b")),
    ]
    assert content_digest(bare) not in map(content_digest, others)


QUIET = QuietPeriod(min_s=1.0, max_s=10.0)


def bursts(*looks, acted="old"):
    """Return when to act after each look, given as (time, content)."""
    burst, due = None, []
    for now_s, content in looks:
        burst = QUIET.see(burst, content, acted, now_s)
        due.append(QUIET.due_s(burst) if burst else None)
    return due


def test_one_edit_waits_for_silence():
    assert [101.0, 101.0] == bursts((100.0, "new"), (100.5, "new"))


def test_each_edit_prolongs_the_silence():
    assert [101.0, 101.5, 102.4] == bursts((100.0, "a"), (100.5, "b"), (101.4, "c"))


def test_no_edit_waits_longer_than_the_maximum():
    looks = [(100.0 + 0.9 * i, f"v{i}") for i in range(20)]
    assert 110.0 == max(bursts(*looks))


def test_a_change_that_was_taken_back_is_none():
    assert [101.0, None] == bursts((100.0, "new"), (100.5, "old"))


def test_a_new_burst_begins_after_one_was_taken_back():
    assert [101.0, None, 109.0] == bursts((100.0, "a"), (100.5, "old"), (108.0, "a"))


def test_nothing_acted_upon_yet_waits_too():
    assert [101.0] == bursts((100.0, "a"), acted=None)
