"""Durations as Calico's resources have them: read in any form, written as Go writes them.

Separate because Calico stores what Go makes of them: 90s comes back as 1m30s, and would look like
somebody else's change.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from confsync.model.shapes import fault, shown

_PART: Final = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,9})?)(ms|s|m|h)", re.ASCII)
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_MAX_MS: Final = (2**63 - 1) // 1_000_000
"""What Go can hold, in nanoseconds."""


def read_duration(value: object) -> str:
    """Return a duration as Go writes it."""
    message = f"{shown(value)} is not a duration"
    if type(value) is int or value == "0":
        raise fault("CS-V314", message, f'say the unit, like "{value}s"')
    if not isinstance(value, str) or not re.fullmatch(f"({_PART.pattern})+", value, re.ASCII):
        raise fault("CS-V314", message, "write it like 90s, 1m30s or 500ms")
    length_ms = sum(Decimal(part[1]) * _UNIT_MS[part[2]] for part in _PART.finditer(value))
    if length_ms != int(length_ms) or length_ms > _MAX_MS:
        raise fault("CS-V314", message, "use whole milliseconds, at most 292 years")
    return written(int(length_ms))


def written(length_ms: int) -> str:
    """Return a duration as Go writes it, such as ``1m30s`` or ``1h0m0s``."""
    if 0 < length_ms < _UNIT_MS["s"]:
        return f"{length_ms}ms"
    minutes, rest_ms = divmod(length_ms, _UNIT_MS["m"])
    hours, minutes_left = divmod(minutes, 60)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes_left}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
