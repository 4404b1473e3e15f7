"""Text of a document -> tree, by the core schema of YAML 1.2, with the place of every value.

Separate because libyaml reads YAML 1.1 and builds what it reads: here it only splits the text
into events. `no` stays a string, there is no anchor, alias, tag or merge key, and a stack instead
of recursion makes depth a number: no document can be dear or make two readers disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from confsync.model.errors import Violation
from confsync.model.ids import Json, Path
from confsync.model.limits import (
    DOCUMENT_DEPTH,
    DOCUMENT_FAULTS,
    DOCUMENT_LEAVES,
    KEY_BYTES,
    STRING_CHARS,
)
from confsync.model.scalars import FORBIDDEN, forbidden, is_text, scalar

Place = tuple[int, int]
"""Line and column, both from 1."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text holds: a tree if there is no violation, and where each path stands."""

    tree: Json
    violations: tuple[Violation, ...]
    places: Mapping[Path, Place]


def read(text: str) -> Reading:
    """Return the tree of a text that is free of forbidden characters."""
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reader.take(event)
        reader.end()
    except _Enough:
        pass
    except yaml.MarkedYAMLError as error:
        reader.syntax(error, text)
    return Reading(reader.tree, tuple(reader.violations), reader.places)


class _Enough(Exception):
    """Reading on would cost more than it tells."""


@dataclass(slots=True)
class _Frame:
    """A mapping or a list whose end was not read yet; `key` waits for its value.

    Shape: `within_key` = it stands where only a string may stand, which was reported.
    """

    path: Path
    items: dict[str, Json] | list[Json]
    key: str | None = None
    key_place: Place = (0, 0)
    seen: dict[str, Place] = field(default_factory=dict)
    within_key: bool = False

    @property
    def wants_key(self) -> bool:
        return isinstance(self.items, dict) and self.key is None


