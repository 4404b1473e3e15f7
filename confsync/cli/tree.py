"""A whole tree of files, checked for every node that it names.

Separate from the verbs because `validate` and `push` must agree: what one refuses the other never
publishes. A fact that only the host knows is assumed, and named in the result.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from confsync.edge.directory import DirectorySettings, DirectorySource, read_tree
from confsync.model import document
from confsync.model.desired import build
from confsync.model.errors import InvalidConfig, Violation, Violations
from confsync.model.ids import LayerPath, canonical
from confsync.model.layers import levels, merge
from confsync.model.scopes import of_site, share
from confsync.model.section import Scope
from confsync.model.snapshot import Snapshot
from confsync.settings import Settings
from confsync.wiring import SECTIONS, names_of_node

FACT: Final = "fact."


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to; `needs` are the facts that each node must have."""

    documents: int
    nodes: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    faults: Violations = ()
    warnings: tuple[str, ...] = ()
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(()))

    def canonical(self) -> Mapping[LayerPath, Mapping[str, bytes]]:
        """Return the documents as canonical JSON, by layer and name."""
        return {
            layer.path: {
                name: canonical(document.parse(raw, name)) for name, raw in layer.documents.items()
            }
            for layer in self.snapshot.layers
        }


class AssumedFacts(dict[str, str]):
    """A node's names, and for each fact that is asked for a value of its kind."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__(names)
        self.asked: dict[str, str] = {}

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return a name, or an assumed fact."""
        return self._assume(name) if name.startswith(FACT) else super().get(name, default)

    def __missing__(self, name: str) -> str:
        if name.startswith(FACT):
            return self._assume(name)
        raise KeyError(name)

    def _assume(self, name: str) -> str:
        number = list(self.asked).index(name) if name in self.asked else len(self.asked)
        if ".ipv6." in name:
            value = f"fd00:ffff::{number + 1:x}"
        else:
            value = f"10.255.255.{number + 1}" if ".ipv4." in name else "assumed"
        return self.asked.setdefault(name, value)


def check(path: Path, settings: Settings) -> Checked:
    """Return what is wrong with a tree, or with one document. Raises SourceError."""
    checked = _check(path, settings)
    if path.is_absolute():
        return checked
    here = f"{Path.cwd()}/"
    faults = (replace(fault, where=fault.where.removeprefix(here)) for fault in checked.faults)
    return replace(checked, faults=tuple(faults))


def _check(path: Path, settings: Settings) -> Checked:
    if path.is_file():
        return Checked(1, faults=tuple(_syntax({str(path): path.read_bytes()})))
    try:
        layers = tuple(read_tree(path, settings.hierarchy))
        source = DirectorySource(DirectorySettings(path=str(path)))
        snapshot = asyncio.run(source.snapshot(layers))
    except InvalidConfig as fault:
        return Checked(0, faults=fault.violations)
    places = {
        snapshot.place(layer, name): raw
        for layer in snapshot.layers
        for name, raw in layer.documents.items()
    }
    checked = Checked(len(places), faults=tuple(_syntax(places)), snapshot=snapshot)
    return checked if checked.faults else _check_nodes(checked, settings)


def _check_nodes(checked: Checked, settings: Settings) -> Checked:
    layers = [layer.path for layer in checked.snapshot.layers]
    sites = set(_named("site", layers, settings.hierarchy)) | {settings.site}
    nodes = set(_named("node", layers, settings.hierarchy))
    if settings.node != "none":
        nodes.add(settings.node)
    faults: dict[Violation, None] = {}
    warnings: dict[str, None] = {}
    needs = {}
    for node in sorted(nodes):
        facts = AssumedFacts(names_of_node(node, sites, settings))
        try:
            warnings.update(dict.fromkeys(_read(checked, Scope.NODE, settings, facts)))
        except InvalidConfig as fault:
            faults.update(dict.fromkeys(fault.violations))
        if facts.asked:
            needs[node] = tuple(sorted(facts.asked))
    for site in sorted(sites):
        try:
            names = {"site": site}
            warnings.update(dict.fromkeys(_read(checked, Scope.SITE, settings, names)))
        except InvalidConfig as fault:
            faults.update(dict.fromkeys(fault.violations))
    return replace(
        checked,
        nodes=tuple(sorted(nodes)),
        needs=needs,
        faults=tuple(faults),
        warnings=tuple(warnings),
    )


def _read(
    checked: Checked, scope: Scope, settings: Settings, names: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the warnings of what one node, or one site, would make of the tree.

    Raises: InvalidConfig.
    """
    hierarchy = of_site(settings.hierarchy) if scope is Scope.SITE else settings.hierarchy
    patterns = {level.path: level.pattern for level in levels(hierarchy, names)}
    view = _view(checked.snapshot, tuple(patterns))
    merged = merge(share(view, SECTIONS, scope, patterns), hierarchy, names)
    sections = {name: one for name, one in SECTIONS.items() if one.scope is scope}
    return build(sections, merged).warnings


def _syntax(documents: Mapping[str, bytes]) -> Iterator[Violation]:
    for where, raw in documents.items():
        try:
            document.parse(raw, where)
        except InvalidConfig as fault:
            yield from fault.violations


def _view(snapshot: Snapshot, paths: Sequence[LayerPath]) -> Snapshot:
    """Return what one reader of some layers would see of the tree."""
    found = {layer.path: layer for layer in snapshot.layers}
    return replace(snapshot, layers=tuple(found[path] for path in paths if path in found))


def _named(word: str, layers: Iterable[str], hierarchy: Sequence[str]) -> Iterator[str]:
    """Yield the sites or nodes that the tree's layers are made for."""
    for level in hierarchy:
        parts = re.split(r"(\{[^{}]*\})", level)
        pattern = "".join(
            f"(?P<{word}>[^/]+)" if part == f"{{{word}}}" else
            "[^/]+" if part.startswith("{") else re.escape(part)
            for part in parts
        )  # fmt: skip
        if f"{{{word}}}" in level:
            yield from (m[word] for layer in layers if (m := re.fullmatch(pattern, layer)))
