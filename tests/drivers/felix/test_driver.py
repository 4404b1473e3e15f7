"""The driver with a Felix that runs: one file, one restart, and back with both."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from confsync.drivers.felix.driver import FelixDriver, FelixSettings
from confsync.drivers.felix.health import FelixProbe, readiness
from confsync.drivers.felix.section import FelixSection
from confsync.drivers.felix.shapes import Felix as Wanted
from confsync.drivers.felix.step import change_of
from confsync.flow.recover import recover
from confsync.flow.transact import Outcome, Room, transact
from confsync.model import limits
from confsync.model.errors import HostBusy, RollbackFailed
from confsync.model.ids import digest
from confsync.model.machine import State
from confsync.model.plan import Plan, Step
from confsync.model.section import Ownership
from confsync.ports import Position, Verdict
from tests.flow.model_host import Silent, process, target_of
from tests.lab.calico import Felix
from tests.lab.calico.manager import Units
from tests.lab.calico.units import Service
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

SECTION = FelixSection()
UNIT = "calico-felix.service"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Host:
    """A Felix under a supervisor, on a file made by hand, and the driver for it."""

    def __init__(self, folder: Path, etcd: int) -> None:
        self.port = free_port()
        self.felix = Felix(folder / "felix", retry_s=0.05)
        self.wanted: dict[str, Any] = {
            "DatastoreType": "etcdv3",
            "EtcdEndpoints": f"http://127.0.0.1:{etcd}",
            "HealthEnabled": True,
            "HealthHost": "127.0.0.1",
            "HealthPort": self.port,
        }
        lines = (f"{name} = {value}" for name, value in self.wanted.items())
        self.felix.config.write_text("[global]\n" + "\n".join(lines) + "\n")
        self.felix.config.chmod(0o640)
        self.units = Units(folder / "units")
        self.service: Service = self.units.add(UNIT, self.felix.argv)
        self.ctl("start")
        self.journal = folder / "journal"
        self.driver = FelixDriver(
            FelixSettings(
                enabled=True,
                calico_version="3.26",
                config_file=str(self.felix.config),
                service=UNIT,
                health_url=f"http://127.0.0.1:{self.port}/readiness",
                systemctl=str(self.units.program),
            )
        )
        self.adopted: dict[str, Any] = {}

    def ctl(self, verb: str, unit: str = UNIT) -> None:
        """Do with a service what an operator does."""
        subprocess.run([self.units.program, verb, unit], check=True, timeout=20)

    async def ready(self) -> Host:
        """Wait until Felix is ready, and take its file over as it is."""
        url = f"http://127.0.0.1:{self.port}/readiness"
        async with asyncio.timeout(10):
            while await readiness(url):
                await asyncio.sleep(0.02)
        self.adopted = (await self.driver.survey(None)).record
        return self

    async def planned(self, **more: Any) -> tuple[Step, ...]:
        value = SECTION.parse({"parameters": {**self.wanted, **more}})
        assert isinstance(value, Wanted), value
        seen = await self.driver.observe(self.adopted)
        assert seen.ownership is Ownership.OWNED, seen.problem
        return SECTION.plan(value, None, seen)

    async def carried(self, steps: tuple[Step, ...]) -> Outcome:
        plan = Plan(digest(b"new"), steps)
        async with process(self.journal) as kept:
            room = Room({self.driver.name: self.driver}, kept, Silent())
            return await transact(plan, target_of(plan), room, way_home=None)

    @property
    def pid(self) -> int:
        return int(self.units.properties(UNIT)["MainPID"])

    @property
    def restarts(self) -> int:
        """Return how often we restarted it; tests that do so themselves count from there."""
        return sum(words[0] == "restart" for words in self.units.calls)

    def runs(self, name: str) -> Any:
        """Return the value of a parameter with which Felix runs."""
        effective = self.felix.effective or {}
        return effective.get(name, {}).get("value")


@pytest.fixture
def etcd() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def host(tmp_path: Path, etcd: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(limits, "FELIX_VERIFY_S", 3.0)
    monkeypatch.setattr(limits, "FELIX_HOLD_S", 0.3)
    made = Host(tmp_path, etcd)
    try:
        yield made
    finally:
        made.units.close()


async def test_a_change_is_read_after_one_restart(host: Host) -> None:
    await host.ready()
    before = host.pid
    outcome = await host.carried(await host.planned(VXLANPort=31439))
    assert outcome.state is State.COMMITTED, outcome
    wait_until("Felix has read it", lambda: host.runs("VXLANPort") == 31439)
    assert (31439, "config file") == (
        host.runs("VXLANPort"),
        (host.felix.effective or {})["VXLANPort"]["source"],
    )
    assert (1, True) == (host.restarts, host.pid != before)
    assert 0o640 == host.felix.config.stat().st_mode & 0o777
    assert () == await host.planned(VXLANPort=31439)


async def test_the_same_content_in_our_form_restarts_nothing(host: Host) -> None:
    await host.ready()
    before = host.pid
    outcome = await host.carried(await host.planned())
    assert outcome.state is State.COMMITTED, outcome
    assert (0, before) == (host.restarts, host.pid)
    seen = await host.driver.observe()
    assert seen.ownership is Ownership.OWNED, "from now on it is ours"


@pytest.mark.parametrize(
    "how",
    [
        {"never_ready": True},
        {"hung_health": True},
        {"die_after_s": 0.1},
        {"health_detail": True, "never_ready": True},
    ],
)
async def test_a_felix_that_does_not_come_up_gets_its_old_file_back(
    host: Host, how: dict[str, Any]
) -> None:
    await host.ready()
    old, old_look = host.felix.config.read_bytes(), host.felix.config.stat()
    steps = await host.planned(VXLANPort=31439)
    host.felix.behave(retry_s=0.05, **how)
    outcome = await host.carried(steps)
    assert outcome.state is State.ROLLED_BACK, outcome
    assert "felix calico-felix.service" in outcome.reason
    assert old == host.felix.config.read_bytes()
    look = host.felix.config.stat()
    assert (old_look.st_mode, old_look.st_uid, old_look.st_gid) == (
        look.st_mode,
        look.st_uid,
        look.st_gid,
    )
    assert 2 == host.restarts, "once there and once back"


async def test_a_datastore_that_does_not_answer_takes_the_change_back(host: Host) -> None:
    """The mistake of an endpoint with a wrong port: good to read, and Felix never ready."""
    await host.ready()
    outcome = await host.carried(
        await host.planned(EtcdEndpoints=f"http://127.0.0.1:{free_port()}")
    )
    assert outcome.state is State.ROLLED_BACK, outcome
    wait_until("it is ready again", lambda: host.runs("EtcdEndpoints") is not None)
    assert host.wanted["EtcdEndpoints"] in host.felix.config.read_text()


async def test_a_felix_that_was_not_ready_before_is_nobodys_fault(host: Host) -> None:
    await host.ready()
    host.felix.behave(never_ready=True)
    os.kill(host.pid, signal.SIGHUP)
    wait_until("it was restarted", lambda: host.units.properties(UNIT)["NRestarts"] == "1")
    outcome = await host.carried(await host.planned(VXLANPort=31439))
    assert outcome.state is State.COMMITTED, outcome


async def test_a_felix_that_somebody_stopped_stays_so(host: Host) -> None:
    await host.ready()
    host.ctl("stop")
    outcome = await host.carried(await host.planned(VXLANPort=31439))
    assert outcome.state is State.COMMITTED, outcome
    assert (0, 0) == (host.restarts, host.pid)


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_agent_that_died_is_followed_by_the_way_back(host: Host, restarted: bool) -> None:
    """It dies after the file was written, before or after the restart."""
    await host.ready()
    old = host.felix.config.read_bytes()
    (step,) = await host.planned(VXLANPort=31439)
    async with process(host.journal) as kept:
        plan = Plan(digest(b"new"), (step,))
        txn = await kept.begin(plan, target_of(plan), {})
        await kept.save(txn, 0, await host.driver.checkpoint(step))
    host.felix.config.write_bytes(change_of(step).data)
    if restarted:
        host.ctl("restart")
    pid, before = host.pid, host.restarts
    async with process(host.journal) as kept:
        driver = FelixDriver(FelixSettings())  # recovery knows no settings
        outcome = await recover(Room({driver.name: driver}, kept, Silent()))
    assert outcome is not None
    assert outcome.state is State.ROLLED_BACK
    assert old == host.felix.config.read_bytes()
    assert (restarted, restarted) == (host.pid != pid, host.restarts > before)


async def test_what_another_hand_wrote_meanwhile_is_left_alone(host: Host) -> None:
    await host.ready()
    (step,) = await host.planned(VXLANPort=31439)
    saved = await host.driver.checkpoint(step)
    await host.driver.apply(step, saved, 0.0)
    assert await host.driver.position(step, saved) is Position.NEW
    host.felix.config.write_text("VXLANPort = 1\n")
    assert await host.driver.position(step, saved) is Position.MIXED
    with pytest.raises(Exception, match="changed by another hand while confsync was at work"):
        await host.driver.undo(step, saved)
    assert "VXLANPort = 1\n" == host.felix.config.read_text()


async def test_a_file_that_changed_since_the_plan_is_not_written_over(host: Host) -> None:
    await host.ready()
    (step,) = await host.planned(VXLANPort=31439)
    host.felix.config.write_text("VXLANPort = 1\n")
    with pytest.raises(HostBusy, match="was changed since the plan was made"):
        await host.driver.check(step)
    host.felix.config.unlink()
    with pytest.raises(HostBusy, match="is gone since the plan was made"):
        await host.driver.checkpoint(step)


async def test_a_file_that_was_not_there_is_removed_again(host: Host) -> None:
    await host.ready()
    host.felix.config.unlink()
    (step,) = await host.planned()
    saved = await host.driver.checkpoint(step)
    await host.driver.apply(step, saved, 0.0)
    assert await host.driver.position(step, saved) is Position.NEW
    await host.driver.undo(step, saved)
    await host.driver.undo(step, saved)
    assert not host.felix.config.exists()
    assert await host.driver.position(step, saved) is Position.OLD


async def test_felix_that_reads_another_file_is_told(host: Host, tmp_path: Path) -> None:
    await host.ready()
    settings = FelixSettings(
        enabled=True,
        calico_version="3.26",
        config_file=str(tmp_path / "other.cfg"),
        service=UNIT,
        systemctl=str(host.units.program),
    )
    seen = await FelixDriver(settings).observe()
    assert seen.ownership is Ownership.ABSENT
    assert f"Felix reads {host.felix.config}, the settings say" in seen.problem


async def test_a_service_that_is_not_there_is_told(host: Host) -> None:
    settings = FelixSettings(
        enabled=True,
        calico_version="3.26",
        service="nobody.service",
        systemctl=str(host.units.program),
    )
    seen = await FelixDriver(settings).observe()
    assert (Ownership.ABSENT, "nobody.service is not there") == (
        seen.ownership,
        seen.problem.partition(";")[0],
    )


async def test_the_environment_of_the_process_hides_what_the_file_says(
    host: Host, tmp_path: Path
) -> None:
    environment = {"FELIX_VXLANPort": "4790", "OTHER": "x"}
    host.units.add("other.service", host.felix.argv, environment=environment)
    host.ctl("stop")
    host.ctl("start", "other.service")
    settings = FelixSettings(
        enabled=True,
        calico_version="3.26",
        config_file=str(host.felix.config),
        service="other.service",
        systemctl=str(host.units.program),
    )
    driver = FelixDriver(settings)
    seen = await driver.observe()
    value = SECTION.parse({"parameters": {**host.wanted, "VXLANPort": 31439}})
    assert isinstance(value, Wanted)
    (told,) = SECTION.remarks(value, None, seen)
    assert "VXLANPort has no effect on this host" in told


def test_a_restart_loop_is_known_before_the_time_is_over() -> None:
    (change,) = [change_of(step()) for step in (loop_step,)]
    probe = FelixProbe(change)
    sample = {"active": True, "pid": 1, "restarts": 3, "ready": False, "said": "x"}
    assert probe.judge(None, [sample]).verdict is Verdict.FAILED


def loop_step() -> Step:
    args = {
        "config_file": "/x",
        "data": "",
        "was": None,
        "service": "s.service",
        "systemctl": "/s",
        "health_url": "http://h/",
        "restart": True,
    }
    record = {"driver": "felix", "kind": "felix.configure", "version": 1, "target": "/x"}
    return Step.from_json({**record, "impact": "hitless", "summary": "", "args": args})


async def test_a_file_that_felix_could_not_read_is_told_and_stops_nothing_else(host: Host) -> None:
    await host.ready()
    host.felix.config.write_text("[global\n")
    seen = await host.driver.observe()
    assert seen.ownership is Ownership.FOREIGN
    assert "line 1 of felix.cfg: a section without" in " ".join(seen.notes)
    survey = await host.driver.survey(None)
    assert (None, True) == (survey.record, "line 1 of felix.cfg" in survey.problem)


async def test_a_felix_whose_health_is_turned_off_is_not_asked_for_it(host: Host) -> None:
    await host.ready()
    outcome = await host.carried(await host.planned(HealthEnabled=False))
    assert outcome.state is State.COMMITTED, outcome
    outcome = await host.carried(await host.planned(HealthEnabled=True))
    assert outcome.state is State.COMMITTED, outcome
    assert "" == await readiness(f"http://127.0.0.1:{host.port}/readiness"), "it was waited for"


def test_the_restarts_of_a_service_that_was_stopped_are_nobodys_fault() -> None:
    """Systemd forgets them at the next start only."""
    sample = {"active": False, "pid": 0, "restarts": 5, "ready": False, "said": "x"}
    probe = FelixProbe(change_of(loop_step()))
    assert probe.judge(sample, [sample]).verdict is Verdict.OK


async def test_a_felix_that_somebody_started_on_our_file_is_restarted_on_the_old_one(
    host: Host,
) -> None:
    await host.ready()
    host.ctl("stop")
    (step,) = await host.planned(VXLANPort=31439)
    saved = await host.driver.checkpoint(step)
    await host.driver.apply(step, saved, 0.0)
    host.ctl("start")
    wait_until("it has read ours", lambda: host.runs("VXLANPort") == 31439)
    await host.driver.undo(step, saved)
    wait_until("it has read the old one", lambda: host.runs("VXLANPort") != 31439)
    assert (1, True) == (host.restarts, host.pid > 0)


async def test_what_is_the_same_for_felix_needs_no_restart_on_the_way_back(host: Host) -> None:
    await host.ready()
    (step,) = await host.planned()
    saved = await host.driver.checkpoint(step)
    await host.driver.apply(step, saved, 0.0)
    host.ctl("restart")
    pid = host.pid
    await host.driver.undo(step, saved)
    assert pid == host.pid
    assert await host.driver.position(step, saved) is Position.OLD


async def test_a_file_that_was_not_there_is_kept_when_another_hand_wrote_it(host: Host) -> None:
    await host.ready()
    host.felix.config.unlink()
    (step,) = await host.planned()
    saved = await host.driver.checkpoint(step)
    await host.driver.apply(step, saved, 0.0)
    host.felix.config.write_text("VXLANPort = 1\n")
    with pytest.raises(RollbackFailed):
        await host.driver.undo(step, saved)
    assert "VXLANPort = 1\n" == host.felix.config.read_text()


@pytest.mark.parametrize("what", ["link", "folder", "large"])
async def test_what_is_no_plain_file_is_left_alone_and_told(
    host: Host, tmp_path: Path, what: str
) -> None:
    await host.ready()
    file = host.felix.config
    if what == "link":
        file.rename(tmp_path / "real.cfg")
        file.symlink_to(tmp_path / "real.cfg")
    elif what == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_text("# x\n" * limits.FELIX_FILE_BYTES)
    seen = await host.driver.observe(host.adopted)
    assert seen.ownership is Ownership.ABSENT
    assert str(file) in seen.problem


async def test_an_edit_of_our_file_is_seen_and_can_be_written_over(host: Host) -> None:
    await host.ready()
    await host.carried(await host.planned(VXLANPort=31439))
    text = host.felix.config.read_text()
    host.felix.config.write_text(text.replace("31439", "31440"))
    seen = await host.driver.observe(host.adopted)
    assert (Ownership.EDITED, True) == (seen.ownership, "another hand" in seen.hand)
    value = SECTION.parse({"parameters": {**host.wanted, "VXLANPort": 31439}})
    assert isinstance(value, Wanted)
    (step,) = SECTION.plan(value, None, seen)
    assert ["VXLANPort"] == [one.path.rpartition(".")[2] for one in step.differences]
    assert (await host.carried((step,))).state is State.COMMITTED
    assert text == host.felix.config.read_text()


async def test_a_felix_behind_a_shell_tells_no_file_of_its_own(host: Host) -> None:
    host.ctl("stop")
    host.units.add("shell.service", ["/bin/sh", "-c", f"{' '.join(host.felix.argv)}; exit 1"])
    host.ctl("start", "shell.service")
    settings = host.driver._settings.model_copy(update={"service": "shell.service"})
    seen = await FelixDriver(settings).observe()
    assert seen.ownership is Ownership.FOREIGN, seen.problem


async def test_an_empty_variable_of_the_process_hides_nothing(host: Host) -> None:
    environment = {"FELIX_VXLANPORT": "", "FELIX_IPV6SUPPORT": "false"}
    host.ctl("stop")
    host.units.add("env.service", host.felix.argv, environment=environment)
    host.ctl("start", "env.service")
    settings = host.driver._settings.model_copy(update={"service": "env.service"})
    seen = await FelixDriver(settings).observe()
    assert {"ipv6support": "false"} == seen.detail["environment"]
