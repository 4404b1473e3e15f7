"""Names, digests and paths."""

import hashlib

import pytest

from confsync.model.ids import KEY, NAME, ObjectId, canonical, digest, dotted


def test_canonical_text_is_one_text_of_a_value():
    expected = '{"a":[1,null,true],"æ":"x"}'.encode()
    assert expected == canonical({"æ": "x", "a": [1, None, True]})


def test_canonical_text_has_no_numbers_that_json_lacks():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})


def test_a_digest_is_sha_256():
    assert hashlib.sha256(b"x").hexdigest() == digest(b"x")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("peers", "rr1", "asn"), "peers.rr1.asn"),
        (("rules", 2, "prefix"), "rules[2].prefix"),
        ((0, "a"), "[0].a"),
    ],
)
def test_a_path_is_read_as_operators_write_it(path, text):
    assert text == dotted(path)


def test_an_object_is_shown_by_group_and_name():
    assert "bgp.ipv4.rr1" == str(ObjectId("session", "bgp.ipv4", "rr1"))


@pytest.mark.parametrize("key", ["a", "sites/bgo/common", "nodes/bgo-compute-03/bgp_x.y"])
def test_a_key_of_ours(key):
    assert KEY.fullmatch(key)


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/..", ".a", "A", "a b", "a\n", "a%2fb", "å", "a\0"]
)
def test_no_key_of_ours(key):
    assert not KEY.fullmatch(key)


def test_a_name_has_no_slash_and_an_end():
    assert NAME.fullmatch("a" * 63)
    assert not NAME.fullmatch("a" * 64)
    assert not NAME.fullmatch("a/b")
