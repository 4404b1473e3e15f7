"""Real LVM without device-mapper, for the quick loop: metadata on loop devices of this machine.

Why so little: nothing is ever active in here. It does for reports, names, sizes, tags and refusals
of LVM's own (45 ms a command); a claim about data or safety is made in the guest (tests/vm).
Invariant: a loop device is gone when it is closed, or when this process ends in any way.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from tests.lab.wait import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMAND_S = 20
SYSTEM_DIR = """\
devices {{
    dir = "/dev"
    global_filter = [ {accepted}, "r|.*|" ]
    use_devicesfile = 0
    hints = "none"
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
}}
global {{
    activation = 0
    locking_dir = "{folder}/lock"
    event_activation = 0
    notify_dbus = 0
    use_lvmpolld = 0
}}
activation {{
    udev_sync = 0
    udev_rules = 0
    monitoring = 0
}}
"""


class Loop:
    """A sparse file as a block device."""

    def __init__(self, image: Path, size_mib: int) -> None:
        """Raises LabError where this process may not make one."""
        image.touch()
        os.truncate(image, size_mib << 20)
        self.device = _losetup("--find", "--show", str(image))
        self._open = os.open(self.device, os.O_RDONLY | os.O_CLOEXEC)
        _losetup("--detach", self.device)  # which the kernel does when we close it, or die

    def close(self) -> None:
        """Remove it."""
        os.close(self._open)


class Lvm:
    """An LVM that sees only a few blank loop devices, and keeps all that it writes in a folder."""

    def __init__(self, folder: Path, sizes_mib: Sequence[int] = (64, 64, 64)) -> None:
        folder.mkdir(exist_ok=True)
        self._loops: list[Loop] = []
        for number, size_mib in enumerate(sizes_mib):
            self._loops.append(Loop(folder / f"disk{number}", size_mib))
        accepted = ", ".join(f'"a|^{device}$|"' for device in self.devices)
        (folder / "lvm.conf").write_text(SYSTEM_DIR.format(accepted=accepted, folder=folder))
        self.env = {"LVM_SYSTEM_DIR": str(folder), "LC_ALL": "C"}

    @property
    def devices(self) -> list[str]:
        """The loop devices."""
        return [loop.device for loop in self._loops]

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run `lvm` with these words; every question of its own is answered with no."""
        return subprocess.run(
            ["lvm", *argv],
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def must(self, *argv: str) -> str:
        """Run what succeeds; return its output. Raises LabError with it."""
        done = self.run(*argv)
        if done.returncode:
            raise LabError(f"lvm {' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def report(self) -> Any:
        """Return all groups and volumes, as LVM's own JSON."""
        words = ("--all", "--reportformat", "json", "--units", "b", "--nosuffix")
        return json.loads(self.must("fullreport", *words))["report"]

    def close(self) -> None:
        """Remove the devices."""
        for loop in self._loops:
            loop.close()


def _losetup(*words: str) -> str:
    done = subprocess.run(["losetup", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"no loop devices; only this machine's root has them: {done.stderr.strip()}")
    return done.stdout.strip()
