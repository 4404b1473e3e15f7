"""The step `configure`, versions 1 and 2: its arguments and its checkpoint as values.

Separate because undo and commit may run in a newer process, long after the settings changed: all
they know is here, read back from the journal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confsync.host.files import MARK, Attributes
from confsync.model.errors import JournalTooNew
from confsync.model.ids import Digest, Json, digest
from confsync.model.plan import Step

KIND: Final = "configure"
VERSIONS: Final = (1, 2)  # 1 knew no main file
_INCLUDE: Final = re.compile(r'\s*include "([^"\n]+)";')


@dataclass(frozen=True, slots=True)
class Change:
    """One whole file in the place of another one, and what must hold before and after.

    Shape: `config_file` is the file that we write; `main_file` is the operator's that draws it in
    (empty = ours is the main file). `old_disk` and `main_disk` are their digests (None = there is
    none), `old_render` and `render` the ids that BIRD shows when it runs the old and the new one.
    """

    config_file: str
    socket: str
    binary: str
    old_disk: Digest | None
    old_render: str | None
    text: str
    render: str
    expect: Json
    main_file: str = ""
    main_disk: Digest | None = None

    @classmethod
    def of(cls, step: Step) -> Change:
        """Read a step's arguments. Raises JournalTooNew."""
        if step.kind != KIND or step.version not in VERSIONS:
            message = f"a step {step.kind!r} version {step.version} was written by a newer confsync"
            raise JournalTooNew(message)
        args, before = step.args, step.args["before"]
        same = {key: args[key] for key in ("config_file", "socket", "binary", "text", "render")}
        return cls(
            **same,
            old_disk=before["disk"],
            old_render=before["running_render"],
            expect=args["expect"],
            main_file=args.get("main_file", ""),
            main_disk=before.get("main_disk"),
        )

    @property
    def data(self) -> bytes:
        return self.text.encode()

    @property
    def new_disk(self) -> Digest:
        return digest(self.data)

    @property
    def candidate(self) -> str:
        return beside(self.config_file)[0]

    @property
    def saved(self) -> str:
        return beside(self.config_file)[1]

    @property
    def live(self) -> str:
        """The file that BIRD reads by itself."""
        return self.main_file or self.config_file

    @property
    def trial(self) -> str:
        """The file that BIRD is asked to try: the candidate, or a main file that draws it in."""
        return beside(self.live)[0]

    @property
    def traces(self) -> tuple[str, ...]:
        """All that we may have put beside the files."""
        return tuple(dict.fromkeys([*beside(self.config_file), *beside(self.live)]))

    @property
    def passwords(self) -> tuple[str, ...]:
        """The files that sessions draw in: one password each."""
        return tuple(name for name, inside in _includes(self.text) if inside)

    @property
    def foreign(self) -> tuple[str, ...]:
        """The files of other hands that the text draws in."""
        return tuple(name for name, inside in _includes(self.text) if not inside)


@dataclass(frozen=True, slots=True)
class Before:
    """The checkpoint: what stood there, beside the copy of the live file that lies next to it.

    Why: a hand-written file may hold secrets, so its bytes are copied on disk, under the same
    owner and mode, and never enter the journal.
    """

    disk: Digest | None
    attributes: Attributes
    running_render: str | None
    disabled: tuple[str, ...]
    reconfigured: str

    @property
    def existed(self) -> bool:
        return self.disk is not None

    def as_json(self) -> Json:
        return {
            "disk": self.disk,
            "existed": self.existed,
            "mode": self.attributes.mode,
            "uid": self.attributes.uid,
            "gid": self.attributes.gid,
            "label": self.attributes.label.decode("latin-1"),
            "running_render": self.running_render,
            "disabled": list(self.disabled),
            "reconfigured": self.reconfigured,
        }

    @classmethod
    def of(cls, saved: Json) -> Before:
        """Read a checkpoint back."""
        label = saved["label"].encode("latin-1")
        return cls(
            disk=saved["disk"],
            attributes=Attributes(saved["mode"], saved["uid"], saved["gid"], label),
            running_render=saved["running_render"],
            disabled=tuple(saved["disabled"]),
            reconfigured=saved["reconfigured"],
        )


def _includes(text: str) -> Iterator[tuple[str, bool]]:
    """Yield what our text draws in, and whether it stands inside a block."""
    inside = False
    for line in text.splitlines():
        if found := _INCLUDE.fullmatch(line):
            yield found[1], inside
        elif line[:1].strip():
            inside = line.endswith("{")


def beside(config_file: str) -> tuple[str, str, str]:
    """Return all that we may have put beside a live file: candidate, saved copy, cut-off write.

    Why: in the same folder a rename is atomic, and relative includes resolve as in the live file.
    """
    stem = f"{config_file}{MARK}"
    return f"{stem}candidate", f"{stem}saved", f"{stem}fresh"
