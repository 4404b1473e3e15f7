"""Waiting for a condition of real processes, with a deadline and a reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class LabError(Exception):
    """Something of the lab did not come up, answer or settle in time."""


def wait_until(
    what: str, look: Callable[[], T | None], timeout_s: float = 20, every_s: float = 0.02
) -> T:
    """Return the first true answer of `look`; an OSError of it counts as "not yet"."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while True:
        try:
            if answer := look():
                return answer
            last = answer
        except OSError as error:
            last = error
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout_s:g} s: {what} (last seen: {last!r})")
        time.sleep(every_s)
