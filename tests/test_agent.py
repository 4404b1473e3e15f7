"""The agent's loops and its port, in virtual time, over a toy host and a scripted source."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from confsync import agent as agent_module
from confsync.agent import Agent
from confsync.flow.transact import Room
from confsync.host.systemd import Notifier
from confsync.model import limits
from confsync.model.errors import BadSettings, Held, HostRefused, JournalLost, PlanRefused
from confsync.model.machine import State
from confsync.model.section import Observed, Ownership
from confsync.model.snapshot import Snapshot
from confsync.model.status import AgentState
from confsync.ports import Judgement, Verdict
from confsync.settings import load
from confsync.wiring import Wired
from tests.flow.clock import now_s, virtual
from tests.flow.toy import DRIVER, WAIT, World, world

OK = Judgement(Verdict.OK)


class Manager(Notifier):
    """A service manager that remembers what it heard, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[float, dict[str, Any]]] = []

    def send(self, **fields: Any) -> None:
        self.heard.append((now_s(), fields))

    def times(self, field: str) -> list[float]:
        return [at for at, fields in self.heard if field in fields]


class ToyAgent(Agent):
    """The agent, wired to a world."""

    def __init__(self, w: World, config: Path, halted: str) -> None:
        self.world = w
        self.manager = Manager()
        super().__init__(config, load(config, {}), w.journal, self.manager, halted)

    def _wire(self) -> Wired:
        w = self.world
        w.room = Room({DRIVER: w.box}, w.journal, w.reporter, self._beat, self._stopping)
        w.restart()
        return Wired(w.source, w.parts, w.reconciler, w.room, w.explainer)

    @property
    def state(self) -> AgentState:
        return self.status().state

    async def until(self, state: AgentState, within_s: float = 600.0) -> None:
        async with asyncio.timeout(within_s):
            while self.state is not state:
                await asyncio.sleep(0.1)


class Place:
    """The folder of an agent, its world, and the agent in it."""

    def __init__(self, w: World, folder: Path) -> None:
        self.world = w
        self.config = folder / "agent.toml"
        self.socket = folder / "s"
        self.write()

    def write(self, **more: str) -> None:
        """Write the settings; `more` are TOML values of the top level."""
        top = {"site": '"bgo"', "node": '"n1"', "state_dir": f'"{self.config.parent}"', **more}
        lines = [f"{name} = {value}" for name, value in top.items()]
        http = f'[http]\nlisten = ""\nsocket = "{self.socket}"\n'
        self.config.write_text("\n".join(lines) + f'\n{http}[log]\nlevel = "error"\n')

    @contextlib.asynccontextmanager
    async def serving(self, halted: str = "") -> AsyncIterator[ToyAgent]:
        made = ToyAgent(self.world, self.config, halted)
        task = asyncio.ensure_future(made.serve())
        try:
            yield made
        finally:
            made._stop()
            await task


@contextlib.asynccontextmanager
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    clock = SimpleNamespace(monotonic=asyncio.get_running_loop().time)
    monkeypatch.setattr(agent_module, "time", clock)
    async with world(tmp_path) as w:
        yield Place(w, tmp_path)


# --- ready, and alive


@virtual
async def test_it_is_ready_at_once_where_the_host_is_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            await asyncio.sleep(1)
            assert 1 == len(agent.manager.times("READY"))
        assert {"a": "1"} == p.world.box.disk
        assert p.world.source.closed
        assert p.world.box.closed
        assert 1 == len(agent.manager.times("STOPPING"))


@virtual
async def test_a_value_is_explained_with_the_age_of_the_look_at_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            young = (await agent.explain("toy.a", ""))["live"]
            assert ("1", "") == (young["value"], young["problem"])
            await agent.pause("ann", "INC-1")  # shows the newest pass once more: no look
            await asyncio.sleep(limits.RETRY_S / 2)
            old = (await agent.explain("toy.a", ""))["live"]
            assert young["age_s"] <= old["age_s"] <= limits.RETRY_S


