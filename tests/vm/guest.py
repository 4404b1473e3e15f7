"""A Linux guest with real device-mapper: User Mode Linux, an ordinary process of this machine.

Why User Mode Linux: device-mapper belongs to the kernel, a test must be able to lose power, and a
machine of a CI has neither a kernel of ours nor KVM. The guest's root is this machine's own tree,
read-only under an overlay in memory, so that every tool and every test of ours is in there.
With systemd it is the Debian tree of scripts/tree instead, booted by real systemd with udevd.

Invariant: nothing of a guest outlives this process, and it writes to nothing but its own folder.
"""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.cache import cached
from tests.lab.process import Process
from tests.lab.wait import LabError, wait_until
from tests.vm.root import HERE, MODULES, SYSTEMD, describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

SHIM = cached("xstate_shim.so")
BOOT_S = 90  # systemd takes 18 s of a CPU that is its own
END_MS = 10_000
BLOCK = 64 << 10
COMMAND_S = 30
DISKS_MIB = (512, 512, 512)  # mkfs.xfs wants 300 MiB
POLL_S = 0.002  # a command of the guest takes 40 ms and more


class Done(NamedTuple):
    """What a command of the guest left; `rc` as a shell has it."""

    rc: int
    stdout: str
    stderr: str


def _environment() -> dict[str, str]:
    """Return what the kernel, as a process, needs on a CPU with AMX (see xstate_shim.c)."""
    if "amx_tile" not in Path("/proc/cpuinfo").read_text():
        return {}
    if not SHIM.is_file():
        raise LabError(f"no {SHIM}, which this CPU needs; scripts/setup compiles it")
    return {"LD_PRELOAD": str(SHIM)}


def _written(image: int) -> Iterator[int]:
    """Yield the offsets of the blocks of a sparse file that are stored."""
    at = 0
    while True:
        try:
            at = os.lseek(image, at, os.SEEK_DATA)
        except OSError:  # no data after this
            return
        end = os.lseek(image, at, os.SEEK_HOLE)
        yield from range(at - at % BLOCK, end, BLOCK)
        at = end + -end % BLOCK


class Call:
    """A command that runs in the guest."""

    def __init__(self, guest: Guest, number: int, command: str, timeout_s: float) -> None:
        self._guest = guest
        self._command = command
        self._place = guest.folder / str(number)
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s

    @property
    def done(self) -> Done | None:
        """None while it runs."""
        try:
            rc = self._place.with_suffix(".rc").read_text()
        except FileNotFoundError:
            return None
        if not rc.endswith("\n"):
            return None
        return Done(int(rc), self._read(".stdout"), self._read(".stderr"))

    def _read(self, suffix: str) -> str:
        path = self._place.with_suffix(suffix)
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self) -> Done:
        """Wait for its end. Raises LabError at its time limit, or when the guest has ended."""
        while (done := self.done) is None:
            if not self._guest.alive:
                raise self._guest.error(f"the guest ended in: {self._command}")
            if time.monotonic() > self._deadline:
                said = self._read(".stdout")[-2000:] + self._read(".stderr")[-2000:]
                raise self._guest.late(f"not within {self._timeout_s:g} s: {self._command}\n{said}")
            time.sleep(POLL_S)
        return done