class _Reader:
    """Builds one tree from events and goes on after a fault, to report all of them."""

    def __init__(self) -> None:
        self.tree: Json = None
        self.violations: list[Violation] = []
        self.places: dict[Path, Place] = {}
        self._stack: list[_Frame] = []
        self._documents = 0
        self._leaves = 0

    def take(self, event: yaml.Event) -> None:
        """Add one event."""
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._refuse(event, "CS-D05", f"the alias *{event.anchor}", _WRITE_OUT)
                self._put(None, event)
            case yaml.MappingStartEvent():
                self._open(event, {})
            case yaml.SequenceStartEvent():
                self._open(event, [])
            case yaml.CollectionEndEvent():
                frame = self._stack.pop()
                self._put(frame.items, event)
            case yaml.DocumentStartEvent():
                self._document(event)

    def end(self) -> None:
        """Look at the whole once everything was read."""
        if not self._documents:
            self._fault("CS-D08", (), "the document is empty; it must hold a mapping", (1, 1))
        elif not isinstance(self.tree, dict):
            found = "a list" if isinstance(self.tree, list) else "a single value"
            message = f"the document holds {found}; it must hold a mapping"
            self._fault("CS-D08", (), message, self.places.get((), (1, 1)))

    def syntax(self, error: yaml.MarkedYAMLError, text: str) -> None:
        """Take note of where libyaml gave up."""
        unclosed = (error.context or "").startswith("while scanning a quoted scalar")
        mark = (error.context_mark if unclosed else None) or error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = ""
        if unclosed:
            hint = "the quote that begins here is never closed"
        elif mark and text[mark.index : mark.index + 1] == "\t":
            hint = "indent with spaces, not with tabs"
        context = f" {error.context}" if error.context else ""
        message = f"neither JSON nor YAML: {error.problem}{context}"
        self._fault("CS-D04", self._path(), message, place, hint)

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if event.version not in (None, (1, 2)) or event.tags:
            self._refuse(event, "CS-D05", "a directive", "remove the line that begins with %")
        if self._documents > 1:
            self._refuse(event, "CS-D05", "a second document", "one key holds one document")
            raise _Enough

    def _open(
        self,
        event: yaml.MappingStartEvent | yaml.SequenceStartEvent,
        items: dict[str, Json] | list[Json],
    ) -> None:
        self._plain(event)
        frame = self._stack[-1] if self._stack else None
        path = self._path()
        within_key = frame is not None and (frame.wants_key or frame.within_key)
        if frame and frame.wants_key and not frame.within_key:
            hint = "quote it if it is a text with braces or brackets"
            self._fault("CS-D07", path, "a key must be a string", _place(event), hint)
        elif not within_key:
            has_key = frame is not None and isinstance(frame.items, dict)
            block = has_key and not event.flow_style
            self._note(path, frame.key_place if frame and block else _place(event))
        if len(self._stack) >= DOCUMENT_DEPTH:
            message = f"nested deeper than {DOCUMENT_DEPTH} levels"
            self._fault("CS-D09", (), message, _place(event))
            raise _Enough
        self._stack.append(_Frame(path, items, within_key=within_key))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        tagged = self._plain(event)
        frame = self._stack[-1] if self._stack else None
        quoted = bool(event.style) or tagged
        if frame and frame.wants_key:
            self._key(frame, event, quoted=quoted)
            return
        path = self._path()
        empty = not event.value and not quoted
        self._note(path, frame.key_place if frame and frame.key and empty else _place(event))
        self._leaves += 1
        if self._leaves > DOCUMENT_LEAVES:
            message = f"more than {DOCUMENT_LEAVES} values in one document"
            self._fault("CS-D09", (), message, _place(event))
            raise _Enough
        self._put(self._value(event, path, quoted=quoted), event)

    def _value(self, event: yaml.ScalarEvent, path: Path, *, quoted: bool) -> Json:
        self._check_text(event, path)
        if quoted or len(event.value) > STRING_CHARS:
            return event.value
        try:
            return scalar(event.value)
        except ValueError as error:
            hint = "quote it if it is a text"
            self._fault("CS-D10", path, str(error), _place(event), hint)
            return None

    def _key(self, frame: _Frame, event: yaml.ScalarEvent, *, quoted: bool) -> None:
        key, path = event.value, (*frame.path, event.value)
        if not quoted and key == "<<":
            self._refuse(event, "CS-D05", "the merge key <<", "layers do the merging")
        elif not quoted and not is_text(key):
            message = f"a key must be a string, {key or 'nothing'} is not"
            hint = f'write "{key}" in quotes'
            self._fault("CS-D07", frame.path, message, _place(event), hint)
        elif len(key.encode("utf-8", "replace")) > KEY_BYTES:
            message = f"a key is longer than {KEY_BYTES} bytes"
            self._fault("CS-D07", frame.path, message, _place(event))
        else:
            self._check_text(event, frame.path)
        if key in frame.seen:
            line, column = frame.seen[key]
            message = f"the key is there twice, first at {line}:{column}"
            self._fault("CS-D06", path, message, _place(event), "keep one of them")
        frame.seen.setdefault(key, _place(event))
        frame.key, frame.key_place = key, _place(event)

    def _check_text(self, event: yaml.ScalarEvent, path: Path) -> None:
        if len(event.value) > STRING_CHARS:
            message = f"a text is longer than {STRING_CHARS} characters"
            self._fault("CS-D09", path, message, _place(event))
        elif character := FORBIDDEN.search(event.value):
            self._fault("CS-D03", path, forbidden(character.group()), _place(event))

    def _plain(
        self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent
    ) -> bool:
        """Refuse anchors and tags; return whether there was a tag."""
        if event.anchor:
            self._refuse(event, "CS-D05", f"the anchor &{event.anchor}", _WRITE_OUT)
        if event.tag:
            hint = "quote the value if it should be a text"
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(event, "CS-D05", f"the tag {tag}", hint)
        return bool(event.tag)

    def _put(self, value: Json, event: yaml.Event) -> None:
        if not self._stack:
            self.tree = value
            return
        frame = self._stack[-1]
        if isinstance(frame.items, list):
            frame.items.append(value)
        elif frame.key is None:  # a collection or alias was read where a key must be: refused
            frame.key, frame.key_place = "", _place(event)
        else:
            frame.items.setdefault(frame.key, value)
            frame.key = None

    def _path(self) -> Path:
        """Return the path of the value that is read now."""
        if not self._stack:
            return ()
        frame = self._stack[-1]
        if isinstance(frame.items, list):
            return (*frame.path, len(frame.items))
        return frame.path if frame.key is None else (*frame.path, frame.key)

    def _note(self, path: Path, place: Place) -> None:
        self.places.setdefault(path, place)

    def _refuse(self, event: yaml.Event, code: str, what: str, hint: str) -> None:
        self._fault(code, self._path(), f"{what} is not part of our YAML", _place(event), hint)

    def _fault(self, code: str, path: Path, message: str, place: Place, hint: str = "") -> None:
        self.violations.append(Violation(code, path, message, hint, line=place[0], column=place[1]))
        if len(self.violations) >= DOCUMENT_FAULTS:
            raise _Enough


_WRITE_OUT: Final = "write the value out"


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
