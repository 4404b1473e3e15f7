"""What a guest has as its root, written down for init.sh and serve.sh.

Why separate: guest.py is about power and commands and needs to know only one folder.
Shape: in the folder lie `fstab.root` and `fstab` for `mount --all`, `boot.env`, `serve.env`,
serve.sh itself, and `lib/modules` as modprobe wants it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.lab import guest as nspawn

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = Path("/usr/lib/uml/modules")
OURS = {path: str(path) for path in (ROOT, Path(sys.prefix))}  # the checkout, the environment
INSIDE = "/guest"  # where a guest has its folder
TOP = "/mnt/root"  # where init.sh builds the root
SERVE = """\
[Unit]
Description=The hand of the tests
[Service]
ExecStart=/bin/bash /guest/serve.sh
KillMode=process
"""
TRIGGER = """\
[Service]
ExecStart=
ExecStart=udevadm trigger --type=devices --action=add --subsystem-match=block
"""  # not for 600 terminals, which takes 10 s
UNITS = {
    "guest.service": SERVE,
    "host0.service": nspawn.NETWORK,
    "systemd-udev-trigger.service.d/block.conf": TRIGGER,
}
MASKED = (  # each program costs 100 ms and more, and none of these matters to a test
    *nspawn.QUIET,
    *("dev-hugepages.mount", "dev-mqueue.mount", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "kmod-static-nodes.service"),
    *(f"modprobe@{name}.service" for name in ("configfs", "dm_mod", "drm", "efi_pstore", "fuse")),
    *("modprobe@loop.service", "serial-getty@ttyS0.service", "sys-kernel-config.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-binfmt.service"),
    *("systemd-journal-catalog-update.service", "systemd-logind.service"),
    *("systemd-modules-load.service", "systemd-random-seed.service", "systemd-sysctl.service"),
    *("systemd-remount-fs.service", "systemd-update-utmp.service", "tmp.mount"),
    *("systemd-update-utmp-runlevel.service", "xfs_scrub_all.timer"),
)
SYSTEMD = (
    "systemd.unit=multi-user.target",
    *("systemd.wants=guest.service", "systemd.wants=host0.service"),
    *(f"systemd.mask={unit}" for unit in MASKED),
)
"""The words for systemd on the kernel's command line."""


class Mount(NamedTuple):
    """A line of fstab; `where` is in the guest."""

    what: str
    where: str
    kind: str
    options: str = "defaults"

    def __str__(self) -> str:
        """Have the mount point made, too."""
        return f"{self.what} {TOP}{self.where} {self.kind} X-mount.mkdir,{self.options} 0 0\n"


PLAIN = (  # systemd mounts these itself
    Mount("proc", "/proc", "proc"),
    Mount("sys", "/sys", "sysfs"),
    Mount("run", "/run", "tmpfs", "mode=755"),
    Mount("shm", "/dev/shm", "tmpfs", "mode=1777"),
    Mount("pts", "/dev/pts", "devpts", "newinstance,ptmxmode=0666"),
)
ALWAYS = (  # of the machine's own, only its root can read these
    Mount("lvm", "/etc/lvm/archive", "tmpfs"),
    Mount("lvm", "/etc/lvm/backup", "tmpfs"),
)


def describe(folder: Path, *, systemd: bool, shared: Mapping[Path, str]) -> None:
    """Describe a guest: on this machine's own tree, or with systemd on that of scripts/tree."""
    shared = {**(_units(folder) if systemd else OURS), **shared}
    tree = nspawn.tree() if systemd else Path("/")
    # Without systemd anybody may boot it, and then root's set-user-id programs would be nobody's.
    layers = f"lowerdir={tree},upperdir=/mnt/upper,workdir=/mnt/work{'' if systemd else ',nosuid'}"
    first = (Mount("root", "", "overlay", layers), Mount("dev", "/dev", "devtmpfs"))
    (folder / "fstab.root").write_text("".join(map(str, first)))
    release = next(MODULES.iterdir()).name
    shared[MODULES / release] = f"/lib/modules/{release}"
    binds = [Mount(str(here), there, "none", "bind") for here, there in shared.items()]
    mounts = [Mount("folder", INSIDE, "hostfs", str(folder)), *binds, *ALWAYS]
    mounts += () if systemd else PLAIN
    (folder / "fstab").write_text("".join(map(str, mounts)))
    modules = folder / "lib/modules"
    modules.parent.mkdir(exist_ok=True)
    modules.unlink(missing_ok=True)
    modules.symlink_to(MODULES)
    files = [f"{TOP}{there}" for here, there in shared.items() if here.is_file()]
    flag = "true" if systemd else "false"
    (folder / "boot.env").write_text(f"systemd={flag} files=({shlex.join(files)})\n")
    (folder / "serve.env").write_text(_environment(ours=not systemd))
    shutil.copy(HERE / "serve.sh", folder)


def _units(folder: Path) -> dict[Path, str]:
    """Write the units that every guest has; return them and confsync's files, and their places."""
    shared = {ROOT / here: there for here, there in nspawn.MOUNTED.items()}
    for name, text in UNITS.items():
        unit = folder / name
        unit.parent.mkdir(exist_ok=True)
        unit.write_text(text)
        shared[unit] = f"/etc/systemd/system/{name}"
    return shared


def _environment(*, ours: bool) -> str:
    """Return what serve.sh sources: the environment of commands, and where they start."""
    words = {name: value for name, value in os.environ.items() if name.startswith("CONFSYNC_")}
    words |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    if ours:
        words |= {"PATH": f"{sys.prefix}/bin:{words['PATH']}", "CONFSYNC_TEST_GUEST": INSIDE}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in words.items()]
    return "".join([*lines, f"start_in={ROOT if ours else '/'}\n"])
