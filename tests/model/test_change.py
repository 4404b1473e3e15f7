"""The record of a change, as `push` writes it and everybody reads it."""

from __future__ import annotations

import json

import pytest

from confsync.model.change import parse_change
from confsync.model.errors import Torn
from confsync.model.ids import digest

SHA = digest(b"x")
RECORD = {
    "phase": "complete",
    "change": 401,
    "by": "lars",
    "why": "AS for bgo",
    "documents": {"desired/common/bgp": [None, SHA], "desired/roles/nat/bgp": [SHA, None]},
}


def test_a_record_says_who_and_what_each_document_was_before_and_after():
    found = parse_change(json.dumps(RECORD).encode(), "changes/401")
    assert (401, "lars", "AS for bgo") == (found.head.change, found.head.by, found.head.why)
    assert {"desired/common/bgp": (None, SHA), "desired/roles/nat/bgp": (SHA, None)} == dict(
        found.documents
    )


@pytest.mark.parametrize(
    "documents", [None, [], {"a": None}, {"a": []}, {"a": [SHA]}, {"a": [1, 2]}, {"a": [SHA] * 3}]
)
def test_what_is_no_record_is_torn(documents):
    with pytest.raises(Torn, match="changes/401: documents is not a mapping of digests"):
        parse_change(json.dumps({**RECORD, "documents": documents}).encode(), "changes/401")
