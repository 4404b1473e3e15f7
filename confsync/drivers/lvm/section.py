"""The `lvm` section for the flow: a document in, steps for the LVM driver out.

Separate because this is all that the flow knows of LVM. Ownership: a host's storage as a whole is
never somebody's, each volume is by itself. So a driver says OWNED of what it can read at all, and
the plan touches only what is ours or absent; a wanted volume that is there and not ours is told,
with `confsync adopt lvm`, and does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from confsync.drivers.lvm.flat import missing_level, storage_of
from confsync.drivers.lvm.found import Host
from confsync.drivers.lvm.plan import weigh
from confsync.drivers.lvm.rules import broken, doubtful
from confsync.drivers.lvm.shapes import READER
from confsync.drivers.lvm.storage import SECTION, Storage
from confsync.model.errors import HostBusy, SchemaViolated, Violations
from confsync.model.ids import ObjectId, Path, SectionName, Tree, canonical
from confsync.model.plan import Impact, Step
from confsync.model.section import Deadline, Observed, Place, Scope

IMPACTS: Final = {
    "size": Impact.ONLINE_GROW,
    **dict.fromkeys(("mount", "mountpath", "mounted", "retire", "ensure"), Impact.OUT_OF_USE),
    "remove": Impact.DATA_LOSS,
    **dict.fromkeys(("devices", "physical_volumes", "tags", "options"), Impact.HITLESS),
    "headroom": Impact.HITLESS,
}
"""What a changed key does to users, at worst; of others it depends."""


class LvmSection:
    """One host's volume groups, carried by LVM."""

    name: SectionName = SECTION
    scope: Scope = Scope.NODE

    def parse(self, tree: Tree) -> Storage | Violations:
        """Return the value, or every fault: of the shape, and of the rules as far as they show."""
        reading = READER.read(tree)
        faults = tuple(map(missing_level, reading.faults))
        if reading.document is None:
            return faults
        value, underived = storage_of(reading.document)
        faults = (*faults, *(underived if reading.whole else ()))
        return (*faults, *broken(value)) if faults else value

    def rules(self, value: Storage, siblings: Mapping[SectionName, object]) -> Violations:  # noqa: ARG002
        """Return every broken rule; LVM depends on no other section."""
        return broken(value)

    def warnings(self, value: Storage) -> tuple[str, ...]:
        """Return what is allowed but deserves a second look."""
        return doubtful(value)

    def deadlines(self, value: Storage) -> tuple[Deadline, ...]:  # noqa: ARG002
        """Return nothing: a retired volume is kept until it is named once more."""
        return ()

    def inventory(self, value: Storage) -> frozenset[ObjectId]:
        """Return the volumes that a value keeps; a retired one is gone."""
        return value.inventory()

    def canonical(self, value: Storage) -> bytes:
        """Return the explicit document, which `parse` reads back."""
        return canonical(value.tree())

    def describe(self, path: Path) -> Place | None:
        """Return what may stand at a place, with what a change of it does."""
        found = READER.described(path)
        return found and replace(found, impact=str(IMPACTS.get(str(path[-1]), "") if path else ""))

    def fallbacks(self, tree: Tree, path: Path) -> tuple[Path, ...]:  # noqa: ARG002
        """Return nothing: no part takes its value from another."""
        return ()

    def plan(self, want: Storage, had: Storage | None, seen: Observed) -> tuple[Step, ...]:
        """Return the steps to what is wanted, or nothing if it stands already.

        Raises: SchemaViolated for what this host cannot be brought to, HostBusy where a group is
        in trouble and something is to be done in it.
        """
        weighed = weigh(want, had, Host.of(seen.detail))
        if weighed.faults:
            raise SchemaViolated(weighed.faults)
        if weighed.stopped:
            raise HostBusy("; ".join(weighed.stopped))
        return weighed.steps

    def remarks(self, want: Storage, had: Storage | None, seen: Observed) -> tuple[str, ...]:
        """Return what a plan leaves alone, and why."""
        return weigh(want, had, Host.of(seen.detail)).notes
