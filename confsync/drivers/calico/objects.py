"""Calico's objects as they are wanted and as they are found: when two of them are the same.

Separate because planning, reading back and going back must agree on it. A body has what people
write: labels, annotations and spec; what the datastore adds (versions, times, defaults) is no
difference. A FelixConfiguration is compared by the fields that are ours alone. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from confsync.drivers.calico.resources import POLICIES, Kind, ObjectKey
from confsync.model.ids import Json

API: Final = "projectcalico.org/v3"
META: Final = ("labels", "annotations")
OWN: Final = "projectcalico.org/"
"""What Calico itself writes beside people's labels and annotations."""

_DIRECTIONS: Final = {"Ingress": "ingress", "Egress": "egress"}


def body_of(found: Json) -> Json:
    """Return what people wrote of an object."""
    metadata = found.get("metadata", {})
    parts = {part: metadata.get(part) or {} for part in META}
    meta = {
        part: {k: v for k, v in said.items() if k not in _own(said)} for part, said in parts.items()
    }
    return {**{part: said for part, said in meta.items() if said}, "spec": found.get("spec") or {}}


def differences(kind: Kind, want: Json, found: Json) -> dict[str, tuple[Json, Json]]:
    """Return what differs between two bodies, by place in a document: as it is, and as wanted."""
    old, new = _leaves(kind, found), _leaves(kind, want)
    names = new if kind is Kind.FELIX else {**old, **new}
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(names)
        if old.get(name) != new.get(name)
    }


def composed(key: ObjectKey, want: Json, found: Json) -> Json:
    """Return the object to write: what is wanted, in place of what was found (None = nothing was).

    The version that it was read at stays in it, so that a change in between is not written over.
    """
    metadata = {**(found or {}).get("metadata", {}), "name": key.name}
    if key.namespace:
        metadata["namespace"] = key.namespace
    for part in META:
        if value := {**_own(metadata.pop(part, None)), **want.get(part, {})}:
            metadata[part] = value
    head = {"apiVersion": API, "kind": key.kind.resource, "metadata": metadata}
    return {**head, "spec": want["spec"]}


def lost_meta(want: Json, found: Json) -> Json:
    """Return labels and annotations that stand there and are not wanted, each as null."""
    body = body_of(found)
    gone = {part: body.get(part, {}).keys() - want.get(part, {}).keys() for part in META}
    return {part: dict.fromkeys(sorted(names)) for part, names in gone.items() if names}


def patch(old: Json, new: Json) -> Json:
    """Return what turns one map into another: changed values, and null for what goes."""
    changes: dict[str, Json] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            if inner := patch(old[name], value):
                changes[name] = inner
        elif name not in old or old[name] != value:
            changes[name] = value
    return changes


def merged(want: Json, drop: Collection[str], found: Json) -> Json:
    """Return the body of a FelixConfiguration with our fields in it, and without those dropped."""
    body = body_of(found) if found else {"spec": {}}
    kept = {name: value for name, value in body["spec"].items() if name not in drop}
    return {**body, "spec": {**kept, **want["spec"]}}


def without_history(found: Json) -> Json:
    """Return an object as one that never was in the datastore."""
    gone = {"uid", "resourceVersion", "creationTimestamp"}
    kept = {name: value for name, value in found["metadata"].items() if name not in gone}
    return {**found, "metadata": kept}


def _leaves(kind: Kind, body: Json) -> dict[str, Json]:
    spec = dict(body["spec"])
    if kind in POLICIES:
        spec.setdefault("tier", "default")
        spec.setdefault(
            "types", [word for word, at in _DIRECTIONS.items() if at in spec] or ["Ingress"]
        )
        spec["types"] = sorted(spec["types"])
    if kind is Kind.FELIX:  # where an empty list says something: no failsafe port at all
        return spec
    leaves = {name: value for name, value in spec.items() if value not in (None, [], {})}
    for part in ("labels", "annotations"):
        leaves |= {f"{part}.{name}": value for name, value in body.get(part, {}).items()}
    return leaves


def _own(said: Json) -> Json:
    """Return what Calico itself wrote."""
    return {name: value for name, value in (said or {}).items() if name.startswith(OWN)}
