"""The files that BIRD draws into a configuration, and the one line that draws in ours.

Separate because both the driver and the importer must see the whole configuration as BIRD does:
an include stands at the beginning of a line, is resolved from the folder of the file that it stands
in, and may be a pattern; a pattern may match nothing, a plain name may not.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from confsync.host.files import MARK, File, read_file
from confsync.model import limits
from confsync.model.errors import NotOwned
from confsync.model.ids import Digest, digest

_INCLUDE: Final = re.compile(r'^[ \t]*include[ \t]*"([^"\n]*)"[ \t]*;', re.MULTILINE)
_HIDDEN: Final = re.compile(r'"[^"\n]*"|#[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)
_PATTERN: Final = re.compile(r"[*?\[]")
_SHOWN: Final = 3


class Include(NamedTuple):
    """One include of a text: where its quoted name stands, and the name."""

    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A main file with all that it draws in.

    Shape: `files` are all readable ones by path, the main file first; `missing` are plain names
    that match nothing, `unread` what cannot be read, with the reason.
    """

    main: File
    files: dict[str, bytes] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """Return every file as text."""
        return {path: data.decode(errors="replace") for path, data in self.files.items()}

    def drawn_in(self, main: str) -> dict[str, Digest]:
        """Return the digests of the included files."""
        return {path: digest(data) for path, data in self.files.items() if path != main}

    @property
    def problem(self) -> str:
        """Return what of it is not there, in one sentence; empty = all is."""
        gone = [f"{path} is included and does not exist" for path in self.missing]
        return "; ".join([*gone, *self.unread][:_SHOWN])


def includes(text: str) -> tuple[Include, ...]:
    """Return the includes of a text that BIRD acts upon: not those inside a comment."""
    plain = _HIDDEN.sub(_blank, text)
    return tuple(Include(*match.span(1), match[1]) for match in _INCLUDE.finditer(plain))


def matches(main: str, name: str) -> tuple[str, ...]:
    """Return the files that an include draws in, in BIRD's order; none = it does not exist."""
    path = os.path.join(os.path.dirname(main), name)
    if not _PATTERN.search(path):
        return (os.path.normpath(path),) if os.path.exists(path) else ()
    return tuple(os.path.normpath(found) for found in sorted(glob.glob(path)))


def drawn(main: str, name: str, files: Iterable[str]) -> tuple[str, ...]:
    """Return which of some files an include draws in, in BIRD's order."""
    path = os.path.normpath(os.path.join(os.path.dirname(main), name))
    if not _PATTERN.search(path):
        return tuple(file for file in files if file == path)
    return tuple(sorted(filter(_glob(path), files)))


def read_tree(main: str) -> Tree | None:
    """Return a configuration with all its files, None if the main file is absent.

    Raises: NotOwned, HostBusy for the main file.
    """
    live = read_file(main, limits.BIRD_FILE_BYTES)
    if live is None:
        return None
    files = {main: live.data}
    missing: list[str] = []
    unread: list[str] = []
    left = [(main, live.data, 0)]
    while left:
        path, data, depth = left.pop()
        for one in includes(data.decode(errors="replace")):
            found = matches(path, one.name)
            if not found and not _PATTERN.search(one.name):
                missing.append(os.path.normpath(os.path.join(os.path.dirname(path), one.name)))
            for name in found:
                if name in files:
                    continue
                if len(files) > limits.BIRD_INCLUDES or depth >= limits.BIRD_INCLUDE_DEPTH:
                    unread.append(f"{name} is not followed: too many includes")
                    continue
                try:
                    inner = _read(name)
                except (NotOwned, OSError) as fault:
                    unread.append(f"{name} cannot be read: {fault}")
                    continue
                files[name] = inner
                left.append((name, inner, depth + 1))
    return Tree(live, files, tuple(missing), tuple(unread))


def repointed(text: str, main: str, fragment: str, candidate: str) -> str:
    """Return a main file that draws in the candidate in the fragment's place.

    Raises: NotOwned, with the line to add, when it does not draw in the fragment exactly once.
    """
    ours = [one for one in includes(text) if _draws_in(main, one.name, fragment)]
    if not ours:
        line = f'include "{fragment}";'
        raise NotOwned(f"{main} does not include {fragment}: add the line {line}")
    if len(ours) > 1:
        raise NotOwned(f"{main} includes {fragment} more than once: keep one of its lines")
    (one,) = ours
    if _draws_in(main, one.name, f"{fragment}{MARK}"):
        raise NotOwned(f"{main} includes all of {one.name}: take a pattern that ends in .conf")
    begin = text.rindex("include", 0, one.start)
    end = text.index(";", one.end) + 1
    names = [fragment, *matches(main, one.name)] if _PATTERN.search(one.name) else [fragment]
    lines = [f'include "{candidate if name == fragment else name}";' for name in sorted({*names})]
    return text[:begin] + "\n".join(lines) + text[end:]


def _draws_in(main: str, name: str, fragment: str) -> bool:
    """Tell whether an include draws in the fragment, whether that exists by now or not."""
    path = os.path.normpath(os.path.join(os.path.dirname(main), name))
    if path == fragment or fragment in matches(main, name):
        return True
    return bool(_PATTERN.search(path)) and _glob(path)(fragment)


def _glob(pattern: str) -> Callable[[str], bool]:
    parts = re.split(r"(\*|\?|\[[^\]]*\])", pattern)
    words = {"*": "[^/]*", "?": "[^/]"}
    inner = "".join(
        words.get(part) or (part.replace("[!", "[^") if part.startswith("[") else re.escape(part))
        for part in parts
    )
    compiled = re.compile(inner)
    return lambda path: compiled.fullmatch(path) is not None


def _read(path: str) -> bytes:
    """Return an included file; it may be a symlink, as credentials often are."""
    found = read_file(os.path.realpath(path), limits.BIRD_FILE_BYTES)
    return found.data if found else b""


def _blank(match: re.Match[str]) -> str:
    """Return a comment as blanks of the same length; a text in quotes as it is."""
    found = match[0]
    return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)
