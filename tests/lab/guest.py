"""A Debian host that real systemd has booted, on this kernel, in namespaces of its own.

Why nspawn: the unit file can be judged only by the service manager that it is written for. The
root is a cached tree (scripts/tree) under an overlay in memory, so every boot is a fresh install.
Invariant: nothing of a guest outlives this process, and nothing of it is written to the tree.
"""

from __future__ import annotations

import os
import subprocess
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.process import Process
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TREE_S = 60  # scripts/test has made it
BOOT_S = 30
COMMAND_S = 30
UNIT = "/usr/lib/systemd/system/confsync.service"
MOUNTED = {
    "confsync": "/usr/lib/confsync/confsync",
    "systemd/confsync.service": UNIT,
    "systemd/confsync.sysusers": "/usr/lib/sysusers.d/confsync.conf",
    "systemd/confsync.tmpfiles": "/usr/lib/tmpfiles.d/confsync.conf",
}
"""This checkout, at the places where a package puts it."""
NETWORK = """\
[Unit]
Description=One address, as every host has: BIRD's router id comes from it
DefaultDependencies=no
Wants=network.target
Before=network.target
[Service]
Type=oneshot
ExecStart=ip link add host0 type veth peer name host0-peer
ExecStart=ip address add 192.0.2.1/24 dev host0
ExecStart=ip link set host0-peer up
ExecStart=ip link set host0 up
"""
QUIET = ("console-getty.service", "getty.target", "apt-daily.timer", "apt-daily-upgrade.timer")
_numbers = count(1)


def tree() -> Path:
    """Return the Debian tree. Raises LabError where a guest cannot be."""
    owner = Path("/proc/self/uid_map").read_text().split()
    if os.geteuid() or owner[:2] != ["0", "0"]:
        raise LabError("real systemd is booted by root itself: sudo scripts/test")
    argv = [ROOT / "scripts/tree"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TREE_S, check=False)
    if done.returncode:
        raise LabError(f"no Debian tree to boot; run scripts/tree, outside of tests\n{done.stderr}")
    return Path(done.stdout.strip())


class Guest:
    """One booted host with BIRD running on its package's example, and confsync installed."""

    def __init__(self, folder: Path) -> None:
        """Boot it and wait until every unit of the boot has started, and BIRD answers."""
        root = tree()
        folder.mkdir()
        network = folder / "host0.service"
        network.write_text(NETWORK)
        name = f"confsync{os.getpid()}-{next(_numbers)}"
        self._cgroups = [place / name for place in _own_cgroups()]
        try:
            for place in self._cgroups:
                place.mkdir()
        except OSError as error:
            raise LabError(f"real systemd wants cgroups of its own: {error}") from error
        self._boot = Process(
            [*self._entering(), *_nspawn(root, name, network)], folder / "console.log"
        )
        try:
            self._init = wait_until("systemd runs", self._find_init, BOOT_S)
            self._wait_booted()
        except LabError as error:
            error.add_note(f"its console:\n{self._boot.text[-4000:]}")
            self.close()
            raise

    def _wait_booted(self) -> None:
        private = self.path("/run/systemd/private")
        wait_until("systemd listens", private.exists, BOOT_S)
        state = self.run("systemctl", "is-system-running", "--wait", check=False).strip()
        if state != "running":
            raise LabError(f"the guest is {state}: {self.run('systemctl', '--failed')}")
        # systemd takes BIRD for started before it has opened its socket.
        ask = ("birdc", "show", "status")
        wait_until("BIRD answers", lambda: "is up" in self.run(*ask, check=False), BOOT_S)

    def _entering(self) -> list[str]:
        """Return the words that start a command in cgroups where no other guest is."""
        enter = "".join(f"echo $$ >{place}/cgroup.procs; " for place in self._cgroups)
        return ["sh", "-ec", f'{enter}exec "$@"', "sh"]

    def _find_init(self) -> int | None:
        """Return the pid of the guest's systemd, as it is known here."""
        if self._boot.exit_code is not None:
            raise LabError(f"systemd-nspawn cannot run here (exit {self._boot.exit_code})")
        for pid in _descendants(self._boot.pid):
            if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                return pid
        return None

    def path(self, inside: str) -> Path:
        """Return a path of the guest as it is reached from here, sockets too."""
        return Path(f"/proc/{self._init}/root{inside}")

    def run(self, *argv: str, check: bool = True, timeout_s: float = COMMAND_S) -> str:
        """Run a command in the guest; return its output. Raises LabError with it."""
        spaces = ["nsenter", f"--target={self._init}", "--all", "--root", "--wd", "--"]
        home = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "SYSTEMD_PAGER": ""}
        done = subprocess.run(
            [*spaces, *argv],
            env=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            raise LabError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Take its power away."""
        self._boot.kill()
        for place in self._cgroups:
            wait_until(f"{place} is empty", lambda place=place: _removed(place))


def _nspawn(root: Path, name: str, network: Path) -> list[str]:
    """Return the command that boots; its own pid namespace ends every process with it."""
    binds = [f"--bind-ro={ROOT / ours}:{theirs}" for ours, theirs in MOUNTED.items()]
    masks = [f"systemd.mask={unit}" for unit in QUIET]
    return [
        *("unshare", "--fork", "--pid", "--kill-child", "--mount-proc"),
        *("systemd-nspawn", "--quiet", f"--directory={root}", "--volatile=overlay"),
        *(f"--machine={name}", "--register=no", "--keep-unit", "--private-network"),
        *("--link-journal=no", "--console=read-only", *binds),
        f"--bind-ro={network}:/etc/systemd/system/{network.name}",
        *("--boot", "systemd.unit=multi-user.target", f"systemd.wants={network.name}", *masks),
    ]


def _removed(cgroup: Path) -> bool:
    """Remove a tree of cgroups; OSError while a process in there is still dying."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        Path(folder).rmdir()
    return True


def _descendants(pid: int) -> Iterator[int]:
    """Yield the children of a process, theirs, and so on."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def _own_cgroups() -> Iterator[Path]:
    """Yield the folders of our cgroups that systemd manages: its own hierarchy, v2, or both."""
    mounts = {"name=systemd": "systemd", "": "unified"}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, inside = line.split(":", 2)
        if names in mounts:
            top = Path("/sys/fs/cgroup", mounts[names])
            place = (top if top.is_dir() else Path("/sys/fs/cgroup")) / inside.lstrip("/")
            if (place / "cgroup.procs").exists():
                yield place
