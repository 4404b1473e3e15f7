"""The `felix` section for the flow: a document in, a step for the Felix driver out.

Separate because this is all that the flow knows of Felix. Which version of Calico runs is known on
the host only: a document passes if some version can read it, and a plan only if this one can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from confsync.drivers.felix.found import Host
from confsync.drivers.felix.plan import masked, plan
from confsync.drivers.felix.rules import broken, doubtful
from confsync.drivers.felix.shapes import READER, SECTION, Felix, felix_of
from confsync.drivers.felix.tables import knowing
from confsync.model.errors import Violations
from confsync.model.ids import ObjectId, Path, SectionName, Tree, canonical
from confsync.model.plan import Impact, Step
from confsync.model.section import Deadline, Observed, Place, Scope

PARAMETER_DEPTH: Final = 2
"""A parameter's place: ``parameters``, and its name."""


class FelixSection:
    """One node's Felix, carried by its configuration file."""

    name: SectionName = SECTION
    scope: Scope = Scope.NODE

    def parse(self, tree: Tree) -> Felix | Violations:
        """Return the value, or every fault of its shape."""
        reading = READER.read(tree)
        if reading.document is None:
            return reading.faults
        value, faults = felix_of(reading.document)
        return (*reading.faults, *faults) or value

    def rules(self, value: Felix, siblings: Mapping[SectionName, object]) -> Violations:  # noqa: ARG002
        """Return every broken rule; Felix depends on no other section."""
        return broken(value)

    def warnings(self, value: Felix) -> tuple[str, ...]:
        """Return what is allowed but deserves a second look."""
        return doubtful(value)

    def deadlines(self, value: Felix) -> tuple[Deadline, ...]:  # noqa: ARG002
        """Return nothing: no parameter was meant to end."""
        return ()

    def inventory(self, value: Felix) -> frozenset[ObjectId]:
        """Return the parameters that are set."""
        return frozenset(ObjectId("parameter", "felix", name) for name in value.parameters)

    def canonical(self, value: Felix) -> bytes:
        """Return the document, which `parse` reads back."""
        return canonical(value.tree())

    def describe(self, path: Path) -> Place | None:
        """Return what may stand at a place, in all versions that are known."""
        if len(path) != PARAMETER_DEPTH or path[0] != "parameters":
            return READER.described(path)
        known = knowing(str(path[1]))
        if not known:
            return None
        newest = known[-1][1]
        kind = f"{newest.kind} {', '.join(newest.of)}".strip()
        versions = ", ".join(version for version, _ in known)
        impact = str(Impact.SERVICE_RESTART)
        return Place(f"{kind} (Calico {versions})", newest.default or None, impact)

    def fallbacks(self, tree: Tree, path: Path) -> tuple[Path, ...]:  # noqa: ARG002
        """Return nothing: no parameter takes its value from another."""
        return ()

    def plan(self, want: Felix, had: Felix | None, seen: Observed) -> tuple[Step, ...]:  # noqa: ARG002
        """Return the step to what is wanted, none if it stands. Raises SchemaViolated."""
        return plan(want, Host.read(seen.detail))

    def remarks(self, want: Felix, had: Felix | None, seen: Observed) -> tuple[str, ...]:  # noqa: ARG002
        """Return what has no effect on this host."""
        return tuple(masked(want, Host.read(seen.detail)))
