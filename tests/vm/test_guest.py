"""The guest itself: commands, their bounds, power, and what of it is left behind."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.process import Process
from tests.lab.wait import LabError, wait_until
from tests.vm.guest import Guest

pytestmark = pytest.mark.root


def test_a_command_gives_its_exit_code_and_both_outputs(guest: Guest):
    done = guest.run("echo out; echo err >&2; exit 7")
    assert (7, "out\n", "err\n") == done


def test_commands_run_beside_each_other(guest: Guest):
    reader = guest.start("mkfifo /run/pipe; cat /run/pipe")
    guest.must("until [ -p /run/pipe ]; do sleep 0.01; done; echo hello >/run/pipe")
    assert "hello\n" == reader.wait().stdout


def test_a_command_that_hangs_is_named_in_time_and_the_next_test_has_a_new_guest(guest: Guest):
    guest.must("touch /run/here")
    started = time.monotonic()
    with pytest.raises(LabError, match="sleep 1000"):
        guest.run("sleep 1000", timeout_s=0.5)
    assert time.monotonic() - started < 5
    guest.renew()
    assert guest.run("test -e /run/here").rc


def test_a_guest_that_panics_is_shown_with_its_console(guest: Guest):
    with pytest.raises(LabError, match="Kernel panic"):
        guest.run("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger", timeout_s=5)
    guest.renew()
    guest.must("true")


def test_a_machine_without_its_kernel_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match="scripts/setup installs user-mode-linux"):
        Guest(tmp_path)


def test_the_machine_is_seen_and_never_written(guest: Guest):
    guest.must("test -e pyproject.toml")
    assert "Read-only file system" in guest.run("touch here").stderr
    guest.must("touch /etc/written-in-the-guest")
    guest.cut()
    guest.boot()
    assert guest.run("test -e /etc/written-in-the-guest").rc


def test_a_power_cut_keeps_what_was_synced_and_ends_every_process(guest: Guest):
    guest.must("mkfs.ext4 -q /dev/ubda && mount /dev/ubda /mnt && echo kept >/mnt/a && sync")
    writing = guest.start("while :; do date >>/mnt/b; done", timeout_s=60)
    wait_until("it writes", lambda: not guest.run("test -s /mnt/b").rc)
    guest.cut()
    before = guest.digest("/dev/ubda")
    time.sleep(0.1)
    assert before == guest.digest("/dev/ubda")
    with pytest.raises(LabError, match="the guest ended"):
        writing.wait()
    guest.boot()
    assert "kept\n" == guest.must("mount /dev/ubda /mnt && cat /mnt/a")


def test_disks_are_blank_again_after_a_test_that_wrote(guest: Guest):
    blank = guest.digest("/dev/ubdb")
    guest.must("echo x >/dev/ubdb && sync")
    assert blank != guest.digest("/dev/ubdb")
    guest.renew()
    assert blank == guest.digest("/dev/ubdb")


BOOT_AND_WAIT = """\
import sys, time
from pathlib import Path
from tests.vm.guest import Guest
guest = Guest(Path(sys.argv[1]))
time.sleep(1000)
"""


def processes_of(folder: Path) -> list[str]:
    """Return the command lines that name the folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if f"vm_folder={folder}" in line]


def test_no_process_of_a_guest_outlives_the_one_that_made_it(tmp_path: Path):
    folder = tmp_path / "guest"
    maker = Process([sys.executable, "-c", BOOT_AND_WAIT, str(folder)], tmp_path / "log")
    wait_until("it is up", (folder / "up").exists, 60)
    assert processes_of(folder)
    maker.kill()
    wait_until("nothing is left", lambda: not processes_of(folder))
