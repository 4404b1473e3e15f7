"""Record what LVM and lsblk say of every layout: `python -m tests.vm.record [LAYOUT ...]`.

Each layout is made once, under udevd, and told twice, so that both dialects describe the very same
storage: by this Debian's LVM in `json`, by that of Debian 13 (scripts/tree trixie) in `json_std`.
Shape: reports/<layout>/{report.json,report.std.json,lsblk.json,stderr}.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from confsync.drivers.lvm.blocks import COMMAND as LSBLK
from confsync.drivers.lvm.report import COMMAND as FULLREPORT
from tests.vm.guest import Guest
from tests.vm.layouts import BLANK, LAYOUTS
from tests.vm.root import ROOT

REPORTS = ROOT / "tests/drivers/lvm/reports"
NEWER = """
set -e
for folder in dev proc sys run; do mount --rbind /$folder /newer/$folder; done
"""


def record(guest: Guest, layout: str) -> None:
    """Make a layout on blank disks and write what is told of it."""
    names = " ".join(f"{device[-1]}={device}" for device in guest.devices)
    guest.must(BLANK)
    guest.must(f"set -e\n{names}\n{LAYOUTS[layout]}", 60)
    guest.must("udevadm settle")
    folder = REPORTS / layout
    folder.mkdir(parents=True, exist_ok=True)
    told = guest.run(f"lvm {shlex.join(FULLREPORT)} --reportformat json")
    assert told.rc == 0, told
    (folder / "report.json").write_text(told.stdout)
    (folder / "stderr").write_text(told.stderr)
    newer = guest.must(f"chroot /newer lvm {shlex.join(FULLREPORT)} --reportformat json_std")
    (folder / "report.std.json").write_text(newer)
    (folder / "lsblk.json").write_text(guest.must(shlex.join(LSBLK)))


def main(layouts: list[str]) -> None:
    """Record these layouts, or all."""
    made = subprocess.run([ROOT / "scripts/tree", "trixie"], stdout=subprocess.PIPE, check=True)
    newer = Path(made.stdout.decode().strip())
    with (
        tempfile.TemporaryDirectory() as folder,
        Guest(Path(folder), (64,) * 6, systemd=True, shared={newer: "/newer"}) as guest,
    ):
        guest.must(NEWER)
        for layout in layouts or LAYOUTS:
            sys.stderr.write(f"{layout}\n")
            record(guest, layout)


if __name__ == "__main__":
    main(sys.argv[1:])
