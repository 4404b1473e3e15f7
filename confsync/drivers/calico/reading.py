"""Read a `calico` document into the wanted objects, each as Calico itself would store it.

Separate because shapes say what may be written, and this what Calico makes of it: it drops what
says nothing, and says of a policy which directions it is for.
Source: projectcalico/calico, libcalico-go/lib/clientv3/globalnetworkpolicy.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel

from confsync.drivers.calico.policy_shapes import EGRESS, INGRESS
from confsync.drivers.calico.resources import POLICIES, SECTION, Kind, ObjectKey, Resources
from confsync.drivers.calico.rules import broken
from confsync.drivers.calico.shapes import READ_ONLY, READER, Document
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Json, Tree

DEFAULT_TIER: Final = "default"
_META: Final = ("labels", "annotations")


def read(tree: Tree) -> Resources | Violations:
    """Return the value, or every fault: of the shape, and of the rules as far as they show."""
    others = tuple(_not_managed(tree))
    reading = READER.read({kind: part for kind, part in tree.items() if kind not in READ_ONLY})
    faults = (*others, *reading.faults)
    if reading.document is None:
        return faults
    value = Resources(MappingProxyType(dict(_objects(reading.document))))
    return (*faults, *broken(value)) if faults else value


def _not_managed(tree: Tree) -> Iterator[Violation]:
    for kind in tree:
        if kind in READ_ONLY:
            place = (SECTION, kind)
            yield Violation("CS-V300", place, f"{kind} are only read here", READ_ONLY[kind])


def _objects(document: Document) -> Iterator[tuple[ObjectKey, Json]]:
    for kind in Kind:
        for name, found in getattr(document, kind).items():
            if kind.in_namespace:
                for inner, shape in found.items():
                    yield ObjectKey(kind, name, inner), _body(kind, shape)
            else:
                yield ObjectKey(kind, "", name), _body(kind, found)


def _body(kind: Kind, shape: BaseModel) -> Json:
    """Return an object's body, with everything left out that says nothing."""
    said = shape.model_dump(mode="json", by_alias=True, exclude_unset=True)
    meta = {word: said.pop(word) for word in _META if word in said}
    spec = said if kind is Kind.FELIX else _thinned(said)
    if kind in POLICIES:
        spec = {**spec, "types": _types(spec)}
        if spec.get("tier") == DEFAULT_TIER:
            del spec["tier"]
    return {**{word: part for word, part in meta.items() if part}, "spec": spec}


def _thinned(part: Json) -> Json:
    """Return a part without what Calico does not store: nothing, false, and what is empty.

    Why: a zero says something (a type of ICMP), and so does a part of a list.
    """
    if isinstance(part, Mapping):
        thin = {key: _thinned(inner) for key, inner in part.items()}
        return {key: inner for key, inner in thin.items() if not _says_nothing(inner)}
    return [_thinned(inner) for inner in part] if isinstance(part, list) else part


def _says_nothing(part: Json) -> bool:
    return part is None or part is False or (isinstance(part, dict | list) and not part)


def _types(spec: Json) -> list[str]:
    """Return the directions that a policy is for; it may leave them to its rules."""
    if named := spec.get("types"):
        return [one for one in (INGRESS, EGRESS) if one in named]
    if not spec.get("egress"):
        return [INGRESS]
    return [INGRESS, EGRESS] if spec.get("ingress") else [EGRESS]
