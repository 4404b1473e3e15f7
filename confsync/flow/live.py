"""What the host runs in one place, as the newest pass found it, and how old that knowledge is.

Separate because the host is never asked for one value: what was applied is known exactly, and a
pass tells whether the host still runs it. Where it does not, the value is not claimed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from confsync.flow.passed import Pass
from confsync.model.explain import has, value_at
from confsync.model.ids import DriverName, Json, Path, SectionName
from confsync.model.machine import State
from confsync.model.section import Observed, Ownership

if TYPE_CHECKING:
    from confsync.flow.reconcile import Part

DRIFTED: Final = "the host has left it"


class Live:
    """What runs here, with its defaults (`explicit`), by section.

    Units: `age_s` is how old the look at the host is, None = there was none.
    """

    def __init__(self, parts: Mapping[SectionName, Part], found: Pass, age_s: float | None) -> None:
        self._parts = parts
        self._found = found
        self._age_s = age_s
        texts = found.applied.sections if found.applied else {}
        self.explicit = {str(name): json.loads(text) for name, text in texts.items()}

    def at(self, path: Path, *, whole: bool) -> Json:
        """Return the value at a place: ``{driver, value, age_s, problem}``; None = no driver.

        Shape: `whole` = it is a map, whose parts are shown one by one.
        """
        part = self._parts.get(SectionName(str(path[0])))
        if part is None:
            return None
        driver, applied = part.driver.name, self._found.applied
        written = applied is not None and has(applied.tree, path)
        value = value_at(applied.tree if applied and written else self.explicit, path)
        return {
            "driver": driver,
            "value": None if whole else value,
            "age_s": self._age_s,
            "problem": self._problem(driver, str(path[0])),
        }

    def _problem(self, driver: DriverName, section: str) -> str:
        """Return why the host may not run what was applied; empty = it does."""
        look, outcome = self._found.observed.get(driver), self._found.outcome
        if look is None:
            return f"the host was not looked at: {self._found.failure or 'no pass went so far'}"
        if section not in self.explicit:
            foreign = look.ownership is Ownership.FOREIGN
            return "nothing was applied here yet" + (": it is not ours" if foreign else "")
        if outcome is not None:
            return outcome.reason if outcome.state is State.HALTED else ""
        return self._drift(look, section)

    def _drift(self, look: Observed, section: str) -> str:
        if look.ownership is Ownership.EDITED or look.problem:
            return look.problem or look.hand or DRIFTED
        items = self._found.plan.differences if self._found.plan else ()
        if self._found.drifted or any(item.path == section for item in items):
            return DRIFTED
        return str(self._found.failure or "")
