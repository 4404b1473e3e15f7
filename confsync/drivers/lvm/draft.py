"""A plan in the making: steps in their order, and all that stands against it.

Separate because every part of a plan adds to the same four lists, and the order of steps is one
table: what others need comes first, what takes something out of use comes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from confsync.drivers.lvm.found import Group, Host
from confsync.drivers.lvm.step import VERSION, Act, args_of
from confsync.model.errors import Violation, Violations
from confsync.model.ids import DriverName, Json, Path
from confsync.model.plan import Difference, Impact, Step

DRIVER: Final = DriverName("lvm")
ORDER: Final = (
    *("vg.create", "vg.extend", "lv.tags", "lv.activate", "lv.create", "lv.extend", "fs.make"),
    *("fs.grow", "unmount", "mount", "lv.retire", "lv.remove"),
)
"""Kinds of steps, first to last; ``unmount`` is a ``mount`` that takes a unit away."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a value comes to on a host.

    Shape: `faults` are what this host cannot be brought to, `stopped` the groups where nothing
    may be done though something should; `notes` are what is left alone.
    """

    steps: tuple[Step, ...]
    faults: Violations
    stopped: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class Draft:
    """One group's share of a plan.

    Shape: `nonce` names the whole plan; `held` are the folders on which volumes stay mounted, with
    ``group/volume`` of each.
    """

    host: Host
    nonce: str
    vg: str
    group: Group | None
    held: Mapping[str, str] = field(default_factory=dict)
    steps: list[tuple[int, int, Step]] = field(default_factory=list)
    faults: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def base(self) -> dict[str, Json]:
        """Return what every act holds."""
        live = self.group
        return {
            "binary": self.host.binary,
            "vg": self.vg,
            "vg_uuid": live.uuid if live else "",
            "vg_digest": live.digest if live else "",
            "nonce": self.nonce,
        }

    def add(self, act: Act, target: str, difference: Difference, *, depth: int = 0) -> None:
        """Add a step; of one kind, those of less `depth` go first."""
        taken_away = act.kind == "mount" and not act.text
        order = ORDER.index("unmount" if taken_away else act.kind)
        step = Step(
            driver=DRIVER,
            kind=act.kind,
            version=VERSION,
            target=target,
            impact=difference.impact,
            summary=str(difference),
            args=args_of(act),
            differences=(difference,),
        )
        self.steps.append((order, -depth if taken_away else depth, step))

    def refuse(self, code: str, place: Path, message: str, hint: str = "") -> None:
        """Add what this host cannot be brought to."""
        self.faults.append(Violation(code, place, message, hint))

    def note(self, text: str) -> None:
        """Add what is left alone."""
        self.notes.append(text)


def change(
    path: str, before: Json, after: Json, impact: Impact = Impact.HITLESS, note: str = ""
) -> Difference:
    """Return a difference; what it does follows from what was and will be there."""
    op = "+" if before is None else "-" if after is None else "~"
    return Difference(op, path, before, after, impact, note=note)
