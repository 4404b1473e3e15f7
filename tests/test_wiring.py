"""Settings become ports, and each command lets go of what it took."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from confsync import wiring
from confsync.drivers.bird.driver import BirdDriver
from confsync.edge.consul import ConsulSource
from confsync.edge.directory import DirectorySource
from confsync.host.journal import SqliteJournal
from confsync.host.state import HostLock
from confsync.model.errors import AnotherAgent, BadSettings, Held
from confsync.model.ids import digest
from confsync.model.machine import State
from confsync.ports import Applied
from confsync.settings import Settings
from tests.flow.clock import now_s, virtual
from tests.flow.model_host import Silent, plan_of, target_of

BGP = {"router_id": "192.0.2.1", "local_as": 65001, "peers": {}}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "nodes" / "n1").mkdir(parents=True)
    (folder / "nodes" / "n1" / "bgp.json").write_text(json.dumps(BGP))
    return folder


def settings(tmp_path: Path, **more: object) -> Settings:
    source = {"kind": "directory", "path": str(tmp_path / "tree")}
    state_dir = tmp_path / "state"
    found = {"site": "bgo", "node": "n1", "state_dir": state_dir, "source": source, **more}
    return Settings.model_validate(found)


def test_a_level_is_asked_for_only_by_names_that_the_node_has(tmp_path: Path) -> None:
    assert {"site": "bgo", "node": "n1"} == wiring.names_of(settings(tmp_path))
    assert {"site": "bgo", "node": "n1", "role": "edge", "variant": "big"} == wiring.names_of(
        settings(tmp_path, role="edge", variant="big")
    )


def test_only_an_enabled_driver_carries_its_section(tmp_path: Path) -> None:
    assert {} == wiring.parts_of(settings(tmp_path))
    parts = wiring.parts_of(settings(tmp_path, drivers={"bird": {"enabled": True}}))
    assert {"bgp": BirdDriver} == {name: type(part.driver) for name, part in parts.items()}


def test_storage_is_planned_before_routing(tmp_path: Path) -> None:
    enabled = {"bird": {"enabled": True}, "lvm": {"enabled": True, "volume_groups": ["vg_ext"]}}
    assert ["lvm", "bgp"] == list(wiring.parts_of(settings(tmp_path, drivers=enabled)))


def test_recovery_knows_every_driver_without_settings(tmp_path: Path) -> None:
    enabled = {"bird": {"enabled": True}, "lvm": {"enabled": True}}
    parts = wiring.parts_of(settings(tmp_path, drivers=enabled)).values()
    recovery = wiring.drivers_for_recovery()
    assert {part.driver.name for part in parts} == set(recovery)
    assert all(name == driver.name for name, driver in recovery.items())
    assert {part.section.name for part in parts} == set(wiring.SECTIONS)


@pytest.mark.parametrize(
    ("source", "kind"),
    [({"kind": "directory", "path": "/tree"}, DirectorySource), ({"kind": "consul"}, ConsulSource)],
)
def test_the_source_is_the_one_that_is_named(source: object, kind: type, tmp_path: Path) -> None:
    assert kind is type(wiring.source_of(settings(tmp_path, source=source)))


def test_layers_that_lie_within_each_other_are_bad_settings(tmp_path: Path) -> None:
    nested = settings(tmp_path, hierarchy=("common", "common/{site}"))
    with pytest.raises(BadSettings, match="lies within"):
        wiring.wire(nested, wiring.Room({}, None, Silent()))  # type: ignore[arg-type]


@virtual
async def test_a_preview_waits_for_quiet_and_changes_nothing(tmp_path: Path, tree: Path) -> None:
    found = await wiring.preview(settings(tmp_path), None)
    assert 1.0 == pytest.approx(now_s())
    assert found.desired is not None
    assert ["bgp"] == list(found.desired.values)
    journal = SqliteJournal(tmp_path / "state" / "journal.db")
    assert await journal.applied() is None
    await journal.aclose()


@virtual
async def test_a_preview_of_a_tree_does_not_ask_the_source(tmp_path: Path, tree: Path) -> None:
    tree.rename(tmp_path / "proposed")
    found = await wiring.preview(settings(tmp_path), tmp_path / "proposed")
    assert found.desired is not None
    assert (None, 0.0) == (found.fault, now_s())


@virtual
async def test_one_pass_by_a_command_records_what_is_in_place(tmp_path: Path, tree: Path) -> None:
    found = await wiring.apply_once(settings(tmp_path), ())
    assert found.in_sync
    journal = SqliteJournal(tmp_path / "state" / "journal.db")
    applied = await journal.applied()
    await journal.aclose()
    assert applied is not None
    assert found.desired is not None
    assert found.desired.revision == applied.revision
    assert {} == applied.sections, "no driver here carried it"


@virtual
async def test_one_pass_is_refused_beside_an_agent_and_on_a_halted_host(
    tmp_path: Path, tree: Path
) -> None:
    chosen = settings(tmp_path)
    state_dir = wiring.private_dir(chosen.state_dir)
    with HostLock(state_dir), pytest.raises(AnotherAgent):
        await wiring.apply_once(chosen, ())
    journal, plan = SqliteJournal(state_dir / "journal.db"), plan_of(("bird",))
    txn = await journal.begin(plan, target_of(plan), {})
    await journal.enter(txn, State.HALTED, "undo failed")
    await journal.aclose()
    with pytest.raises(Held, match="undo failed"):
        await wiring.apply_once(chosen, ())


async def test_the_switches_work_without_an_agent_and_not_beside_one(tmp_path: Path) -> None:
    state_dir, revision = tmp_path / "state", digest(b"r")

    @contextlib.asynccontextmanager
    async def journal() -> AsyncIterator[SqliteJournal]:
        found = SqliteJournal(state_dir / "journal.db")
        yield found
        await found.aclose()

    async def look() -> tuple[str | None, bool, bool]:
        async with journal() as found:
            failed, applied = await found.quarantined(revision), await found.applied()
            return await found.paused(), failed is not None, applied is not None

    await wiring.hold(state_dir, "pause", reason="INC-1")
    async with journal() as found:
        await found.quarantine(revision, "x", final=True)
        await found.settle(Applied(revision, 1, {}, {}))
    assert ("INC-1", True, True) == await look()
    await wiring.hold(state_dir, "retry")
    assert ("INC-1", False, True) == await look(), "a retry is no resume"
    await wiring.hold(state_dir, "resume")
    assert (None, False, True) == await look()
    await wiring.hold(state_dir, "resume", accept=True)
    assert (None, False, False) == await look()
    with HostLock(state_dir), pytest.raises(AnotherAgent):
        await wiring.hold(state_dir, "pause", reason="INC-2")
