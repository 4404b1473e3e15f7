"""The step of Felix, version 1: one file exchanged, and the daemon restarted once.

Separate because undo may run in a newer process, long after the settings changed: all it knows is
here, read back from the journal.
"""

from __future__ import annotations

import base64
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from confsync.model.arguments import arguments_of
from confsync.model.ids import Digest
from confsync.model.plan import Step

KIND: Final = "felix.configure"
VERSION: Final = 1


def _bytes(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


Bytes = Annotated[
    bytes, BeforeValidator(_bytes), PlainSerializer(lambda raw: base64.b64encode(raw).decode())
]


class Change(BaseModel):
    """What becomes of `felix.cfg`.

    Shape: `was` is the digest of the file that the plan was made for, None = there is none;
    `restart` = the daemon reads something else afterwards; `health_begins` = the change makes it
    answer at `health_url`, where it did not before, and `health_ends` the other way round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config_file: str
    data: Bytes
    was: Digest | None
    service: str
    systemctl: str
    health_url: str
    restart: bool
    health_begins: bool = False
    health_ends: bool = False


def change_of(step: Step) -> Change:
    """Return the arguments of a step. Raises JournalTooNew."""
    return arguments_of(step, KIND, VERSION, Change)
