"""From the objects that stand in the datastore to those that are wanted, one step for each.

Separate because it is the only place where document, datastore and what was applied meet. Ours is
what was applied by us; what is there besides is nobody's business, and what a document names that
somebody else made differently is taken over only where that is allowed by name. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from confsync.drivers.calico import objects
from confsync.drivers.calico.felix import faults_for
from confsync.drivers.calico.lock_out import lock_out
from confsync.drivers.calico.ordering import in_order
from confsync.drivers.calico.resources import SECTION, Kind, ObjectKey, Resources
from confsync.drivers.calico.step import KIND, VERSION, Change
from confsync.model import limits
from confsync.model.errors import SchemaViolated
from confsync.model.ids import DriverName, Json, ObjectId
from confsync.model.plan import Difference, Guard, Impact, Step

DRIVER: Final = DriverName("calico")
EVERYWHERE: Final = "default"
OF_NODE: Final = "node."
IRREVERSIBLE: Final = frozenset(
    {
        "bpfEnabled",
        "dataplaneDriver",
        "iptablesMarkMask",
        "nftablesMarkMask",
        "nftablesMode",
        "routeTableRange",
        "routeTableRanges",
        "useInternalDataplaneDriver",
    }
)
"""Fields of a FelixConfiguration that leave traces in the kernel of every node."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a driver observed: how it was reached, and all objects of the managed kinds."""

    calicoctl: str
    config_file: str
    version: str
    found: Mapping[ObjectKey, Json]

    @classmethod
    def read(cls, detail: Json) -> Site:
        """Return what was observed."""
        found = {}
        for word, items in detail["objects"].items():
            for item in items:
                kind, metadata = Kind(word), item["metadata"]
                namespace = metadata.get("namespace", "") if kind.in_namespace else ""
                found[ObjectKey(kind, namespace, metadata["name"])] = item
        return cls(detail["calicoctl"], detail["config_file"], detail["version"], found)


def plan(want: Resources, had: Resources | None, site: Site) -> tuple[Step, ...]:
    """Return the ordered steps; none where all stands. Raises SchemaViolated."""
    if faults := faults_for(want, site.version):
        raise SchemaViolated(faults)
    ours = had.objects if had else {}
    gone = [key for key in ours if key not in want.objects and key in site.found]
    steps = []
    for key in in_order(want.objects, gone):
        step_of = _write if key in want.objects else _remove
        if step := step_of(key, want, ours, site):
            steps.append(step)
    return tuple(_guarded(steps, want))


def _write(
    key: ObjectKey, want: Resources, ours: Mapping[ObjectKey, Json], site: Site
) -> Step | None:
    """Return what brings one object to what is wanted, None if it stands."""
    body, found = want.objects[key], site.found.get(key)
    had = ours.get(key, {"spec": {}})
    there = objects.body_of(found) if found else {"spec": {}}
    lost = (had["spec"].keys() - body["spec"].keys()) & there["spec"].keys()
    drop = tuple(sorted(lost)) if key.kind is Kind.FELIX else ()
    differs = objects.differences(key.kind, body, there)
    differs |= {name: (there["spec"][name], None) for name in drop}
    if found is not None and not differs:
        return None
    change = _change(key, site, found, body, drop)
    items = tuple(
        Difference(
            "+" if old is None else "-" if new is None else "~",
            ".".join((SECTION, str(key).replace("/", "."), name)),
            old,
            new,
            _impact(key.kind),
            note=_note(key, name, want, site),
        )
        for name, (old, new) in differs.items()
    )
    verb = "made" if found is None else "changed"
    guards = (*_foreign(key, had, key in ours, found, differs), *_lasting(key, differs))
    return _step(change, f"{key} {verb}", items, guards)


