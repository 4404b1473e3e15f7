"""A systemctl for the contract: the laboratory's own, and the machine's on a real systemd.

The real one is the first process of namespaces of its own: it sees none of the machine's units,
writes to none of its folders and settings, and dies with its mounts.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.lab.calico.manager import Units
from tests.lab.calico.units import Unit
from tests.lab.process import Process
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SYSTEMD = "/lib/systemd/systemd"
BOOT = """\
set -e
mount --make-rprivate /
mount -t tmpfs run /run
mount -t tmpfs generators /lib/systemd/system-generators
mount -t tmpfs units /etc/systemd/system
mkdir -p /run/systemd/system
mount --bind "$1" /run/systemd/system
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
export container=laboratory SYSTEMD_LOG_TARGET=console
exec /lib/systemd/systemd --system --unit=empty.target
"""
CONFINED = """\
set -e
mount --make-rprivate /
mount -t cgroup2 none "$1/cgroup"
mkdir -p "$1/cgroup/laboratory-$$"
echo $$ >"$1/cgroup/laboratory-$$/cgroup.procs"
exec unshare --cgroup --fork --pid --net --uts --ipc --mount --mount-proc --kill-child \
    sh -c "$2" boot "$1/units"
"""

CLEANED = """\
mount --make-rprivate /
mount -t cgroup2 none "$1"
find "$1/$2" -depth -type d -exec rmdir {} + 2>/dev/null
"""


def _is_root() -> bool:
    """Tell the machine's root from one of a user namespace."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split()[2] != "1"


HAS_REAL = _is_root() and Path(SYSTEMD).exists() and bool(shutil.which("systemctl"))
KINDS = ["fake", *([pytest.param("real", marks=pytest.mark.root)] if HAS_REAL else [])]


class Done(NamedTuple):
    """How a call ended."""

    code: int
    out: str
    err: str


class Manager:
    """What a test of the contract does with either."""

    def __init__(self, argv: Sequence[str], folder: Path, prefix: Sequence[str] = ()) -> None:
        self._argv, self._prefix, self.folder = list(argv), list(prefix), folder

    def __call__(self, *argv: str) -> Done:
        done = subprocess.run(
            [*self._argv, *argv], capture_output=True, text=True, timeout=30, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def add(self, name: str, *argv: str, **what: Any) -> None:
        """Load a unit; it does not run."""
        raise NotImplementedError

    def show(self, name: str, *wanted: str) -> dict[str, str]:
        """Return properties; the call must succeed."""
        done = self("show", name, f"--property={','.join(wanted)}")
        assert (0, "") == (done.code, done.err)
        return dict(line.split("=", 1) for line in done.out.splitlines())

    def state(self, name: str) -> str:
        """Return ActiveState."""
        return self.show(name, "ActiveState")["ActiveState"]

    def send(self, name: str, number: signal.Signals) -> None:
        """Signal its main process."""
        pid = self.show(name, "MainPID")["MainPID"]
        assert pid != "0"
        subprocess.run([*self._prefix, "kill", f"-{number.value}", pid], check=True)


class Fake(Manager):
    """The laboratory's own."""

    def __init__(self, folder: Path) -> None:
        self.units = Units(folder)
        super().__init__([str(self.units.program)], folder)

    def add(self, name: str, *argv: str, **what: Any) -> None:
        self.units.add(name, argv, **what)

    def close(self) -> None:
        self.units.close()


class Real(Manager):
    """A systemd that was booted for it."""

    def __init__(self, folder: Path) -> None:
        for name in ("cgroup", "units"):
            (folder / name).mkdir(parents=True)
        self._cgroup = folder / "cgroup"
        (folder / "units" / "empty.target").write_text("[Unit]\nDefaultDependencies=no\n")
        argv = ["unshare", "--mount", "sh", "-c", CONFINED, "confined", str(folder), BOOT]
        self._process = Process(argv, folder / "systemd.log")
        pid = wait_until("systemd has a process", self._first)
        inside = ["nsenter", "-t", pid, "-m", "-p", "--"]
        super().__init__([*inside, "systemctl"], folder / "units", inside)
        wait_until("systemd answers", lambda: self("show", "empty.target").code == 0)

    def _first(self) -> str | None:
        """Return the pid of its systemd, as seen from here."""
        found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for pid in found.split():
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(SYSTEMD.encode()):
                return pid
        return None

    def add(self, name: str, *argv: str, **what: Any) -> None:
        text = Unit(name, argv, **what).text.replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n")
        (self.folder / name).write_text(text)
        assert 0 == self("daemon-reload").code

    def close(self) -> None:
        """End it, and remove the control groups that it leaves behind."""
        self._process.kill()
        group = f"laboratory-{self._process.pid}"
        argv = ["unshare", "--mount", "sh", "-c", CLEANED, "cleaned", str(self._cgroup), group]
        wait_until("its groups are empty", lambda: subprocess.call(argv) == 0, 5)


@pytest.fixture(params=KINDS)
def manager(request: pytest.FixtureRequest) -> Manager:
    """Give each manager that this machine can have, with no units."""
    return request.getfixturevalue(f"{request.param}_manager")


@pytest.fixture
def fake_manager(tmp_path: Path) -> Iterator[Fake]:
    found = Fake(tmp_path / "units")
    yield found
    found.close()


@pytest.fixture(scope="session")
def real_manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    found = Real(tmp_path_factory.mktemp("systemd"))
    yield found
    found.close()
