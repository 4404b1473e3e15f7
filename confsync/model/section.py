"""The Section protocol: one part of the desired state, with one owner.

Separate because everything that decides knows sections only by this shape; a new subsystem is a
new folder under `drivers` and one line in its dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from confsync.model.errors import Violations
from confsync.model.ids import Json, ObjectId, Path, SectionName, Tree
from confsync.model.plan import Step

V = TypeVar("V")


class Scope(StrEnum):
    """Whose state a section describes; a transaction never mixes scopes."""

    NODE = "node"
    SITE = "site"


class Ownership(StrEnum):
    """What we may do with what a driver found on the host."""

    OWNED = "owned"  # ours: written by us, or nothing to lose
    FOREIGN = "foreign"  # somebody's: observe and report until `confsync adopt`
    EDITED = "edited"  # ours, then changed by another hand
    ABSENT = "absent"  # the subsystem does not answer


@dataclass(frozen=True, slots=True)
class Observed:
    """What a driver read from the host: a verdict for everybody, details for its own section.

    Shape: `detail` is JSON that only the driver and its section understand; `problem` says in
    one sentence why nothing can be planned (empty = fine); `notes` are findings for people;
    `hand` says who rewrote what was ours, and how (empty = nobody did).
    """

    ownership: Ownership
    detail: Json
    problem: str = ""
    notes: tuple[str, ...] = ()
    hand: str = ""


@dataclass(frozen=True, slots=True)
class Deadline:
    """What becomes a warning at a moment, since a value does not know what time it is.

    Shape: `at` is RFC 3339, in UTC and without saying so: such texts sort as their moments do.
    """

    at: str
    note: str


@dataclass(frozen=True, slots=True)
class Place:
    """What may stand at one place of a section.

    Shape: `kind` in words; `default` None = it has none, or one that depends; `impact` is what a
    change of it does (empty = it depends); `keys` are those of a map whose keys are known.
    """

    kind: str
    default: Json = None
    impact: str = ""
    keys: tuple[str, ...] = ()


class Section(Protocol[V]):
    """A part of the desired state: its shape, its rules, and the plan towards it. Pure."""

    name: SectionName
    scope: Scope

    def parse(self, tree: Tree) -> V | Violations:
        """Return the frozen value, or every fault of its shape; facts are substituted already."""

    def rules(self, value: V, siblings: Mapping[SectionName, object]) -> Violations:
        """Return every broken rule; all of them run."""

    def warnings(self, value: V) -> tuple[str, ...]:
        """Return what is allowed but deserves a second look."""

    def deadlines(self, value: V) -> tuple[Deadline, ...]:
        """Return what was meant to end some day."""

    def inventory(self, value: V) -> frozenset[ObjectId]:
        """Return the objects that this value keeps on the host."""

    def canonical(self, value: V) -> bytes:
        """Return the value's one JSON text, which `parse` reads back."""

    def describe(self, path: Path) -> Place | None:
        """Return what may stand at a place below the section, None = it knows no such key."""

    def fallbacks(self, tree: Tree, path: Path) -> tuple[Path, ...]:
        """Return the places whose values hold where a document is silent, the nearest first.

        Shape: `tree` is the section before defaults; paths are below the section.
        """

    def plan(self, want: V, had: V | None, seen: Observed) -> tuple[Step, ...]:
        """Return the ordered steps from what is seen to what is wanted; none if equal.

        Raises: SchemaViolated for what this host cannot be brought to, HostBusy for now.
        """

    def remarks(self, want: V, had: V | None, seen: Observed) -> tuple[str, ...]:
        """Return what such a plan leaves alone on the host, and why."""


AnySection = Section[Any]
