"""What all values in felix.cfg have in common: they are texts, of one line, alone or in lists.

Separate because every reader of a kind starts here.
"""

from __future__ import annotations

from confsync.model.ids import Json
from confsync.model.shapes import fault, shown

NONE = "none"
"""The word, in any case, by which Felix takes a parameter's zero value."""


def text_of(value: Json) -> str:
    """Return a text that Felix gets as it was written."""
    if not isinstance(value, str):
        raise fault("CS-V210", f"{shown(value)} is not a text", "put it between quotes")
    if not value:
        hint = f"leave the parameter out, or write {NONE} for nothing at all"
        raise fault("CS-V210", "empty, which Felix takes for its default", hint)
    if not value.isprintable():
        hint = "leave out newlines, tabs and control characters"
        raise fault("CS-V210", f"{shown(value)} cannot stand in one line", hint)
    if value != value.strip():
        hint = "leave out the spaces around it"
        raise fault("CS-V210", f"{shown(value)} begins or ends with a space", hint)
    return value


def plain(value: Json) -> str:
    """Return a text, or a number as the text of its digits."""
    return text_of(str(value) if type(value) is int else value)


def items(value: Json) -> list[str]:
    """Return the members of a list, which may be written as a list or with commas in one text."""
    if isinstance(value, list | tuple):
        found = [plain(one) for one in value]
        if comma := next((one for one in found if "," in one), ""):
            hint = "write each after a dash of its own"
            raise fault("CS-V211", f"{shown(comma)} has a comma in it", hint)
    else:
        found = [one.strip(" ") for one in plain(value).split(",")]
    if not found or "" in found:
        hint = f"name at least one, with one comma between two; {NONE} is nothing at all"
        raise fault("CS-V211", f"{shown(value)} has an empty member", hint)
    if twice := next((one for at, one in enumerate(found) if one in found[:at]), ""):
        raise fault("CS-V211", f"{shown(twice)} stands there twice", "name each once")
    return found
