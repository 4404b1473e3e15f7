"""The step of Calico, version 1: what becomes of one object.

Separate because undo may run on another host and in a newer process: all it knows is here, and in
the object that stood there before.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from confsync.drivers.calico.resources import Kind, ObjectKey
from confsync.model.arguments import arguments_of
from confsync.model.ids import Json
from confsync.model.plan import Step

KIND: Final = "calico.object"
VERSION: Final = 1


class Change(BaseModel):
    """One object's change.

    Shape: `want` is its body, None = it goes; of a
    FelixConfiguration `want` has our fields only, and `drop` those that were ours. `version` is
    the resource version that was planned on, None = there was no such object.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calicoctl: str
    config_file: str
    kind: Kind
    namespace: str = ""
    name: str
    want: Any
    drop: tuple[str, ...] = ()
    version: str | None

    @property
    def key(self) -> ObjectKey:
        """Return which object it is."""
        return ObjectKey(self.kind, self.namespace, self.name)


def change_of(step: Step) -> Change:
    """Return the arguments of a step. Raises JournalTooNew."""
    return arguments_of(step, KIND, VERSION, Change)


def found_of(saved: Json) -> Json:
    """Return the object of a checkpoint, None = there was none."""
    return saved["object"]
