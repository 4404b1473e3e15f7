"""The `calico` section for the flow: a document in, steps for the Calico driver out.

Separate because this is all that the flow knows of Calico's resources. The section is the site's:
the levels that all its nodes share are its only ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from confsync.drivers.calico.plan import Site, plan
from confsync.drivers.calico.reading import read
from confsync.drivers.calico.resources import SECTION, Resources
from confsync.drivers.calico.rules import broken, doubtful
from confsync.drivers.calico.shapes import READER
from confsync.model.errors import Violations
from confsync.model.ids import ObjectId, Path, SectionName, Tree, canonical
from confsync.model.plan import Step
from confsync.model.section import Deadline, Observed, Place, Scope


class CalicoSection:
    """One site's resources, carried by calicoctl."""

    name: SectionName = SECTION
    scope: Scope = Scope.SITE

    def parse(self, tree: Tree) -> Resources | Violations:
        """Return the value, or every fault of its shape."""
        return read(tree)

    def rules(self, value: Resources, siblings: Mapping[SectionName, object]) -> Violations:  # noqa: ARG002
        """Return every broken rule; the site depends on no section of a node."""
        return broken(value)

    def warnings(self, value: Resources) -> tuple[str, ...]:
        """Return what is allowed but deserves a second look."""
        return doubtful(value)

    def deadlines(self, value: Resources) -> tuple[Deadline, ...]:  # noqa: ARG002
        """Return nothing: no object was meant to end."""
        return ()

    def inventory(self, value: Resources) -> frozenset[ObjectId]:
        """Return the objects that are kept."""
        return frozenset(ObjectId("object", str(key.kind), str(key)) for key in value.objects)

    def canonical(self, value: Resources) -> bytes:
        """Return the document, which `parse` reads back."""
        return canonical(value.tree())

    def describe(self, path: Path) -> Place | None:
        """Return what may stand at a place."""
        return READER.described(path)

    def fallbacks(self, tree: Tree, path: Path) -> tuple[Path, ...]:  # noqa: ARG002
        """Return nothing: no field takes its value from another."""
        return ()

    def plan(self, want: Resources, had: Resources | None, seen: Observed) -> tuple[Step, ...]:
        """Return the ordered steps to what is wanted. Raises SchemaViolated."""
        return plan(want, had, Site.read(seen.detail))

    def remarks(self, want: Resources, had: Resources | None, seen: Observed) -> tuple[str, ...]:  # noqa: ARG002
        """Return nothing: what is not named is nobody's business."""
        return ()
