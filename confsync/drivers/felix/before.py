"""The checkpoint of Felix: what the driver saves before it acts, and goes back to.

Separate because it is made of a file as the disk has it, and what is planned must know no disk.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from confsync.drivers.felix.step import Bytes
from confsync.host.files import Attributes, File
from confsync.model.ids import Json


class Before(BaseModel):
    """The checkpoint: the file that stood there, and the process that had read it.

    Shape: `data` None = there was no file; `pid` 0 = no process at that moment;
    `stopped` = somebody wanted it so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Bytes | None
    mode: int = 0
    uid: int = 0
    gid: int = 0
    label: Bytes = b""
    pid: int = 0
    stopped: bool = False

    @classmethod
    def of(cls, found: File | None, pid: int, *, stopped: bool) -> Before:
        if found is None:
            return cls(data=None, pid=pid, stopped=stopped)
        kept = found.attributes
        return cls(
            data=found.data,
            mode=kept.mode,
            uid=kept.uid,
            gid=kept.gid,
            label=kept.label,
            pid=pid,
            stopped=stopped,
        )

    @property
    def attributes(self) -> Attributes:
        return Attributes(self.mode, self.uid, self.gid, self.label)

    def as_json(self) -> Json:
        return self.model_dump(mode="json")
