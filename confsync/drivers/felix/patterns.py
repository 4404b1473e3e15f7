"""Regular expressions that Felix reads: those of Go, whose engine is RE2.

Separate because Python, which is at hand to try them, takes more: looking around, going back and
holding on are unknown to RE2. What both take is taken.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

from confsync.model.shapes import fault, shown

REPEAT_MAX: Final = 1000
_GROUP: Final = re.compile(r"\(\?(:|P<\w+>|[ims]+(-[ims]+)?:|[ims]+\))", re.ASCII)
_REPEAT: Final = re.compile(r"[*+?]|\{([0-9]+)(,[0-9]*)?\}", re.ASCII)
_SET: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_ESCAPES: Final = frozenset("afnrtvxdDsSwWbBA")


def read_pattern(text: str) -> str:
    """Return a regular expression that Go compiles, as far as Python can tell."""
    if problem := _unknown_to_go(text):
        hint = "Felix knows RE2: no looking around, no going back, no possessive repeats"
        raise fault("CS-V219", f"{shown(text)} has {problem}, which Felix does not know", hint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sets within sets, which Go has as well
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as refused:
        hint = f"it does not compile: {refused}"
        raise fault("CS-V219", f"{shown(text)} is not a regular expression", hint) from None
    return text


def _unknown_to_go(text: str) -> str:
    """Return the first part of a pattern that Python knows and Go does not; empty = none."""
    at, repeated = 0, False
    while at < len(text):
        rest = text[at:]
        if repeat := _REPEAT.match(rest):
            if _too_often(repeat) or (repeated and repeat[0] == "+"):
                return repeat[0]
            at, repeated = at + len(repeat[0]), not repeated
            continue
        repeated = False
        if rest.startswith("(?") and not _GROUP.match(rest):
            return rest[:3]
        if rest[0] == "\\" and not _escape(rest[1:2]):
            return rest[:2]
        group, inside = _GROUP.match(rest), _SET.match(rest)
        if inside and (escape := _escape_within(inside[0])):
            return escape
        whole = group or inside
        at += len(whole[0]) if whole else 2 if rest[0] == "\\" else 1
    return ""


def _too_often(repeat: re.Match[str]) -> bool:
    counts = re.findall(r"[0-9]+", repeat[0])
    return any(len(one) > len(str(REPEAT_MAX)) or int(one) > REPEAT_MAX for one in counts)


def _escape(letter: str) -> bool:
    return letter in _ESCAPES or not letter.isalnum()


def _escape_within(inside: str) -> str:
    found = re.findall(r"\\(.)", inside, re.DOTALL)
    return next((f"\\{one}" for one in found if not _escape(one) or one in "bBA"), "")
