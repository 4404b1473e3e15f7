from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from confsync.host.systemd import Heartbeats, Notifier, feed_watchdog
from confsync.model import limits

UNIT = Path(__file__).parents[2] / "systemd" / "confsync.service"

FED = ["WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={int(limits.WATCHDOG_S * 1_000_000)}"]


class Manager:
    """A service manager that only listens."""

    def __init__(self, address: str) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind("\0" + address[1:] if address.startswith("@") else address)
        self.channel.setblocking(False)
        self.notifier = Notifier.from_environ({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000"})

    async def heard(self) -> list[str]:
        async with asyncio.timeout(10):
            data = await asyncio.get_running_loop().sock_recv(self.channel, 4096)
        return data.decode().split("\n")

    def silent(self) -> bool:
        try:
            self.channel.recv(4096)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    name = f"@confsync-{os.getpid()}-{time.monotonic_ns()}"
    found = Manager(str(tmp_path / "notify") if request.param == "path" else name)
    yield found
    found.channel.close()


class FakeClock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


async def test_each_message_is_one_datagram(manager):
    manager.notifier.ready("in-sync")
    assert ["READY=1", "STATUS=in-sync"] == await manager.heard()
    manager.notifier.stopping("bye")
    assert ["STOPPING=1", "STATUS=bye"] == await manager.heard()
    manager.notifier.extend(1.5)
    assert ["EXTEND_TIMEOUT_USEC=1500000"] == await manager.heard()
    manager.notifier.alive()
    assert FED == await manager.heard()


async def test_a_reload_carries_the_monotonic_time(manager):
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.notifier.reloading()
    first, second = await manager.heard()
    assert "RELOADING=1" == first
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= before + 10_000_000


async def test_a_status_cannot_pose_as_another_field(manager):
    manager.notifier.status("rejected\nREADY=1")
    assert ["STATUS=rejected READY=1"] == await manager.heard()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_listening_is_fine(environ):
    Notifier.from_environ(environ).ready("in-sync")


def test_a_manager_that_does_not_read_is_never_waited_for(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    for _ in range(5000):
        manager.notifier.alive()
    manager.channel.close()


def test_a_loop_is_late_only_after_its_own_limit():
    clock = FakeClock()
    hearts = Heartbeats(clock)
    quick, slow = hearts.register("watch", 5), hearts.register("reconcile", 100)
    clock.at += 5
    assert () == hearts.late()
    clock.at += 1
    assert ("watch 6 s",) == hearts.late()
    quick()
    assert () == hearts.late()
    clock.at += 101
    assert ("reconcile 102 s", "watch 101 s") == hearts.late() or (
        "reconcile 107 s",
        "watch 101 s",
    ) == hearts.late()
    slow()
    hearts.forget("watch")
    assert () == hearts.late()


async def test_the_watchdog_is_fed_while_every_loop_moves_and_starves_when_one_does_not(manager):
    clock = FakeClock()
    hearts = Heartbeats(clock)
    beat = hearts.register("reconcile", 30)
    hearts.register("watch", 1000)
    feeding = asyncio.create_task(feed_watchdog(manager.notifier, hearts))
    assert FED == await manager.heard()
    assert FED == await manager.heard()
    clock.at += 31
    while (said := await manager.heard()) == FED:
        pass
    assert ["STATUS=no progress: reconcile 31 s"] == said
    beat()
    while (said := await manager.heard()) != FED:
        assert said[0].startswith("STATUS=no progress")
    feeding.cancel()


@pytest.mark.parametrize(
    ("told_us", "feed_s"), [("", 10), ("30000000", 10), ("3000000", 1), ("600000000", 10)]
)
def test_the_watchdog_is_fed_three_times_within_its_limit(told_us, feed_s):
    assert feed_s == Notifier.from_environ({"WATCHDOG_USEC": told_us}).feed_s


async def test_a_blocked_event_loop_feeds_nothing(manager):
    feeding = asyncio.create_task(feed_watchdog(manager.notifier, Heartbeats(time.monotonic)))
    assert FED == await manager.heard()
    while not manager.silent():
        pass
    time.sleep(0.2)  # the loop is blocked: this is the case, not a wait for it
    assert manager.silent()
    assert FED == await manager.heard()
    feeding.cancel()


def test_the_unit_fits_the_limits():
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#"]
    unit = dict(line.split("=", 1) for line in lines)
    assert limits.WATCHDOG_S == float(unit["WatchdogSec"])
    assert limits.STOP_S < float(unit["TimeoutStopSec"])
    assert ("notify", "process", "78") == (
        unit["Type"],
        unit["KillMode"],
        unit["RestartPreventExitStatus"],
    )
    assert "confsync agent reload --wait" in unit["ExecReload"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_takes_the_unit_without_a_word(tmp_path):
    unit = tmp_path / "confsync.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/confsync", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "confsync" in line]
    assert [] == ours
