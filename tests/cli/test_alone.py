"""What commands do by themselves, where no agent runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from confsync.cli import alone, main
from confsync.host.journal import SqliteJournal
from confsync.host.state import HostLock, private_dir
from confsync.model.errors import AnotherAgent, Denied, Held, Unreachable
from confsync.model.ids import canonical, digest
from confsync.model.machine import State
from confsync.ports import Applied
from confsync.settings import Settings
from tests.flow.clock import now_s, virtual
from tests.flow.model_host import plan_of, target_of
from tests.lab import Lab
from tests.lab.calico import Calico
from tests.lab.consul import ConsulServer
from tests.lab.site import PREFIX
from tests.test_wiring import settings

BGP = {"router_id": "192.0.2.1", "local_as": 65001, "peers": {}}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "nodes" / "n1").mkdir(parents=True)
    (folder / "nodes" / "n1" / "bgp.json").write_text(json.dumps(BGP))
    return folder


@virtual
async def test_a_preview_waits_for_quiet_and_changes_nothing(tmp_path: Path, tree: Path) -> None:
    found = await alone.preview(settings(tmp_path), None)
    assert 1.0 == pytest.approx(now_s())
    assert found.desired is not None
    assert ["bgp"] == list(found.desired.values)
    journal = SqliteJournal(tmp_path / "state" / "journal.db")
    assert await journal.applied() is None
    await journal.aclose()


@virtual
async def test_a_preview_of_a_tree_does_not_ask_the_source(tmp_path: Path, tree: Path) -> None:
    tree.rename(tmp_path / "proposed")
    found = await alone.preview(settings(tmp_path), tmp_path / "proposed")
    assert found.desired is not None
    assert (None, 0.0) == (found.fault, now_s())


@virtual
async def test_one_pass_by_a_command_records_what_is_in_place(tmp_path: Path, tree: Path) -> None:
    found = await alone.apply_once(settings(tmp_path), ())
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
    state_dir = private_dir(chosen.state_dir)
    with HostLock(state_dir), pytest.raises(AnotherAgent):
        await alone.apply_once(chosen, ())
    journal, plan = SqliteJournal(state_dir / "journal.db"), plan_of(("bird",))
    txn = await journal.begin(plan, target_of(plan), {})
    await journal.enter(txn, State.HALTED, "undo failed")
    await journal.aclose()
    with pytest.raises(Held, match="undo failed"):
        await alone.apply_once(chosen, ())


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

    await alone.hold(state_dir, "pause", reason="INC-1")
    async with journal() as found:
        await found.quarantine(revision, "x", final=True)
        await found.settle(Applied(revision, 1, {}, {}))
    assert ("INC-1", True, True) == await look()
    await alone.hold(state_dir, "retry")
    assert ("INC-1", False, True) == await look(), "a retry is no resume"
    await alone.hold(state_dir, "resume")
    assert (None, False, True) == await look()
    await alone.hold(state_dir, "resume", accept=True)
    assert (None, False, False) == await look()
    with HostLock(state_dir), pytest.raises(AnotherAgent):
        await alone.hold(state_dir, "pause", reason="INC-2")


NETS = {"globalnetworksets": {"lan": {"nets": ["10.0.0.0/8"]}}}


@pytest.fixture
def calico(tmp_path: Path) -> Calico:
    return Calico(tmp_path / "calico")


def acting(tmp_path: Path, calico: Calico, url: str, **consul: str) -> Settings:
    """Return the settings of a host that may act for its site."""
    driver = {"enabled": True, "calicoctl": str(calico.program), "config_file": ""}
    source = {"kind": "consul", "quiet_min_s": 0.1, "quiet_max_s": 1}
    source["consul"] = {"address": url, **consul}
    return settings(tmp_path, source=source, drivers={"calico": driver})


def contents(server: ConsulServer) -> dict[str, object]:
    return {key: server.kv.get(key) for key in server.kv.keys(PREFIX)}


@pytest.mark.root
async def test_the_plan_of_a_site_is_by_what_its_journal_says(
    tmp_path: Path, calico: Calico, consul_server: ConsulServer
) -> None:
    chosen = acting(tmp_path, calico, consul_server.url)
    consul_server.kv.put(f"{PREFIX}/desired/common/calico", json.dumps(NETS))
    before = contents(consul_server)
    found = await alone.preview_site(chosen, None)
    assert found is not None
    assert found.plan is not None
    assert ["calico"] == [step.driver for step in found.plan.steps]
    assert found.applied is None
    assert before == contents(consul_server), "neither lease nor journal was written"
    assert [] == calico.writes
    item = {"kind": "GlobalNetworkSet", "metadata": {"name": "lan"}, "spec": {"nets": []}}
    calico.put(item)
    found = await alone.preview_site(chosen, None)
    assert found is not None
    foreign = [f"{one.rule}:{one.place}" for one in found.refusals]
    assert [True] == [one.startswith("foreign:") for one in foreign]
    allowed = await alone.preview_site(chosen, None, foreign)
    assert allowed is not None
    assert () == allowed.refusals
    row = asdict(Applied(digest(b"r"), 7, {"calico": canonical(NETS).decode()}, {"calico": NETS}))
    seal = {"digest": digest(canonical(row)), "row": row}
    consul_server.kv.put(f"{PREFIX}/site/journal/applied", canonical(seal))
    found = await alone.preview_site(chosen, None)
    assert found is not None
    assert found.applied is not None
    assert (7, ()) == (found.applied.change, found.refusals), "it is ours by the journal"


@pytest.mark.root
async def test_the_plan_of_a_site_is_also_of_a_tree(
    tmp_path: Path, calico: Calico, consul_server: ConsulServer
) -> None:
    chosen = acting(tmp_path, calico, consul_server.url)
    (tmp_path / "tree" / "sites" / "bgo" / "common").mkdir(parents=True)
    (tmp_path / "tree" / "sites" / "bgo" / "common" / "calico.json").write_text(json.dumps(NETS))
    found = await alone.preview_site(chosen, tmp_path / "tree")
    assert found is not None
    assert found.plan is not None
    assert 1 == len(found.plan.steps)


@pytest.mark.root
async def test_no_plan_of_a_site_is_made_without_its_journal(
    tmp_path: Path, calico: Calico, tree: Path, consul_server: ConsulServer
) -> None:
    assert await alone.preview_site(settings(tmp_path), None) is None
    chosen = acting(tmp_path, calico, consul_server.url)
    consul_server.kv.put(f"{PREFIX}/site/journal/applied", "not what was written")
    found = await alone.preview_site(chosen, tree)
    assert found is not None
    assert (None, True) == (found.plan, "site/journal/applied" in str(found.failure))
    found = await alone.preview_site(acting(tmp_path, calico, "http://127.0.0.1:9"), tree)
    assert found is not None
    assert (None, True) == (found.plan, isinstance(found.fault, Unreachable))


@pytest.mark.root
async def test_a_journal_that_may_not_be_read_is_not_taken_for_empty(
    tmp_path: Path, calico: Calico, tree: Path, lab: Lab
) -> None:
    server, token = lab.consul(acl=True), tmp_path / "token"
    rules = f'key_prefix "{PREFIX}/desired/" {{ policy = "list" }}'
    token.write_text(server.kv.new_token("agent", rules))
    chosen = acting(tmp_path, calico, server.url, token_file=str(token))
    found = await alone.preview_site(chosen, tree)
    assert found is not None
    assert (None, True) == (found.plan, isinstance(found.fault, Denied))


@pytest.mark.root
async def test_a_host_that_may_act_for_its_site_is_told_both_plans(
    tmp_path: Path,
    calico: Calico,
    consul_server: ConsulServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f"""site = "bgo"
node = "n1"
state_dir = "{tmp_path}/state"
[source]
kind = "consul"
consul.address = "{consul_server.url}"
[drivers.calico]
enabled = true
calicoctl = "{calico.program}"
config_file = ""
"""
    )
    consul_server.kv.put(f"{PREFIX}/desired/common/calico", json.dumps(NETS))

    async def told(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["plan", *words, "--config", str(config)])
        return code, capsys.readouterr().out

    code, text = await told()
    assert (2, True) == (code, text.startswith("No changes.\nsite bgo:\n+ calico.")), text
    code, text = await told("--json")
    data = json.loads(text)["data"]
    assert (2, 0, 1) == (code, len(data["steps"]), len(data["site"]["steps"]))
    config.write_text(config.read_text().replace("enabled = true", "enabled = false"))
    code, text = await told("--json")
    assert (0, False) == (code, "site" in json.loads(text)["data"])
