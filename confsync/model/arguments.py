"""The arguments of a step as a typed value, read back from what the journal kept.

Separate because a plan is known without pydantic, which takes a while to load.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from confsync.model.errors import JournalTooNew
from confsync.model.plan import Step

M = TypeVar("M", bound=BaseModel)


def arguments_of(step: Step, kind: str, version: int, shape: type[M]) -> M:
    """Return the arguments of a step of one codec. Raises JournalTooNew for any other one."""
    if (step.kind, step.version) != (kind, version):
        raise JournalTooNew(f"step {step.kind} of version {step.version} is of a newer confsync")
    try:
        return shape.model_validate(step.args)
    except ValidationError as fault:
        raise JournalTooNew(f"the arguments of {step.kind} cannot be read: {fault}") from fault
