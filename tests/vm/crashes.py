"""What a killed `lvm` leaves behind, and what mends it, as measured: data for whoever heals.

Measured on lvm2 2.03.16: SIGKILL at every single io_submit and ioctl of each command (strace's
injection is exact), on three physical volumes with one active volume `vg0/old` of 16 MiB. A kill
between two such calls cannot be told from one at the second.
"""

from __future__ import annotations

import json
import subprocess
from typing import Final, NamedTuple

CALLS: Final = (
    "io_submit",
    "ioctl",
)  # metadata are written by the one, tables changed by the other
HALF: Final = "half-written"
PREPARE: Final = """\
vgcreate vg0 /dev/ubda /dev/ubdb /dev/ubdc
lvcreate --yes --size 16m --name old vg0
"""
MEND_HALF: Final = "vgck --updatemetadata vg0"
REMOVE: Final = "lvremove --yes vg0/new"
REFRESH: Final = "lvchange --refresh vg0/{} && lvchange --refresh vg0/{}"
"""Twice: the first may resume a table that was never committed, the second puts that right."""
LOOK: Final = (
    *("lvs", "--reportformat", "json", "--units", "m", "--nosuffix", "--options"),
    "lv_name,lv_attr,lv_size,lv_inactive_table",
    "vg0",
)


class Crash(NamedTuple):
    """A command, and the states in which a SIGKILL at some call can leave the group.

    Shape: `leaves` maps what `look` finds to the shell command that mends it (empty = nothing to
    mend); `old` and `new` are what it finds before the command, and after it.
    """

    command: str
    old: str
    new: str
    leaves: dict[str, str]


CRASHES: Final = {
    "create": Crash(
        "lvcreate --yes --size 16m --name new vg0",
        old="old a 16",
        new="new a 16, old a 16",
        leaves={
            "old a 16": "",
            "new - 16, old a 16": REMOVE,  # in the metadata, not active, and not wiped
            f"{HALF}, new - 16, old a 16": f"{MEND_HALF} && {REMOVE}",
            "new X 16, old a 16": REMOVE,  # a device without a table
            "new i 16 preloaded, old a 16": REMOVE,  # a device whose table is not live
            "new a 16, old a 16": "",
        },
    ),
    "extend": Crash(
        "lvextend --size 32m vg0/old",
        old="old a 16",
        new="old a 32",
        leaves={
            "old a 16": "",
            "old a 16 preloaded": REFRESH.format("old", "old"),
            "old s 16 preloaded": REFRESH.format("old", "old"),  # its I/O stands still
            f"{HALF}, old X 32 preloaded": f"{MEND_HALF} && " + REFRESH.format("old", "old"),
            "old X 32 preloaded": REFRESH.format("old", "old"),  # the same, with new metadata
            "old a 32": "",
        },
    ),
    "rename": Crash(
        "lvrename vg0 old new",
        old="old a 16",
        new="new a 16",
        leaves={
            "old a 16": "",
            "old s 16": REFRESH.format("old", "old"),
            f"{HALF}, new s 16": f"{MEND_HALF} && " + REFRESH.format("new", "new"),
            "new s 16": REFRESH.format(
                "new", "new"
            ),  # under the old name in device-mapper, or the new
            "new a 16": "",
        },
    ),
}


def look() -> str:
    """Return the state of the group in one line, as `leaves` has it.

    Shape: each volume's name, fifth letter of lv_attr and MiB, `preloaded` when a second table
    waits; `half-written` in front when the physical volumes disagree.
    """
    done = subprocess.run(LOOK, capture_output=True, text=True, timeout=30, check=True)
    words = [HALF] if "metadata seqno" in done.stderr else []
    for row in json.loads(done.stdout)["report"][0]["lv"]:
        waits = " preloaded" if row["lv_inactive_table"] == "inactive table present" else ""
        size_mib = round(float(row["lv_size"]))
        words.append(f"{row['lv_name']} {row['lv_attr'][4]} {size_mib}{waits}")
    return ", ".join(words)
