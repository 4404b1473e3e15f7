"""What every driver says of the host, each with what it took over there.

Separate because a pass and the adoption of a host must look in the same way: the one by what the
journal holds, the other by what it would hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from confsync.model.ids import DriverName, Json, SectionName
from confsync.model.section import Observed
from confsync.ports import Journal

if TYPE_CHECKING:
    from confsync.flow.reconcile import Part


async def look_at_host(
    parts: Mapping[SectionName, Part], journal: Journal, adopting: Mapping[DriverName, Json]
) -> tuple[dict[DriverName, Observed], dict[SectionName, object]]:
    """Return what is observed, and the values that stood on the host when it was adopted.

    Shape: `adopting` are records that are looked at as if the journal held them.
    Raises: ConfsyncError of the driver or the journal.
    """
    seen: dict[DriverName, Observed] = {}
    had: dict[SectionName, object] = {}
    for name, part in parts.items():
        driver = part.driver
        record = adopting.get(driver.name) or await journal.adopted(driver.name)
        seen[driver.name] = await driver.observe(record)
        if record and record.get("had") is not None:
            value = part.section.parse(record["had"])
            if not isinstance(value, tuple):  # a newer confsync may have other rules
                had[name] = value
    return seen, had
