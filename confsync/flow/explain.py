"""Why a value is so: every layer's word, who wrote it, whose holds, and what runs.

Separate because it is asked beside the passes and decides nothing: the newest pass says what is
believed and how the host was found; only records of changes, and the layers of another host, are
read for it. What is not known is said to be unknown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from confsync.flow.blame import Blame
from confsync.flow.live import Live
from confsync.flow.passed import Pass
from confsync.flow.why import Finding, View, Why
from confsync.model import facts
from confsync.model.desired import Desired, build
from confsync.model.document import places, position
from confsync.model.errors import ConfsyncError, InvalidConfig, Unreachable
from confsync.model.explain import Said
from confsync.model.ids import Json, KeyPath, LayerPath, Path, SectionName, dotted
from confsync.model.layers import layer_paths, levels, merge, stack
from confsync.model.section import AnySection
from confsync.model.snapshot import Phase, Snapshot

if TYPE_CHECKING:
    from confsync.flow.reconcile import Part, Rules
    from confsync.ports import FactSource, Source

_SHOWN: Final = 5


class Explainer:
    """Answers on one host; `names_of` tells the names that a node has by its own name."""

    def __init__(
        self,
        parts: Mapping[SectionName, Part],
        sections: Mapping[SectionName, AnySection],
        source: Source,
        host: FactSource,
        rules: Rules,
        names_of: Callable[[str], Mapping[str, str]],
    ) -> None:
        self._parts = parts
        self._sections = sections
        self._source = source
        self._host = host
        self._rules = rules
        self._names_of = names_of

    async def explain(self, key: str, node: str, found: Pass, age_s: float | None) -> Json:
        """Return why a value is so on this host, or on another one (`node` not empty).

        Shape: `age_s` is how old the look at the host is, None = there was none.
        Raises: UnknownKey; SourceError when neither source nor memory can be read.
        """
        own = self._rules.names.get("node", "")
        here = node in {"", own}
        view = await (self._here(found) if here else self._elsewhere(node))
        live = Live(self._parts if here else {}, found, age_s)
        why = Why(self._sections, view, live.explicit if here else {})
        finding, parts = await asyncio.to_thread(why.find, key)
        blame = Blame(self._source, view.snapshot)
        await blame.read()
        patterns = {level.path: level.pattern for level in levels(self._rules.patterns, view.known)}
        lines = await asyncio.to_thread(_places, (finding, *parts), view)
        telling = _Telling(view, blame, live, patterns, lines)
        told = []
        for one in (finding, *parts):
            told.append(await telling.told(one))
            await asyncio.sleep(0)  # a whole section has thousands of values; passes go first
        shape = why.describe(finding.path)
        return {
            "node": node or own,
            "place": {name: view.known.get(name, "") for name in ("site", "role", "variant")},
            "hierarchy": [str(layer) for layer, _ in view.layers.trees],
            **told[0],
            "field": asdict(shape) if shape else None,
            "parts": told[1:],
            "notes": [*view.notes, *_trouble(blame)],
        }

    async def _here(self, found: Pass) -> View:
        """Return what this host goes by, as the newest pass believed it."""
        stands = [*filter(None, (found.fault, found.failure)), *found.violations, *found.refusals]
        if found.snapshot is None:
            raise Unreachable("; ".join(map(str, stands)) or "nothing was read yet; try again")
        notes = [str(one) for one in stands[:_SHOWN]]
        if found.publishing:
            notes.append("a change is being published; what was before it is explained")
        elif found.again_s is not None and found.plan is None:
            notes.append("somebody is writing; what was before it is explained")
        known = dict(self._rules.names)
        try:
            known |= self._host.facts()
        except ConfsyncError as fault:
            notes.append(f"facts of this host: {fault}")
        explicit = self._explicit(found.desired)
        return await asyncio.to_thread(self._view, found.snapshot, known, explicit, notes)

    async def _elsewhere(self, node: str) -> View:
        """Return what another host goes by, as far as that can be told from here."""
        known = self._names_of(node)
        snapshot = await self._source.snapshot(layer_paths(self._rules.patterns, known))
        notes = []
        if snapshot.head and snapshot.head.phase is Phase.PUBLISHING:
            notes.append("a change is being published: this may be half of it")
        return await asyncio.to_thread(self._think, snapshot, known, notes)

    def _think(self, snapshot: Snapshot, known: Mapping[str, str], notes: list[str]) -> View:
        """Return the view of another host; where facts of it are needed, defaults stay open."""
        explicit: Json = {}
        try:
            merged = merge(snapshot, self._rules.patterns, known)
            explicit = self._explicit(build(self._sections, merged))
        except InvalidConfig as fault:
            wrong = [one for one in fault.violations if one.code != facts.LACKING]
            notes += [str(one) for one in wrong[:_SHOWN]]
        return self._view(snapshot, known, explicit, notes)

    def _view(
        self, snapshot: Snapshot, known: Mapping[str, str], explicit: Json, notes: list[str]
    ) -> View:
        return View(snapshot, known, stack(snapshot), explicit, tuple(notes))

    def _explicit(self, desired: Desired | None) -> Json:
        """Return each section with its defaults."""
        values = desired.values if desired else {}
        return {
            str(name): json.loads(self._sections[name].canonical(value))
            for name, value in values.items()
        }


@dataclass(frozen=True, slots=True)
class _Telling:
    """What one answer's values are told with; `places` has lines and columns by document."""

    view: View
    blame: Blame
    live: Live
    patterns: Mapping[LayerPath, str]
    places: Mapping[KeyPath, Mapping[Path, tuple[int, int]]]

    async def told(self, one: Finding) -> Json:
        """Return one value as it is shown."""
        return {
            "key": dotted(one.path),
            "value": one.value,
            "source": one.source,
            "inherits": dotted(one.inherits),
            "needs": list(one.needs),
            "layers": [
                {**await self._word(word), "wins": word is one.winner} for word in one.words
            ],
            "live": self.live.at(one.path, whole=one.source == "map"),
        }

    async def _word(self, word: Said) -> dict[str, Json]:
        """Return a layer's word with its place and its author."""
        origin = word.origin
        line, column = position(self.places[origin.key], origin.path)
        return {
            "layer": origin.layer,
            "level": self.patterns.get(origin.layer, ""),
            "key": dotted(word.at),
            "value": word.value,
            "document": self.view.layers.texts[origin.key].place,
            "line": line,
            "column": column,
            **(await self.blame.author(origin)).as_json(),
        }


def _places(
    findings: Iterable[Finding], view: View
) -> Mapping[KeyPath, Mapping[Path, tuple[int, int]]]:
    keys = {word.origin.key for one in findings for word in one.words}
    return {key: places(view.layers.texts[key].raw) for key in keys}


def _trouble(blame: Blame) -> list[str]:
    return [f"who wrote it is not known: {blame.trouble}"] if blame.trouble else []
