"""Who wrote over the file that was ours, in words for people.

Separate because "another manager fights us" is only of use with a name, a time and a line. A line
that holds a secret is never shown.
"""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final

_SHOWN_CHARS: Final = 60
_SECRET: Final = ("password", "setkey")


def traces(path: str, text: str, wrote: str) -> str:
    """Return owner, time and the first line that differs from what we wrote (empty = unknown)."""
    try:
        found = os.stat(path)
    except OSError:
        return f"{path} is gone"
    at = datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds")
    said = f"{path}, now of {_name(found.st_uid)}, written at {at.replace('+00:00', 'Z')}"
    return f"{said}; {_difference(text, wrote)}" if wrote else said


def _difference(text: str, wrote: str) -> str:
    lines = zip_longest(text.splitlines(), wrote.splitlines(), fillvalue="")
    for number, (theirs, own) in enumerate(lines, start=1):
        if theirs != own:
            return f"line {number} is {_shown(theirs)}, we had written {_shown(own)}"
    return "its lines are those that we had written"


def _shown(line: str) -> str:
    if any(word in line for word in _SECRET):
        return "(a secret)"
    return repr(line.strip()[:_SHOWN_CHARS]) if line.strip() else "empty"


def _name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