@virtual
async def test_without_a_known_state_it_is_ready_only_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.source.leave()
        async with p.serving() as agent:
            await asyncio.sleep(3 * limits.READY_GRACE_S)
            (ready,) = agent.manager.times("READY")
            assert AgentState.STARTING is agent.state
        assert limits.READY_GRACE_S < ready < limits.READY_GRACE_S + 2 * limits.RETRY_S


@virtual
async def test_a_cold_start_without_the_source_is_ready_by_what_it_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        p.world.source.leave()
        async with p.serving() as agent:
            await asyncio.sleep(1)
            (ready,) = agent.manager.times("READY")
            assert ready < 1
            assert {"a": "1"} == p.world.box.runs
            assert AgentState.IN_SYNC is agent.state
            await agent.until(AgentState.STALE, within_s=limits.STALE_AFTER_S + 91)
            p.world.source.come_back()
            await agent.until(AgentState.IN_SYNC, within_s=1)
            p.world.source.leave()
            await asyncio.sleep(limits.STALE_AFTER_S - 10)
            assert AgentState.IN_SYNC is agent.state
            await agent.until(AgentState.STALE, within_s=91)


@virtual
async def test_the_watchdog_is_fed_through_a_long_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            for _ in range(60):
                await asyncio.sleep(10)
                assert agent.live() is None
            fed = agent.manager.times("WATCHDOG")
    assert max(after - before for before, after in itertools.pairwise(fed)) <= 10.0
    assert 500 < fed[-1]


@virtual
async def test_its_first_answer_knows_what_an_earlier_agent_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        release = asyncio.Event()
        observe = p.world.box.observe

        async def slow(adopted: Any = None) -> Observed:
            await release.wait()
            return await observe(adopted)

        monkeypatch.setattr(p.world.box, "observe", slow)
        async with p.serving() as agent:
            await asyncio.sleep(1)
            assert AgentState.STARTING is agent.state
            last = agent.status().last_transaction
            assert last
            assert "committed" == last.outcome
            release.set()


@virtual
async def test_a_pass_that_hangs_is_late_and_the_watchdog_goes_hungry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        release = asyncio.Event()

        async def hang(layers: object) -> Snapshot:
            await release.wait()
            raise AssertionError

        monkeypatch.setattr(p.world.source, "snapshot", hang)
        agent = ToyAgent(p.world, p.config, "")
        task = asyncio.ensure_future(agent.serve())
        await asyncio.sleep(120)
        assert "reconcile" in str(agent.live())
        assert agent.manager.times("WATCHDOG")[-1] <= limits.WATCHDOG_S
        release.set()
        with pytest.raises(ExceptionGroup):
            await task


# --- passes


@virtual
async def test_a_change_is_applied_at_its_wake_and_the_host_seen_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await asyncio.sleep(50)
            p.world.push(2, a="2")
            await asyncio.sleep(1)
            assert {"a": "2"} == p.world.box.disk
            p.world.box.calls.clear()
            await asyncio.sleep(limits.RETRY_S)
            assert ["observe"] == p.world.box.calls
            assert AgentState.IN_SYNC is agent.state


@virtual
async def test_drift_is_found_without_a_wake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            await asyncio.sleep(20)
            p.world.box.edit(a="hand")
            await agent.until(AgentState.DRIFTED, within_s=91)
            assert {"a": "hand"} == p.world.box.runs


@virtual
async def test_a_daemon_that_is_down_is_shown_and_looked_for_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            await asyncio.sleep(20)
            p.world.box.ownership, p.world.box.problem = Ownership.ABSENT, "nobody answers"
            await agent.until(AgentState.DRIFTED, within_s=91)
            assert "nobody answers" in agent.status().reason
            p.world.box.ownership = Ownership.OWNED
            await agent.until(AgentState.IN_SYNC, within_s=limits.RETRY_S + 1)


