"""The step `configure`, version 1: its arguments and its checkpoint as values.

Separate because undo and commit may run in a newer process, long after the settings changed: all
they know is here, read back from the journal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from confsync.host.files import MARK, Attributes
from confsync.model.errors import JournalTooNew
from confsync.model.ids import Digest, Json, digest
from confsync.model.plan import Step

KIND: Final = "configure"
VERSION: Final = 1
_INCLUDE: Final = re.compile(r'^\s*include "([^"\n]+)";', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """One whole file in the place of another one, and what must hold before and after.

    Shape: `old_disk` is the digest of the live file (None = there is none), `old_render` and
    `render` the ids that BIRD shows when it runs the old and the new one.
    """

    config_file: str
    socket: str
    binary: str
    old_disk: Digest | None
    old_render: str | None
    text: str
    render: str
    expect: Json

    @classmethod
    def of(cls, step: Step) -> Change:
        """Read a step's arguments. Raises JournalTooNew."""
        if (step.kind, step.version) != (KIND, VERSION):
            message = f"a step {step.kind!r} version {step.version} was written by a newer confsync"
            raise JournalTooNew(message)
        args, before = step.args, step.args["before"]
        same = {key: args[key] for key in ("config_file", "socket", "binary", "text", "render")}
        return cls(
            **same,
            old_disk=before["disk"],
            old_render=before["running_render"],
            expect=args["expect"],
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
    def includes(self) -> tuple[str, ...]:
        """The files that the text draws in: one password each."""
        return tuple(_INCLUDE.findall(self.text))


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


def beside(config_file: str) -> tuple[str, str, str]:
    """Return all that we may have put beside a live file: candidate, saved copy, cut-off write.

    Why: in the same folder a rename is atomic, and relative includes resolve as in the live file.
    """
    stem = f"{config_file}{MARK}"
    return f"{stem}candidate", f"{stem}saved", f"{stem}fresh"
