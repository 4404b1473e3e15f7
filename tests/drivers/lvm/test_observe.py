"""A look at the host: what is told of real lvm, and what of one that gives no whole answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.driver import LvmDriver, LvmSettings
from confsync.drivers.lvm.found import Host
from confsync.model import limits
from confsync.model.section import Ownership
from tests.lab.lvm import Lvm
from tests.lab.storage import VG, Storage

REPORT = '{"report": [{"vg": [], "pv": [], "lv": []}]}'


def driver(folder: Path, script: str) -> LvmDriver:
    """Return a driver whose lvm is a script."""
    binary = folder / "wrong"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    settings = LvmSettings(enabled=True, volume_groups=(VG,), binary=str(binary))
    return LvmDriver(settings, Commands(str(folder / "lock" / "confsync")))


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo '  Devices file not found' >&2; exit 5", "exit code 5: Devices file not found"),
        ("echo '  Datentr\u00e4gergruppe fehlt' >&2; exit 5", "exit code 5: Datentr"),
        ("", "lvm reported nothing"),
        ('echo \'{"report": [{"vg": [{\'', "is not whole"),
        ("echo '  WARNING: on stdout'; echo '{}'", "is not whole"),
        ('echo \'{"report": [{"vg": [{"vg_name": "vg0"}]}]}\'', "lacks"),
        ("trap '' TERM; sleep 100", "no answer within"),
    ],
)
async def test_an_lvm_without_a_whole_answer_is_absent_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
):
    monkeypatch.setattr(limits, "LVM_READ_S", 2.0)
    seen = await driver(tmp_path, script).observe()
    assert Ownership.ABSENT is seen.ownership
    assert problem in seen.problem


async def test_no_lvm_at_all_is_absent(tmp_path: Path):
    settings = LvmSettings(enabled=True, binary="/nowhere/lvm")
    seen = await LvmDriver(settings, Commands(str(tmp_path / "lock"))).observe()
    assert (Ownership.ABSENT, True) == (seen.ownership, "cannot be started" in seen.problem)


@pytest.mark.root
async def test_only_the_groups_of_the_settings_are_told_but_all_devices(storage: Storage, lvm: Lvm):
    lvm.must("vgcreate", VG, lvm.devices[0])
    lvm.must("vgcreate", "theirs", lvm.devices[1])
    host = await storage.host()
    assert [VG] == [group.name for group in host.groups]
    assert (VG,) == host.allowed
    by_path = {device.path: device for device in host.devices}
    assert "theirs" == by_path[lvm.devices[1]].vg
    assert by_path[lvm.devices[1]].uses
    assert () == by_path[lvm.devices[2]].uses


@pytest.mark.root
async def test_a_look_again_is_the_same_and_what_was_taken_over_is_told(storage: Storage, lvm: Lvm):
    lvm.must("vgcreate", VG, lvm.devices[0])
    lvm.must("lvcreate", "-l3", "-an", "-Zn", "-Wn", "-n", "data", VG)
    first, second = await storage.host(), await storage.host()
    assert first.groups == second.groups
    uuid = (await storage.volume("data")).uuid
    seen = await storage.driver.observe({"names": {f"{VG}/data": uuid}})
    assert (uuid,) == Host.of(seen.detail).adopted


@pytest.mark.root
async def test_a_volume_that_does_not_become_active_is_not_believed(storage: Storage, lvm: Lvm):
    lvm.must("vgcreate", VG, lvm.devices[0])
    act = await storage.new_volume("data", 3)
    with pytest.raises(Exception, match="lvcreate"):
        await storage.apply(act)
    await storage.undo(act)
    assert [] == await storage.names()


@pytest.mark.root
async def test_the_pulse_is_cheap_and_tells_of_another_hand(
    storage: Storage, lvm: Lvm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    records = tmp_path / "lvm" / "backup"
    monkeypatch.setattr("confsync.drivers.lvm.driver._RECORDS", str(records))
    lvm.must("vgcreate", VG, lvm.devices[0])
    before = await storage.driver.pulse()
    await storage.host()
    assert before == await storage.driver.pulse(), "a look is no change"
    lvm.must("vgchange", "--addtag", "theirs", VG)
    assert before != await storage.driver.pulse()
