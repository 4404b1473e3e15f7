"""What stands on a host: the file of Felix, and what it is read with.

Separate because observing makes it and planning reads it, in another process perhaps: it is JSON
in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from confsync.drivers.felix.render import read_file
from confsync.model.errors import HostRefused
from confsync.model.ids import Digest, Json, digest
from confsync.model.section import Ownership

_MARK: Final = "# confsync "
_SEAL_CHARS: Final = 32


def sealed(body: bytes) -> bytes:
    """Return a file of ours: its first line tells whether the rest is as we wrote it."""
    return f"{_MARK}{digest(body)[:_SEAL_CHARS]}\n".encode() + body


class Found(BaseModel):
    """`felix.cfg` as it is; `text` None = there is no such file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None
    digest: Digest | None

    @classmethod
    def of(cls, data: bytes | None) -> Found:
        """Return what a file says; what is no UTF-8 was not written by us."""
        if data is None:
            return cls(text=None, digest=None)
        return cls(text=data.decode(errors="replace"), digest=digest(data))

    def ownership(self, adopted: Digest | None) -> Ownership:
        """Tell whose the file is; `adopted` is the digest of one that was taken over."""
        if self.text is None or not self.text.strip() or self.digest == adopted:
            return Ownership.OWNED
        if not self.text.startswith(_MARK):
            return Ownership.EDITED if adopted else Ownership.FOREIGN
        first, _, body = self.text.partition("\n")
        intact = sealed(body.encode()).decode().startswith(f"{first}\n")
        return Ownership.OWNED if intact else Ownership.EDITED

    @property
    def parameters(self) -> Mapping[str, str]:
        """Return what Felix would read, by the names as they are written."""
        return read_file(self.text or "")


class Host(BaseModel):
    """Felix on one host.

    Shape: `version` is Calico's; `environment` are the variables that the process was started
    with, names in small letters and without the prefix (None = unknown).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    config_file: str
    service: str
    systemctl: str
    health_url: str
    file: Found
    running: bool
    environment: Mapping[str, str] | None

    def notes(self) -> tuple[str, ...]:
        """Return what people should know of it."""
        notes = [] if self.running else [f"{self.service} does not run"]
        if self.running and self.environment is None:
            notes.append(f"whether the environment of {self.service} hides parameters is unknown")
        try:
            names = sorted(self.file.parameters)
        except HostRefused as fault:
            return (*notes, str(fault))
        notes += [
            f"{name} has no effect: the environment has FELIX_{name.upper()}"
            for name in names
            if self.hides(name)
        ]
        return tuple(notes)

    def hides(self, name: str) -> bool:
        """Tell whether a parameter of the file has no effect."""
        return name.lower() in (self.environment or {})

    @classmethod
    def read(cls, detail: Json) -> Host:
        """Return what a driver observed."""
        return cls.model_validate(detail)
