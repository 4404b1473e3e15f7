"""The file felix.cfg, both ways: as Felix reads it, and as it is written here.

Separate because Felix's reader of INI files (go-ini) has ways of its own: a value ends at a # or ;,
goes on after a backslash, and may stand between backquotes, which keep all but themselves. So what
is written plainly is only what no reader can see otherwise. Felix looks at no section's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from confsync.model.errors import HostRefused

HEADER: Final = "# Written by confsync; an edit by hand is reported, not kept."
SECTION: Final = "global"
_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What Go calls white space, which is less than Python does."""
_FENCES: Final = ('"""', "`")
_PLAIN: Final = re.compile(r"[!-~]+( [!-~]+)*", re.ASCII)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*", re.ASCII)


def read_file(text: str) -> Mapping[str, str]:
    """Return what Felix gets from a file, with the names as they are written there.

    Shape: two spellings of one name stay two; which of them Felix takes is chance. An empty value
    is as good as none to Felix.
    Raises: HostRefused where Felix would not start with the file.
    """
    sections: dict[str, dict[str, str]] = {"DEFAULT": {}}
    current, counted = sections["DEFAULT"], 0
    lines = _Lines(text.removeprefix("\ufeff"))
    for line in lines:
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            name, closed, _ = line[1:].rpartition("]")
            if not closed or not name:
                raise lines.refused("a section without its name or its end")
            current, counted = sections.setdefault(name, {}), 0
            continue
        name, rest = _split(line, lines)
        if name == "-":
            counted += 1
            name = f"#{counted}"
        if not name:
            raise lines.refused("a value without a name")
        current[name] = _value(rest, lines)
    return {name: value for one in sections.values() for name, value in one.items()}


def render(parameters: Mapping[str, str], kept: Mapping[str, str]) -> bytes:
    """Return the whole file: what is wanted, and lines of others that are kept.

    A kept line gives way to a parameter of the same name in any case: Felix would take either.
    Raises: HostRefused for a kept line that cannot be written so that it is read again.
    """
    taken = {name.lower() for name in parameters}
    rest = {name: value for name, value in kept.items() if name.lower() not in taken}
    lines = [f"{_name(one)} = {_quoted(value)}" for one, value in sorted(parameters.items())]
    if rest:
        lines += ["", "# Not known here, and kept as it was found."]
        lines += [f"{_name(one)} = {_quoted(value)}" for one, value in sorted(rest.items())]
    return "\n".join([HEADER, f"[{SECTION}]", *lines, ""]).encode()


@dataclass(slots=True)
class _Lines:
    """The lines of a file, from which a value may take more than one."""

    text: str
    number: int = 0
    _left: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.text.split("\n")[::-1]

    def __iter__(self) -> Iterator[str]:
        while (line := self.next()) is not None:
            yield line.lstrip(_SPACE)

    def next(self) -> str | None:
        """Return the next line with its end, None = there is none."""
        if not self._left:
            return None
        self.number += 1
        line = self._left.pop()
        return f"{line}\n" if self._left else line

    def refused(self, what: str) -> HostRefused:
        """Return that the file cannot be read, with the line."""
        return HostRefused(f"line {self.number} of felix.cfg: {what}; Felix cannot read the file")


def _split(line: str, lines: _Lines) -> tuple[str, str]:
    """Return a line's name, and what follows its = or :, whichever comes first."""
    quote = next((one for one in ('"""', '"', "`") if line.startswith(one)), "")
    if quote == '"""' and len(line) <= len(quote) * 2:
        quote = '"'
    start = len(quote)
    end = line.find(quote, start) if quote else 0
    if end < 0:
        raise lines.refused("a name between quotes that does not end")
    found = re.search("[=:]", line[end + start :])
    if not found:
        raise lines.refused("neither = nor : in it")
    at = end + start + found.start()
    if at == 0:
        raise lines.refused("a value without a name")
    name = line[start:end] if quote else line[:at]
    return name.strip(_SPACE), line[at + 1 :]


def _value(rest: str, lines: _Lines) -> str:
    text = rest.lstrip(_SPACE)
    fence = next((one for one in _FENCES if text.startswith(one)), "")
    if fence == '"""' and len(text) <= len(fence):
        fence = ""
    if fence:
        inside = text[len(fence) :]
        end = inside.rfind(fence)
        return inside[:end] if end >= 0 else inside + _until(fence, lines)
    text = text.strip(_SPACE)
    if text.endswith("\\"):
        return _continued(text[:-1], lines)
    text = re.split("[#;]", text, maxsplit=1)[0].strip(_SPACE)
    for quote in "'\"":
        if len(text) > 1 and text[0] == text[-1] == quote and quote not in text[1:-1]:
            return text[1:-1]
    return text


def _until(fence: str, lines: _Lines) -> str:
    """Return the lines up to the end of what stands between quotes."""
    found = ""
    while (line := lines.next()) is not None:
        end = line.rfind(fence)
        if end >= 0:
            return found + line[:end]
        found += line
    raise lines.refused("a value between quotes that does not end")


def _continued(text: str, lines: _Lines) -> str:
    """Return a value that goes on after a backslash."""
    while line := (lines.next() or "").strip(_SPACE):
        text += line
        if not text.endswith("\\"):
            break
        text = text[:-1]
    return text


def _name(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return name
    quote = next((one for one in ("`", '"') if one not in name), "")
    if not quote or name in ("", "-") or name != name.strip(_SPACE) or "\n" in name:
        raise HostRefused(f"a name in felix.cfg that cannot be written again: {name!r}")
    return f"{quote}{name}{quote}"


def _quoted(value: str) -> str:
    """Return a value as it must stand for Felix to read it to the last character."""
    special = value.startswith(('"', "'", "`")) or value.endswith("\\") or set("#;") & set(value)
    if _PLAIN.fullmatch(value) and not special:
        return value
    if "\n" in value and "`" in value:
        raise HostRefused("a value in felix.cfg of several lines that has a ` in it")
    return f"`{value}`"
