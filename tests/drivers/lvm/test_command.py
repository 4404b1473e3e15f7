"""Programs around LVM: what they are given, when they are waited for, and who is never killed."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from confsync.drivers.lvm.command import Commands, require_udevd
from confsync.host.process import StillRuns
from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy, StepFailed
from tests.lab.wait import wait_until


def program(folder: Path, script: str) -> str:
    """Return a program in the place of lvm."""
    path = folder / "lvm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(str(tmp_path / "lock" / "confsync"), lock_wait_s=0.5)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long."""
    monkeypatch.setattr(limits, "LVM_READ_S", 0.5)
    monkeypatch.setattr(limits, "LVM_CHANGE_S", 0.5)
    monkeypatch.setattr(limits, "LVM_PATIENCE_S", 0.5)


async def test_a_program_gets_a_bare_environment_and_nothing_to_read(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LC_ALL", "nb_NO.UTF-8")
    monkeypatch.setenv("DM_DISABLE_UDEV", "1")
    told = tmp_path / "told"
    binary = program(tmp_path, f"(env; echo read: $(cat)) >{told}; echo ours; echo w >&2")
    assert "ours\n" == (await commands.read(binary)).stdout, "warnings are kept apart"
    await commands.change(binary, "lvcreate", "x")
    lines = told.read_text().splitlines()
    assert {"LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1", "read:"} <= set(lines)
    assert ("DM_DISABLE_UDEV=1" in lines) is not Path("/run/udev/control").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo Volume group not found >&2; exit 5", "lvs: exit code 5: Volume group not found"),
        ("echo Datentr\u00e4gergruppe fehlt >&2; exit 5", "exit code 5: Datentr"),
        ("kill -SEGV $$", "lvs: signal 11"),
    ],
)
async def test_a_program_that_fails_is_told_with_what_it_said(
    commands: Commands, tmp_path: Path, script: str, reason: str
):
    binary = program(tmp_path, script)
    with pytest.raises(HostBusy, match=reason):
        await commands.read(binary, "lvs")
    with pytest.raises(StepFailed, match=reason):
        await commands.change(binary, "lvs")


async def test_who_waits_for_a_lock_tries_for_a_while(commands: Commands, tmp_path: Path):
    tries = tmp_path / "tries"
    locked = 'echo "  Can\'t get lock for vg0." >&2; exit 5'
    binary = program(
        tmp_path, f'echo "$*" >>{tries}; [ $(wc -l <{tries}) -ge 3 ] || {{ {locked}; }}'
    )
    await commands.change(binary, "lvcreate", "vg0")
    assert ["lvcreate vg0 --config global/wait_for_locks=0"] * 3 == tries.read_text().splitlines()
    with pytest.raises(HostBusy, match="Can't get lock for vg0"):
        await commands.change(program(tmp_path, locked), "lvcreate", "vg0")


@pytest.mark.usefixtures("short")
async def test_one_that_only_reads_may_be_killed(commands: Commands, tmp_path: Path):
    with pytest.raises(HostBusy, match=r"no answer within 0\.5 s"):
        await commands.read(program(tmp_path, "trap '' TERM; sleep 100"), "lvs")


@pytest.mark.usefixtures("short")
async def test_one_that_changes_is_asked_to_end_and_its_outcome_is_uncertain(
    commands: Commands, tmp_path: Path
):
    asked = tmp_path / "asked"
    script = f"trap 'touch {asked}; exit 5' TERM; while :; do sleep 0.05; done"
    with pytest.raises(DeadlinePassed, match="it was stopped"):
        await commands.change(program(tmp_path, script), "lvcreate")
    assert asked.exists()
    await commands.settle()


@pytest.mark.usefixtures("short")
async def test_nothing_is_begun_while_one_that_changes_goes_on(commands: Commands, tmp_path: Path):
    binary = program(tmp_path, "trap '' TERM; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.3; done")
    with pytest.raises(StillRuns, match="left to itself"):
        await commands.change(binary, "lvcreate")
    with pytest.raises(HostBusy, match="has not ended"):
        await commands.change(program(tmp_path, "true"), "lvremove")
    async with asyncio.timeout(10):
        while True:
            try:
                await commands.settle()
            except HostBusy:
                continue
            break


async def test_an_orphan_of_a_dead_agent_is_waited_for(commands: Commands, tmp_path: Path):
    done = tmp_path / "done"
    binary = program(tmp_path, f"touch {tmp_path}/begun; sleep 1; touch {done}")
    lock = tmp_path / "lock" / "confsync"
    code = (
        "import asyncio; from confsync.drivers.lvm.command import Commands\n"
        f"asyncio.run(Commands({str(lock)!r}).change({binary!r}, 'lvextend'))"
    )
    agent = await asyncio.create_subprocess_exec("python", "-c", code)
    wait_until("lvm is at work", (tmp_path / "begun").exists)
    agent.kill()
    await agent.wait()
    assert not done.exists()
    await commands.settle()
    assert done.exists()


def test_a_udevd_that_is_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DM_DISABLE_UDEV", raising=False)
    path = str(tmp_path / "control")
    require_udevd(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as udevd:
        udevd.bind(path)
        udevd.listen()
        require_udevd(path)
    with pytest.raises(HostBusy, match="udevd does not answer"):
        require_udevd(path)