class Guest:
    """A guest with empty disks `/dev/ubda`, `/dev/ubdb`, ...; it boots when it is made.

    Units: disks in MiB, sparse files in `folder`, which is `/guest` in there: files for both sides.
    Shape: `shared` maps files and folders of this machine to where the guest has them, read-only.
    """

    def __init__(
        self,
        folder: Path,
        disks: Sequence[int] = DISKS_MIB,
        *,
        memory_mib: int = 768,
        systemd: bool = False,
        shared: Mapping[Path, str] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._sizes = disks
        self._memory_mib = memory_mib
        self._systemd = systemd
        self._numbers = count(1)
        self.life = 0
        self._line = 0
        kernel = shutil.which("linux.uml")
        if kernel is None or not MODULES.is_dir():
            raise LabError("no User Mode Linux here; scripts/setup installs user-mode-linux")
        self._kernel = kernel
        self._environment = _environment()
        self._blank()
        describe(folder, systemd=systemd, shared=shared or {})
        self.boot()

    # --- disks

    @property
    def images(self) -> list[Path]:
        """The disks as files of this machine, in the order of `devices`."""
        return [self.folder / f"{Path(device).name}.img" for device in self.devices]

    @property
    def devices(self) -> list[str]:
        """The disks as the guest names them."""
        return [f"/dev/ubd{chr(ord('a') + n)}" for n in range(len(self._sizes))]

    def digest(self, device: str) -> str:
        """Return a digest of what has reached a disk: use it after a cut, or a sync inside."""
        found = hashlib.sha256()
        with self.images[self.devices.index(device)].open("rb", buffering=0) as disk:
            for at in _written(disk.fileno()):
                disk.seek(at)
                block = disk.read(BLOCK)
                if any(block):  # a block of zeros may be stored or not
                    found.update(at.to_bytes(8) + block)
        return found.hexdigest()

    def _blank(self) -> None:
        for image, size_mib in zip(self.images, self._sizes, strict=True):
            image.write_bytes(b"")
            os.truncate(image, size_mib << 20)

    @property
    def usable(self) -> bool:
        """Whether it has power, and no command in it that ran out of time."""
        return self.alive and not self._late

    def renew(self) -> Self:
        """Give it blank disks and a new life, unless it has one and never wrote to a disk."""
        if not self.usable or any(image.stat().st_blocks for image in self.images):
            self.cut()
            self._blank()
            self.boot()
        return self

    # --- power

    def boot(self) -> None:
        """Give it power: a new life on the same disks. Raises LabError with its console."""
        (self.folder / "up").unlink(missing_ok=True)
        self.life += 1
        self._late = False
        self._console = self.folder / f"console-{self.life}.log"
        if self._line:
            os.close(self._line)
        theirs, self._line = os.pipe()
        try:
            self._process = Process(
                self._argv(theirs), self._console, fds=(theirs,), cwd=self.folder
            )
        finally:
            os.close(theirs)
        try:
            wait_until("the guest is up", self._is_up, BOOT_S)
        except LabError as error:
            self.cut()
            raise self.error(str(error)) from None

    def _is_up(self) -> bool:
        if not self.alive:
            raise LabError("the guest ended while it booted")
        return (self.folder / "up").exists()

    def _argv(self, line: int) -> list[str]:
        """Return the command that is the guest; its pid namespace ends all processes with it."""
        disks = [f"{image.stem}={image.name}" for image in self.images]
        return [
            *("unshare", "--fork", "--pid", "--kill-child", "--mount", "--mount-proc"),
            *(self._kernel, f"mem={self._memory_mib}M", f"uml_dir={self.folder}/uml", "umid=guest"),
            *("root=none", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "selinux=0"),
            *("con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{line},null", *disks),
            *(f"vm_folder={self.folder}", f"init={HERE}/init.sh"),
            *(SYSTEMD if self._systemd else ()),
        ]

    @property
    def alive(self) -> bool:
        """Whether it has power."""
        return self._process.exit_code is None

    def cut(self) -> None:
        """Take its power away; when this returns, no process of it is left to write to a disk."""
        self._process.kill()
        others = select.poll()
        others.register(self._line, 0)  # an error: nobody has the other end any more
        if not others.poll(END_MS):
            raise self.error("processes of the guest are left")

    def close(self) -> None:
        """Take its power away for good."""
        self.cut()
        os.close(self._line)

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    # --- commands

    def start(self, command: str, timeout_s: float = COMMAND_S) -> Call:
        """Start a shell command in the guest, beside what runs there already."""
        number = next(self._numbers)
        (self.folder / f"{number}.cmd").write_text(command + "\n")
        call = Call(self, number, command, timeout_s)
        os.write(self._line, f"{number}\n".encode())
        return call

    def run(self, command: str, timeout_s: float = COMMAND_S) -> Done:
        """Run a shell command in the guest. Raises LabError when it does not end in time."""
        return self.start(command, timeout_s).wait()

    def must(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a shell command that succeeds; return its output. Raises LabError with it."""
        done = self.run(command, timeout_s)
        if done.rc:
            raise LabError(f"{command}: exit {done.rc}\n{done.stdout}{done.stderr}")
        return done.stdout

    def late(self, message: str) -> LabError:
        """Remember that something still runs in there which nobody waits for."""
        self._late = True
        return self.error(message)

    def error(self, message: str) -> LabError:
        """Return an error that shows the end of the console."""
        text = self._console.read_text(errors="replace")[-3000:]
        return LabError(f"{message}\nthe console of {self._console}:\n{text}")
