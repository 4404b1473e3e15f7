"""What a driver may rely on of systemctl and of a service that is always restarted."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.contract.units import Fake, Manager, fake_manager, manager, real_manager
from tests.lab.calico import Felix
from tests.lab.process import Process
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fake_manager", "manager", "real_manager"]

pytestmark = pytest.mark.root

ALL = ("ActiveState", "SubState", "MainPID", "NRestarts", "ExecMainStatus", "Result")
ALL += ("LoadState", "FragmentPath")
SLEEP = ("/bin/sleep", "1000")
SEE = 'See "systemctl status {0}" and "journalctl -xeu {0}" for details.\n'


def script(manager: Manager, name: str, text: str) -> str:
    """Return the path of a program."""
    path = manager.folder / f"{name}.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def has(manager: Manager, name: str, **wanted: str) -> dict[str, str]:
    """Wait until a unit has these properties; returns them all."""

    def look() -> dict[str, str] | None:
        found = manager.show(name, *ALL)
        return found if wanted.items() <= found.items() else None

    return wait_until(f"{name} has {wanted}", look, 5)


def test_properties_come_in_systemds_own_order_and_of_a_unit_that_never_ran(manager: Manager):
    manager.add("order.service", *SLEEP)
    done = manager("show", "order.service", f"--property={','.join(ALL)}")
    assert done.out.startswith(
        "MainPID=0\nResult=success\nNRestarts=0\nExecMainStatus=0\nLoadState=loaded\n"
        "ActiveState=inactive\nSubState=dead\nFragmentPath="
    )
    assert done.out.endswith("/order.service\n")
    assert "0\n" == manager("show", "-P", "MainPID", "order").out
    assert "0\n" == manager("show", "--value", "-p", "MainPID", "order").out
    assert {"MainPID": "0"} == manager.show("order", "MainPID", "Nope")


def test_start_and_stop(manager: Manager):
    manager.add("life.service", *SLEEP)
    assert (0, "", "") == manager("start", "life")
    found = manager.show("life", *ALL)
    assert ("active", "running", "0") == tuple(found[name] for name in (*ALL[:2], ALL[3]))
    assert "0" != found["MainPID"]
    assert (0, "active\n", "") == manager("is-active", "life.service")
    assert (0, "", "") == manager("start", "life")
    assert found == manager.show("life", *ALL)
    assert (0, "", "") == manager("stop", "life")
    found = manager.show("life", *ALL)
    assert ("inactive", "dead", "0", "0", "0", "success") == tuple(found[name] for name in ALL[:6])
    assert (3, "inactive\n", "") == manager("is-active", "life")
    assert (0, "", "") == manager("stop", "life")


def test_an_end_by_itself_is_restarted_and_counted_until_somebody_restarts(manager: Manager):
    manager.add("again.service", *SLEEP, restart_s=0.5)
    manager("start", "again")
    manager.send("again", signal.SIGKILL)
    waiting = has(manager, "again", ActiveState="activating")
    assert ("auto-restart", "0", "0", "9", "signal") == tuple(waiting[name] for name in ALL[1:6])
    assert (3, "activating\n", "") == manager("is-active", "again")
    running = has(manager, "again", ActiveState="active")
    assert ("1", "0", "success") == tuple(running[name] for name in ALL[3:6])
    assert (0, "", "") == manager("restart", "again")
    after = manager.show("again", *ALL)
    assert ("active", "0") == (after["ActiveState"], after["NRestarts"])
    assert running["MainPID"] != after["MainPID"]
    manager("stop", "again")


@pytest.mark.parametrize(
    ("text", "result", "status"),
    [("exit 129", "exit-code", "129"), ("exit 0", "success", "0"), ("kill $$", "success", "15")],
)
def test_how_it_ended_is_told_until_the_next_start(
    manager: Manager, text: str, result: str, status: str
):
    name = f"ends{status}.service"
    manager.add(name, script(manager, name, text), restart_s=30)
    assert 0 == manager("start", name).code
    found = has(manager, name, ActiveState="activating")
    assert (status, result) == (found["ExecMainStatus"], found["Result"])
    assert (0, "", "") == manager("stop", name)
    assert "inactive" == manager.state(name)


def test_a_restart_does_not_wait_for_a_restart_that_is_due(manager: Manager):
    manager.add("due.service", *SLEEP, restart_s=30)
    manager("start", "due")
    manager.send("due", signal.SIGKILL)
    has(manager, "due", ActiveState="activating")
    assert (0, "", "") == manager("restart", "due")
    assert "active" == manager.state("due")
    manager("stop", "due")


def test_too_many_starts_fail_for_good(manager: Manager):
    manager.add("loop.service", "/bin/false", restart_s=0.02)
    assert 0 == manager("start", "loop").code
    found = has(manager, "loop", ActiveState="failed")
    assert ("failed", "0", "5", "1", "exit-code") == tuple(found[name] for name in ALL[1:6])
    assert (3, "failed\n", "") == manager("is-active", "loop")
    assert (0, "failed\n", "") == manager("is-failed", "loop")
    text = "Job for loop.service failed because the control process exited with error code.\n"
    assert (1, "", text + SEE.format("loop.service")) == manager("restart", "loop")
    assert (0, "", "") == manager("reset-failed", "loop")
    found = manager.show("loop", *ALL)
    assert ("inactive", "dead", "0", "0", "0", "success") == tuple(found[name] for name in ALL[:6])
    assert 0 == manager("restart", "loop").code
    manager("stop", "loop")


def test_a_reload_lets_a_failed_one_start_again_and_count_from_zero(manager: Manager):
    manager.add("reload.service", "/bin/false", restart_s=0.02)
    manager("start", "reload")
    has(manager, "reload", ActiveState="failed", NRestarts="5")
    assert 1 == manager("start", "reload").code
    assert (0, "", "") == manager("daemon-reload")
    assert (0, "", "") == manager("start", "reload")
    has(manager, "reload", ActiveState="failed", NRestarts="5")
    assert 0 == manager("reset-failed", "reload").code


def test_a_service_without_the_limit_restarts_for_ever(manager: Manager):
    manager.add("ever.service", "/bin/false", restart_s=0.01, start_limit_interval_s=0.0)
    manager("start", "ever")

    def restarts() -> int:
        return int(manager.show("ever", "NRestarts")["NRestarts"])

    wait_until("it restarts", lambda: restarts() > 6, 5)
    assert 0 == manager("stop", "ever").code
    assert manager.state("ever") in {"inactive", "failed"}  # as it was between ends or at one


def test_a_program_that_is_none_fails_with_203(manager: Manager):
    manager.add("none.service", "/nowhere/felix", restart_s=30)
    assert (0, "", "") == manager("start", "none")
    found = has(manager, "none", ActiveState="activating")
    assert ("203", "exit-code") == (found["ExecMainStatus"], found["Result"])
    manager("stop", "none")


def test_one_that_does_not_end_is_killed_in_time(manager: Manager):
    stubborn = script(manager, "stubborn", "trap : TERM\nwhile :; do sleep 0.1; done")
    manager.add("stubborn.service", stubborn, stop_timeout_s=0.3)
    manager("start", "stubborn")
    time.sleep(0.1)
    begun_s = time.monotonic()
    assert 0 == manager("stop", "stubborn").code
    assert time.monotonic() - begun_s >= 0.3
    found = manager.show("stubborn", *ALL)
    assert ("failed", "timeout", "9") == tuple(found[ALL[number]] for number in (0, 5, 4))
    manager("reset-failed", "stubborn")


def test_the_environment_is_read_at_each_start_the_file_above_the_unit(
    manager: Manager, tmp_path: Path
):
    seen, values = tmp_path / "seen", tmp_path / "env"
    manager.add(
        "env.service",
        script(manager, "env", f'echo "$ONE $TWO" >{seen}; exec sleep 1000'),
        environment={"ONE": "1", "TWO": "2"},
        environment_file=values,
    )
    manager("start", "env")
    wait_until("it wrote", lambda: seen.exists() and seen.read_text() == "1 2\n", 5)
    values.write_text('# a remark\nTWO="3"\n')
    manager("restart", "env")
    wait_until("it wrote anew", lambda: seen.read_text() == "1 3\n", 5)
    manager("stop", "env")


def test_a_unit_that_is_none(manager: Manager):
    found = manager.show("nope", *ALL)
    assert ("not-found", "", "inactive") == tuple(found[ALL[number]] for number in (6, 7, 0))
    for verb, word in (("restart", "found"), ("start", "found"), ("stop", "loaded")):
        text = f"Failed to {verb} nope.service: Unit nope.service not {word}.\n"
        assert (5, "", text) == manager(verb, "nope")
    assert (3, "inactive\n", "") == manager("is-active", "nope")
    assert (1, "inactive\n", "") == manager("is-failed", "nope")
    text = "Failed to reset failed state of unit nope.service: Unit nope.service not loaded.\n"
    assert (1, "", text) == manager("reset-failed", "nope")


def test_words_that_are_none(manager: Manager):
    assert (1, "", "Unknown command verb bogus.\n") == manager("bogus", "x")
    assert (1, "", "Too few arguments.\n") == manager("restart")
    done = manager("--nope", "x")
    assert (1, "systemctl: unrecognized option '--nope'\n") == (done.code, done.err)


def test_of_several_units_each_is_told(manager: Manager):
    manager.add("both.service", *SLEEP)
    manager("start", "both")
    assert (0, "active\ninactive\n", "") == manager("is-active", "both", "nope")
    done = manager("show", "both", "nope", "--property=ActiveState")
    assert "ActiveState=active\n\nActiveState=inactive\n" == done.out
    manager("stop", "both")


def test_no_manager_a_slow_one_and_one_that_hangs(fake_manager: Fake):
    units = fake_manager.units
    units.add("slow.service", SLEEP)
    units.unreachable = True
    done = fake_manager("show", "slow", "--property=MainPID")
    assert (1, "", "Failed to connect to bus: No such file or directory\n") == done
    units.unreachable, units.latency_s = False, 0.2
    begun_s = time.monotonic()
    assert 0 == fake_manager("start", "slow").code
    assert time.monotonic() - begun_s >= 0.2
    units.latency_s, units.hang = 0, True
    call = Process([str(units.program), "restart", "slow"], fake_manager.folder / "call.log")
    wait_until("it is asked", lambda: units.calls[-1] == ["restart", "slow"], 5)
    assert call.exit_code is None
    units.hang = False
    assert 0 == call.wait(5)
    assert ["start", "slow"] == units.calls[1]


def test_nothing_is_left_of_what_it_ran(tmp_path: Path):
    made = Fake(tmp_path / "units")
    deaf = "(trap '' TERM; echo deaf; sleep 1000) & exec sleep 1000"
    made.add("left.service", script(made, "left", deaf))
    made("start", "left")
    log = made.folder / "left.service.log"
    wait_until("its child is deaf", lambda: "deaf" in log.read_text(), 5)
    pid = int(made.units.properties("left.service")["MainPID"])
    made.close()
    wait_until("its group is gone", lambda: pid not in subprocess_groups(), 2)


def subprocess_groups() -> set[int]:
    """Return the process groups that have a living member."""
    from pathlib import Path

    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            found.add(int(fields[2]))
    return found


def test_a_felix_is_restarted_by_its_unit_with_another_configuration(
    fake_manager: Fake, tmp_path: Path
):
    felix = Felix(tmp_path / "felix", retry_s=0.05)
    fake_manager.add("calico-felix.service", *felix.argv, restart_s=0.05)
    felix.config.write_text("EtcdAddr=127.0.0.1:1\nVXLANPort=1\n")
    fake_manager("start", "calico-felix")
    log = fake_manager.folder / "calico-felix.service.log"
    wait_until("it runs", lambda: "Retrying" in log.read_text(), 5)
    fake_manager.send("calico-felix.service", signal.SIGHUP)
    found = has(fake_manager, "calico-felix", NRestarts="1")
    assert "active" == found["ActiveState"]
