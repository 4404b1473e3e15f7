"""The leaves of filters and sets: one reader each, as `fields` has them for the rest.

Separate because these are BIRD's route language, of which only what is certain may be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from confsync.drivers.bird import syntax
from confsync.drivers.bird.fields import ASN_MAX, read_asn
from confsync.model.limits import BGP_TEXT_CHARS
from confsync.model.shapes import fault, shown

_PAIR_MAX: Final = 65_535
_SPAN: Final = re.compile(r"([0-9]{1,10})-([0-9]{1,10})", re.ASCII)


def read_asns(value: object) -> tuple[int, int]:
    """Return a range of AS numbers, both ends included; one number is a range of its own."""
    if isinstance(value, str) and (span := _SPAN.fullmatch(value)):
        low, high = read_asn(span[1]), read_asn(span[2])
        if low > high:
            raise fault("CS-V043", f"{shown(value)} holds no number", f"write {high}-{low}")
        return low, high
    only = read_asn(value)
    return only, only


def community_of(parts: int, *, patterns: bool) -> Callable[[object], str]:
    """Return the reader of a community of two parts, or of a large one of three.

    `patterns` = a part may be `*` or a range such as 1-9.
    """
    most = _PAIR_MAX if parts == 2 else ASN_MAX  # noqa: PLR2004
    example = "65501:100" if parts == 2 else "65501:1:100"  # noqa: PLR2004

    def read(value: object) -> str:
        found = value.split(":") if isinstance(value, str) else []
        if len(found) != parts or not all(_fits(one, most, patterns=patterns) for one in found):
            hint = f"write it like {example}, each part at most {most}"
            raise fault("CS-V069", f"{shown(value)} is not a community", hint)
        return ":".join(found)

    return read


def _fits(part: str, most: int, *, patterns: bool) -> bool:
    if part == "*":
        return patterns
    ends = part.split("-", 1) if patterns else [part]
    if not all(end.isascii() and end.isdigit() and len(end) <= len(str(most)) for end in ends):
        return False
    return int(ends[0]) <= int(ends[-1]) <= most


def read_path(value: object) -> str:
    """Return a mask of AS paths, such as ``* 65001 ?``."""
    return _written(
        value, syntax.mask, "a mask of AS paths", 'use numbers, 1..9, *, ? and +: "* 65001"'
    )


def read_call(value: object) -> str:
    """Return a call of another hand's function."""
    return _written(
        value, syntax.call, "a call with literal arguments", 'write it like "good_net(24)"'
    )


def _written(value: object, write: Callable[[str], str], what: str, hint: str) -> str:
    try:
        if isinstance(value, str) and len(value) <= BGP_TEXT_CHARS:
            write(value)
            return value
    except ValueError:
        pass
    raise fault("CS-V070", f"{shown(value)} is not {what}", hint)
