from __future__ import annotations

import json
from itertools import combinations

import pytest

from confsync.model.ids import Digest, NodeId, RoleId, SiteId, TxnId
from confsync.model.status import (
    TRUTH,
    AgentState,
    Circumstances,
    Condition,
    LastTransaction,
    Mark,
    SourceStatus,
    Status,
    derive,
)

TABLE = """
halted       True False fail 2
starting     True False fail 3
applying     True True  pass 0
rolled-back  True True  warn 1
rejected     True True  warn 1
stale        True True  warn 1
drifted      True True  warn 1
frozen       True True  warn 1
observing    True True  warn 1
pending      True True  pass 0
in-sync      True True  pass 0
"""
ORDER = [line.split()[0] for line in TABLE.split("\n") if line]


@pytest.mark.parametrize("row", [line for line in TABLE.split("\n") if line])
def test_the_truth_table_cell_by_cell(row):
    state, *cells = row.split()
    lamps = TRUTH[AgentState(state)]
    assert cells == [str(lamps.live), str(lamps.ready), str(lamps.health), str(int(lamps.check))]


def test_states_stand_in_order_of_precedence():
    assert ORDER == [str(state) for state in AgentState]


def test_nothing_found_is_in_sync():
    assert AgentState.IN_SYNC is derive(Circumstances())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_condition_that_holds_is_shown(count):
    for holding in combinations(ORDER[:-1], count):
        found = Circumstances(**{name.replace("-", "_"): True for name in holding})
        assert holding[0] == derive(found)


def test_the_record_is_json():
    status = Status(
        AgentState.ROLLED_BACK,
        NodeId("n"),
        SiteId("s"),
        RoleId("r"),
        "2026-11-22T10:00:00Z",
        SourceStatus("consul"),
        desired=Mark(419, Digest("a" * 64)),
        conditions=(Condition("Verified", False, "PeerDown", "2026-11-22T10:00:00Z"),),
        last_transaction=LastTransaction(
            TxnId("t1"), "rolled-back", Digest("a" * 64), "2026-11-22T10:00:00Z", 812, "rr1", ("x",)
        ),
    )
    record = json.loads(json.dumps(status.as_json()))
    assert "rolled-back" == record["state"]
    assert {"change": 419, "revision": "a" * 64} == record["desired"]
    assert record["applied"] is None
    assert "False" == record["conditions"][0]["status"]
    assert ["x"] == record["last_transaction"]["steps"]
    assert record["source"]["age_s"] is None
