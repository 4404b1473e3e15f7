"""Adopting: one record is made, and nothing else; what would be lost or reset stands against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from confsync.flow.adopt import Adopter
from confsync.model.errors import HostBusy, NotOwned, Unreachable
from confsync.model.plan import Impact
from confsync.model.section import Ownership
from tests.flow.clock import virtual
from tests.flow.toy import DRIVER, World, world

ORDER = {"driver": "box", "plan": False, "draft": False, "allow": []}


def adopter(w: World) -> Adopter:
    return Adopter(w.reconciler, w.parts, w.journal)


def foreign(w: World, **runs: str) -> None:
    """Let another hand have made what the box runs."""
    w.box.edit(**runs)
    w.box.ownership = Ownership.FOREIGN


async def adopt(w: World, **changes: Any) -> Any:
    return await adopter(w).adopt({**ORDER, **changes}, "ann", "2026-11-23T04:00:00Z")


@virtual
async def test_a_host_is_adopted_then_changed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        foreign(w, a="1")
        w.push(1, a="1", b="2")
        assert (DRIVER,) == (await w.once()).observing
        data = await adopt(w)
        assert ["~ toy.b null -> 2"] == [item["text"] for item in data["differences"]]
        assert [] == w.box.written
        record = await w.journal.adopted(DRIVER)
        assert {
            "by": "ann",
            "at": "2026-11-23T04:00:00Z",
            "driver": "box",
        }.items() <= record.items()
        found = await w.once()
        assert found.outcome is not None
        assert {"a": "1", "b": "2"} == w.box.runs


@pytest.mark.parametrize("only", [{"plan": True}, {"draft": True}])
@virtual
async def test_looking_records_nothing(tmp_path: Path, only: dict[str, bool]) -> None:
    async with world(tmp_path) as w:
        foreign(w, a="1")
        w.push(1, a="1")
        data = await adopt(w, **only)
        assert "toy:\n" == data["draft"]
        assert await w.journal.adopted(DRIVER) is None
        assert {} == w.reconciler.adopting


@virtual
async def test_what_no_document_can_say_stands_against_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        foreign(w, a="1")
        w.box.lost = ("protocol ospf v3",)
        w.push(1, a="1")
        (refusal,) = (await adopt(w))["refusals"]
        assert "protocol ospf v3" in refusal
        assert "--allow lost:box" in refusal
        assert await w.journal.adopted(DRIVER) is None
        assert [] == (await adopt(w, allow=["lost:box"]))["refusals"]
        assert await w.journal.adopted(DRIVER) is not None


@virtual
async def test_a_first_plan_that_resets_is_refused_by_name(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        foreign(w, a="1")
        w.box.impact = Impact.SESSION_RESET
        w.push(1, a="2")
        (refusal,) = (await adopt(w))["refusals"]
        assert "session reset" in refusal
        assert "--allow reset:toy.a" in refusal
        assert await w.journal.adopted(DRIVER) is None
        await adopt(w, allow=["reset:toy.a"])
        assert await w.journal.adopted(DRIVER) is not None


@virtual
async def test_what_cannot_be_adopted_says_why(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        foreign(w, a="1")
        w.push(1, a="1")
        w.box.survey_problem = "the file does not parse"
        with pytest.raises(NotOwned, match="the file does not parse"):
            await adopt(w)
        with pytest.raises(HostBusy, match="driver lvm is not enabled"):
            await adopt(w, driver="lvm")
        w.source.leave()
        w.restart()
        with pytest.raises((Unreachable, NotOwned)):
            await adopt(w)


@virtual
async def test_without_a_document_there_is_no_first_plan(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        foreign(w, a="1")
        w.push(1)
        w.source.documents.clear()
        w.source.publish(2, "common", "nodes/n1")
        with pytest.raises(NotOwned, match="no document gives toy a value"):
            await adopt(w)
