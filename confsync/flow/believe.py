"""What the source says, and whether it is believed: the snapshot that a pass goes by.

Separate because nothing may be concluded from silence, from a filtered answer or from half a
write, and because all of that is decided before anybody thinks of the host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace

from confsync.flow.passed import Pass
from confsync.model import policy
from confsync.model.errors import Denied, InvalidConfig, SourceError
from confsync.model.ids import KeyPath, LayerPath
from confsync.model.snapshot import (
    Absence,
    Burst,
    QuietPeriod,
    Reading,
    Snapshot,
    Standing,
    content_digest,
    document_key,
    judge,
    manifest_key,
)
from confsync.ports import Source


class Believer:
    """Reads one source, and remembers a row of plain writes until it is quiet.

    Shape: `ours` tells whether it is for us to mind that a document is gone.
    """

    def __init__(
        self,
        source: Source,
        layers: tuple[LayerPath, ...],
        quiet: QuietPeriod,
        known_good: Snapshot | None,
        ours: Callable[[KeyPath], bool] = lambda _: True,
    ) -> None:
        self._source = source
        self._ours = ours
        self._layers = layers
        self._quiet = quiet
        self._known_good = known_good
        self._burst: Burst | None = None
        self._acted = content_digest(known_good) if known_good else None

    async def read(self, known_good: Snapshot | None, allow: Collection[str]) -> Pass:
        """Read the source and decide which snapshot this pass goes by."""
        self._known_good = known_good
        keep = Pass(snapshot=known_good)
        try:
            fresh = await self._source.snapshot(self._layers)
            reading = judge(fresh, known_good)
            absent = {
                key: await self._source.why_absent(key) for key in self._doubted(fresh, reading)
            }
        except InvalidConfig as fault:
            return replace(keep, violations=fault.violations)
        except SourceError as fault:
            return replace(keep, fault=fault)
        keep = replace(keep, reading=reading)
        if hidden := [key for key, why in absent.items() if why is not Absence.GONE]:
            message = f"the source hides {', '.join(hidden)} from us; what was read before is kept"
            return replace(keep, fault=Denied(message))
        vanished = policy.vanished(list(filter(self._ours, reading.missing)), allow)
        if refusals := (*vanished, *policy.went_back(reading.lower, allow)):
            return replace(keep, refusals=refusals)
        if reading.standing is Standing.PUBLISHING:
            return keep
        if reading.standing is Standing.EDITED and (wait_s := self._quiet_for(fresh)) > 0:
            return replace(keep, again_s=wait_s)
        self._burst, self._acted = None, content_digest(fresh)
        return replace(keep, snapshot=fresh)

    def _doubted(self, fresh: Snapshot, reading: Reading) -> tuple[KeyPath, ...]:
        """Return the keys whose absence must be explained before anything is believed.

        Why: a filtered read looks like an empty one. What a manifest names must be there; on the
        first read there is nothing else to compare with, so that each layer without a trace is
        asked for.
        """
        if reading.standing is Standing.PUBLISHING:
            return ()
        doubted = [*reading.missing]
        for layer in fresh.layers:
            named = layer.manifest.documents if layer.manifest else {}
            absent = sorted(named.keys() - layer.documents.keys())
            doubted.extend(document_key(layer.path, name) for name in absent)
            if self._known_good is None and not layer.documents and layer.manifest is None:
                doubted.append(manifest_key(layer.path))
        return tuple(dict.fromkeys(doubted))

    def _quiet_for(self, fresh: Snapshot) -> float:
        """Return how long plain writes must still be quiet before they are acted upon."""
        now_s = asyncio.get_running_loop().time()
        self._burst = self._quiet.see(self._burst, content_digest(fresh), self._acted, now_s)
        return self._quiet.due_s(self._burst) - now_s if self._burst else 0.0
