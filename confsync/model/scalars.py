"""What an unquoted text means by the core schema of YAML 1.2, and what no text may hold.

Separate because JSON and YAML share these rules, and because this is the whole list of what is not
a string: `no`, `on`, `1:30`, `1_000` and dates are strings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from confsync.model.ids import Json
from confsync.model.limits import INTEGER_DIGITS

FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls, but for tab and line ends
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi: what is read is not what is there
    "\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]"  # line ends to YAML only, no characters at all
)
_WORDS: Final[Mapping[str, Json]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS: Final = frozenset("+-.0123456789IN")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(
    r"[-+]?(\.inf|\.Inf|\.INF|Infinity)|\.nan|\.NaN|\.NAN|NaN"  # Infinity, NaN: as in bad JSON
)


def scalar(text: str) -> Json:
    """Return what a plain scalar means.

    Raises: ValueError, saying what is wrong with the number.
    Source: YAML 1.2.2, 10.3.2 Tag Resolution.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        if len(text.lstrip("+-0ox")) > INTEGER_DIGITS:
            raise ValueError(f"an integer has at most {INTEGER_DIGITS} digits")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that can be used")
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("the number is too large")
        return number
    return text


def is_text(text: str) -> bool:
    """Tell whether a plain scalar is a string."""
    try:
        return scalar(text) is text
    except ValueError:
        return False


def forbidden(character: str) -> str:
    """Return the message for a character that no document may hold."""
    return f"the character U+{ord(character):04X} is not allowed"