@virtual
async def test_an_open_transaction_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        p.world.box.verdicts = [*[WAIT] * 8, OK]
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            p.world.push(2, a="2")
            await agent.until(AgentState.APPLYING, within_s=1)
            await agent.until(AgentState.IN_SYNC, within_s=3)


@virtual
async def test_left_overs_are_removed_before_the_first_pass_and_not_while_halted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
        assert "heal" == p.world.box.calls[0]
        p.world.box.calls.clear()
        async with p.serving(halted="undo failed"):
            await asyncio.sleep(100)
        assert {"observe"} == set(p.world.box.calls)


@virtual
async def test_a_programmers_error_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        p.world.box.faults["observe"] = [KeyError("oops")]
        with pytest.raises(ExceptionGroup):
            async with p.serving():
                await asyncio.sleep(10)


# --- the port


@virtual
async def test_pause_stops_writing_and_resume_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            said = await agent.pause("ann", "INC-4711")
            assert ("frozen", "paused: INC-4711 (by ann)", "ann") == (
                said["state"],
                said["reason"],
                said["by"],
            )
            p.world.push(2, a="2")
            await asyncio.sleep(200)
            assert {"a": "1"} == p.world.box.runs
            await agent.resume("ann", accept=False)
            await agent.until(AgentState.IN_SYNC, within_s=1)
            assert {"a": "2"} == p.world.box.runs


@virtual
async def test_retry_lifts_the_quarantine_and_tries_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        p.world.box.faults["check"] = [HostRefused("line 3")]
        async with p.serving() as agent:
            await agent.until(AgentState.REJECTED)
            await asyncio.sleep(200)
            assert [] == p.world.box.written
            await agent.retry("ann")
            await agent.until(AgentState.IN_SYNC, within_s=1)


@virtual
async def test_apply_says_what_stands_against_it_and_takes_allowances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        p.world.box.edit(a="hand")
        async with p.serving() as agent:
            await agent.until(AgentState.DRIFTED)
            with pytest.raises(PlanRefused, match="--allow drift:box"):
                await agent.apply("ann", ())
            assert {"a": "hand"} == p.world.box.runs
            said = await agent.apply("ann", ("drift:box",))
            assert "in-sync" == said["state"]
            assert {"a": "1"} == p.world.box.runs


@virtual
async def test_a_halted_host_is_shown_and_not_written_to_until_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving(halted="undo failed") as agent:
            await asyncio.sleep(100)
            assert (AgentState.HALTED, "undo failed") == (agent.state, agent.status().reason)
            assert [] == p.world.box.written
            with pytest.raises(Held, match="undo failed"):
                await agent.apply("ann", ("drift:box",))
            await agent.resume("ann", accept=False)
            await agent.until(AgentState.IN_SYNC, within_s=1)


@virtual
async def test_a_transaction_that_halts_stops_all_further_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        p.world.box.verdicts = [Judgement(Verdict.FAILED, "down")]
        p.world.box.faults["undo"] = [OSError("gone")]
        async with p.serving() as agent:
            await agent.until(AgentState.HALTED)
            p.world.push(2, a="2")
            await asyncio.sleep(100)
            assert "down; the way back failed: gone" == agent.status().reason
            assert ["apply", "undo"] == p.world.box.written


# --- what a request meets ends the process like what a loop meets


