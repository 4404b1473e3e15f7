"""Whose BIRD's configuration is, and whether we may write it.

Separate because a wrong answer overwrites somebody's work. Default: not ours. Ours is what bears
our id and was not touched since; what there is nothing to lose of; and what was adopted, as long
as it is, included files and all, what it was then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from confsync.drivers.bird.includes import Tree, includes, read_tree, repointed
from confsync.drivers.bird.observe import View
from confsync.drivers.bird.render import is_intact, render_id
from confsync.host.files import File, read_file
from confsync.model import limits
from confsync.model.errors import HostBusy, NotOwned
from confsync.model.ids import Digest, Json, digest
from confsync.model.section import Ownership

EXAMPLES: Final = frozenset(
    {
        # Debian's untouched /etc/bird/bird.conf: bullseye (2.0.7) and bookworm (2.0.12); trixie.
        Digest("b1771f5b3ea665544cfe7dbadf3421fe077630e1d1a5d068edf75822af226052"),
        Digest("411cd66de9592b4ac4cf1dc537a34bbf60fce7bd74474256663f39015fd9a9e8"),
    }
)
ADOPT: Final = "confsync adopt bird"
_TALKING: Final = frozenset({"BGP", "OSPF", "RIP", "Babel", "RPKI"})
_CLOCK_S: Final = 1.0  # a file's time is cut to the kernel's tick, BIRD's is not


@dataclass(frozen=True, slots=True)
class Found:
    """What the disk holds.

    Shape: `file` is the file that we write, or would; `main` the operator's that must draw it in
    (empty = it is the main file itself), `main_disk` its digest; `tree` is all that BIRD reads,
    read only where it is not ours alone; `misdrawn` says why the main file does not draw ours in.
    """

    file: str
    live: File | None
    main: str = ""
    main_disk: Digest | None = None
    misdrawn: str = ""
    tree: Tree | None = None
    written_at_s: float = 0.0
    drawn_in: Mapping[str, Digest] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What is no UTF-8 was not written by us, and never looks intact."""
        return self.live.data.decode(errors="replace") if self.live else ""

    @property
    def disk(self) -> Digest | None:
        return digest(self.live.data) if self.live else None

    @property
    def ours(self) -> bool:
        return render_id(self.text) is not None

    @property
    def nothing_to_lose(self) -> bool:
        """Tell whether there is no file, or only the distribution's or an empty one."""
        return not self.text.strip() if self.main else self.live is None or self.disk in EXAMPLES


def find(file: str, main: str = "") -> Found:
    """Read what the disk holds. Raises NotOwned, HostBusy."""
    live = read_file(file, limits.BIRD_FILE_BYTES)
    root = main or file
    tree = None
    text = live.data.decode(errors="replace") if live else ""
    if main or not is_intact(text) or includes(text):
        tree = read_tree(root)
    if main and tree is None:
        raise NotOwned(f"{main} does not exist: in fragment mode it is yours to write")
    return Found(
        file=file,
        live=live,
        main=main,
        main_disk=digest(tree.main.data) if main and tree else None,
        misdrawn=_misdrawn(tree, main, file) if main and tree else "",
        tree=tree,
        written_at_s=_written_at_s(tree),
        drawn_in=tree.drawn_in(file) if tree and not main else {},
    )


def judge(found: Found, seen: View, adopted: Json | None) -> tuple[Ownership, str]:
    """Return whose the file is, and in one sentence why we keep off (empty = we need not)."""
    if found.ours:
        return _judge_ours(found, seen)
    if seen.marker is not None and found.nothing_to_lose:
        return Ownership.EDITED, "BIRD runs what confsync wrote, but the file is gone"
    if adopted is not None:
        changed = since_adopted(found, adopted) or found.misdrawn
        if not changed and seen.marker is not None:
            changed = "BIRD runs another configuration than its file holds"
        return (Ownership.EDITED, changed) if changed else (Ownership.OWNED, "")
    if not found.nothing_to_lose:
        reason = f"the configuration file was not written by confsync, see: {ADOPT} --plan"
        return Ownership.FOREIGN, found.misdrawn or reason
    if any(one.proto in _TALKING for one in seen.protocols.values()):
        # Sessions that its file does not have were loaded from a file that we do not know.
        whose = "runs sessions of its main file" if found.main else "runs sessions that its"
        more = "" if found.main else " configuration file does not have"
        return Ownership.FOREIGN, f"BIRD {whose}{more}, see: {ADOPT} --plan"
    return (Ownership.FOREIGN, found.misdrawn) if found.misdrawn else (Ownership.OWNED, "")


def since_adopted(found: Found, adopted: Json) -> str:
    """Return what changed on disk since it was adopted, in one sentence; empty = nothing."""
    again = f"adopt it again: {ADOPT}"
    if found.disk != adopted["disk"] and not (found.main and found.nothing_to_lose):
        word = "changed" if found.live else "vanished"
        return f"{found.file} {word} since it was adopted; {again}"
    was, now = adopted["files"], found.drawn_in
    for path in sorted(was.keys() | now.keys()):
        if was.get(path) != now.get(path):
            word = "vanished" if path not in now else "changed" if path in was else "was added"
            return f"{path}, which {found.file} includes, {word} since it was adopted; {again}"
    return ""


def findings(found: Found, seen: View, complaint: str) -> tuple[str, ...]:
    """Return what people should know of files that are not ours alone."""
    notes = []
    root = found.main or found.file
    if complaint:
        notes.append(f"{root} does not parse, a restart of BIRD would fail: {complaint}")
    elif found.tree and found.tree.problem:
        notes.append(found.tree.problem)
    elif read_late(found, seen):
        notes.append(f"{root} was written after BIRD last read it")
    return tuple(notes)


def read_late(found: Found, seen: View) -> bool:
    """Tell whether a file was written after BIRD last read it; unknown = no."""
    told = seen.reconfigured.removeprefix("Last reconfiguration on ")
    try:
        read_at = datetime.fromisoformat(told)
    except ValueError:  # the time of day alone, or a `timeformat` of an operator's own
        return False
    return found.written_at_s > read_at.timestamp() + _CLOCK_S


def _judge_ours(found: Found, seen: View) -> tuple[Ownership, str]:
    if not is_intact(found.text):
        return Ownership.EDITED, "the configuration file was edited after confsync wrote it"
    if seen.marker != render_id(found.text):
        return Ownership.EDITED, "BIRD runs another configuration than its file holds"
    return (Ownership.EDITED, found.misdrawn) if found.misdrawn else (Ownership.OWNED, "")


def _misdrawn(tree: Tree, main: str, file: str) -> str:
    try:
        repointed(tree.main.data.decode(errors="replace"), main, file, file)
    except NotOwned as fault:
        return str(fault)
    return ""


def _written_at_s(tree: Tree | None) -> float:
    """Return when the newest of the files was written."""
    try:
        return max((os.stat(path).st_mtime for path in tree.files), default=0.0) if tree else 0.0
    except OSError as fault:
        raise HostBusy(f"{fault.filename}: {fault.strerror}") from fault


def reads_elsewhere(found: str, file: str) -> str:
    """Return why it would change nothing to write a file; empty = it is the one BIRD reads."""
    if not found or found == file or Path(found).resolve() == Path(file).resolve():
        return ""
    return f"BIRD reads {found}, not {file}: mend confsync's settings"