def _remove(
    key: ObjectKey, want: Resources, ours: Mapping[ObjectKey, Json], site: Site
) -> Step | None:
    """Return what takes away what nobody wants any more; of a FelixConfiguration, our fields."""
    assert key not in want.objects
    found = site.found[key]
    path = ".".join((SECTION, str(key).replace("/", ".")))
    hits = frozenset({ObjectId("object", str(key.kind), str(key))})
    if key.kind is Kind.FELIX:
        drop = tuple(sorted(ours[key]["spec"].keys() & (found.get("spec") or {}).keys()))
        if not drop:
            return None
        change = _change(key, site, found, {"spec": {}}, drop)
        before: Json = {name: found["spec"][name] for name in drop}
        word = "fields removed"
    else:
        change, before, word = (
            _change(key, site, found, None, ()),
            objects.body_of(found),
            "removed",
        )
    items = (Difference("-", path, before, None, _impact(key.kind), hits),)
    return _step(change, f"{key} {word}", items, ())


def _change(key: ObjectKey, site: Site, found: Json, want: Json, drop: tuple[str, ...]) -> Change:
    version = None if found is None else str(found["metadata"].get("resourceVersion", ""))
    return Change(
        calicoctl=site.calicoctl,
        config_file=site.config_file,
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        want=want,
        drop=drop,
        version=version,
    )


def _step(
    change: Change, summary: str, items: tuple[Difference, ...], guards: tuple[Guard, ...]
) -> Step:
    return Step(
        driver=DRIVER,
        kind=KIND,
        version=VERSION,
        target=str(change.key),
        impact=_impact(change.kind),
        summary=summary,
        args=change.model_dump(mode="json"),
        differences=items,
        verify_s=limits.SITE_VERIFY_S,
        guards=guards,
    )


def _impact(kind: Kind) -> Impact:
    return Impact.SERVICE_RESTART if kind is Kind.FELIX else Impact.TRAFFIC_FILTER


def _note(key: ObjectKey, name: str, want: Resources, site: Site) -> str:
    """Return what else people want to know of a field of a FelixConfiguration.

    Why: one that a node's own configuration sets as well has no effect on that node.
    """
    if key.kind is not Kind.FELIX:
        return ""
    if key.name != EVERYWHERE:
        return f"Felix restarts on {key.name.removeprefix(OF_NODE)}"
    found = {one: objects.body_of(item) for one, item in site.found.items()}
    nodes = sorted(
        one.name.removeprefix(OF_NODE)
        for one, body in {**found, **want.objects}.items()
        if one.kind is Kind.FELIX and one.name.startswith(OF_NODE) and name in body["spec"]
    )
    hidden = f"; no effect on {', '.join(nodes)}, which has its own" if nodes else ""
    return f"Felix restarts on every node{hidden}"


def _foreign(
    key: ObjectKey, had: Json, is_ours: bool, found: Json, differs: Mapping[str, tuple[Json, Json]]
) -> Iterator[Guard]:
    """Yield what somebody else wrote, and would be written over."""
    if found is None:
        return
    if key.kind is Kind.FELIX:
        for name, (old, _) in differs.items():
            if old is not None and name not in had["spec"]:
                message = f"{key} has spec.{name}: {old!r}, which confsync did not write"
                yield Guard("foreign", f"{key}.{name}", message)
    elif not is_ours:
        message = f"{key} is there already and differs; confsync did not write it"
        yield Guard("foreign", str(key), message)


def _lasting(key: ObjectKey, differs: Mapping[str, tuple[Json, Json]]) -> Iterator[Guard]:
    for field in differs if key.kind is Kind.FELIX else ():
        if field in IRREVERSIBLE:
            message = f"{field} leaves traces on every node that going back does not remove"
            yield Guard("irreversible", f"{key}.{field}", message)


def _guarded(steps: list[Step], want: Resources) -> Iterator[Step]:
    """Yield the steps; the first one carries what would lock a host out, if any of them could."""
    shut = tuple(Guard("lock-out", str(key), why) for key, why in lock_out(want))
    filters = [step for step in steps if step.impact is Impact.TRAFFIC_FILTER]
    for step in steps:
        first = bool(filters) and step is filters[0]
        yield replace(step, guards=(*step.guards, *shut)) if first else step