@pytest.mark.parametrize("fault", [JournalLost("fsync"), KeyError("oops")])
@virtual
async def test_what_must_end_the_process_ends_it_though_a_request_met_it(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        p.world.box.edit(a="hand")
        agent = ToyAgent(p.world, p.config, "")
        task = asyncio.ensure_future(agent.serve())
        await agent.until(AgentState.DRIFTED)
        await asyncio.sleep(20)

        faults, paused = [fault], p.world.journal.paused

        async def fail_once() -> str | None:
            if faults:
                raise faults.pop()
            return await paused()

        monkeypatch.setattr(p.world.journal, "paused", fail_once)
        with pytest.raises(type(fault)):
            await agent.apply("ann", ("drift:box",))
        async with asyncio.timeout(1):
            with pytest.raises(ExceptionGroup) as caught:
                await task
    assert caught.group_contains(type(fault))
    assert [] == p.world.box.written


@virtual
async def test_an_end_waits_for_the_transaction_that_a_request_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        p.world.box.edit(a="hand")
        async with p.serving() as agent:
            await agent.until(AgentState.DRIFTED)
            p.world.box.verdicts = [WAIT]
            p.world.box.hook = lambda verb: closed_at.append((verb, p.world.box.closed))
            closed_at: list[tuple[str, bool]] = []
            asking = asyncio.ensure_future(agent.apply("ann", ("drift:box",)))
            await agent.until(AgentState.APPLYING, within_s=1)
            agent._stop()
        assert ("undo", False) in closed_at
        assert "rolled-back" == (await asking)["state"]
        last = await p.world.journal.last()
        assert last is not None
        assert State.ROLLED_BACK is last.state
        assert {"a": "hand"} == p.world.box.runs
        with pytest.raises(Held, match="ending"):
            await agent.apply("ann", ())


# --- reload


@virtual
async def test_a_reload_waits_until_a_pass_with_the_new_settings_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            await asyncio.sleep(20)
            p.write(role='"edge"')
            before = len(agent.manager.times("READY"))
            p.world.box.calls.clear()
            said = await agent.reload("ann", wait=True)
            assert ("ann", "edge") == (said["by"], agent.status().role)
            assert ["heal", "observe", "observe"] == p.world.box.calls
            await asyncio.sleep(1)
            assert before + 1 == len(agent.manager.times("READY"))
            assert 1 == len(agent.manager.times("RELOADING"))


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"node": '"n2"'}, "node: a change of this needs a restart"),
        ({"state_dir": '"/elsewhere"'}, "state_dir: a change"),
        ({"loop": '"asyncio"'}, "loop: a change"),
        ({"site": "7"}, "site"),
        ({"hierarchy": '["common", "common/{site}"]'}, "lies within common"),
    ],
)
@virtual
async def test_settings_that_are_refused_change_nothing(
    changed: dict[str, str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        async with p.serving() as agent:
            await agent.until(AgentState.IN_SYNC)
            running = agent._settings
            p.write(**changed)
            with pytest.raises(BadSettings, match=complaint):
                await agent.reload("ann", wait=True)
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(10)
            assert running is agent._settings
            assert AgentState.IN_SYNC is agent.state
            said = [fields for _, fields in agent.manager.heard if "STATUS" not in fields]
            reloads = [field for one in said for field in one if field == "RELOADING"]
            assert 2 == len(reloads)
            assert 3 == len(agent.manager.times("READY")), "systemd is told that it is over"


@virtual
async def test_a_reload_waits_for_the_transaction_that_a_request_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, monkeypatch) as p:
        await p.world.settled(a="1")
        p.world.box.edit(a="hand")
        async with p.serving() as agent:
            await agent.until(AgentState.DRIFTED)
            p.world.box.calls.clear()
            p.world.box.verdicts = [*[WAIT] * 8, OK]
            asking = asyncio.ensure_future(agent.apply("ann", ("drift:box",)))
            await agent.until(AgentState.APPLYING, within_s=1)
            await agent.reload("bob", wait=True)
            assert "in-sync" == (await asking)["state"]
        calls = p.world.box.calls
        assert calls.index("heal") > calls.index("commit")


@virtual
async def test_sigterm_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place(tmp_path, monkeypatch) as p:
        p.world.push(1, a="1")
        agent = ToyAgent(p.world, p.config, "")
        task = asyncio.ensure_future(agent.serve())
        await agent.until(AgentState.IN_SYNC)
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(1):
            await task
    assert p.world.source.closed
