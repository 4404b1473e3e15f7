"""What a site's datastore of Calico shall hold, as the `calico` section's value.

Separate because rules, plans and the driver work on it, and nothing can be of the wrong type any
more. An object's body is what Calico itself would store: what it leaves out or fills in by itself
is left out or filled in here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from confsync.model.ids import Json, Path, SectionName

SECTION: Final = SectionName("calico")


class Kind(StrEnum):
    """The kinds that are managed, by calicoctl's plural names."""

    GLOBAL_POLICY = "globalnetworkpolicies"
    POLICY = "networkpolicies"
    GLOBAL_SET = "globalnetworksets"
    SET = "networksets"
    HOST_ENDPOINT = "hostendpoints"
    FELIX = "felixconfigurations"

    @property
    def resource(self) -> str:
        """Return the kind's name in a resource, such as ``GlobalNetworkPolicy``."""
        return _RESOURCES[self]

    @property
    def in_namespace(self) -> bool:
        """Tell whether objects of this kind stand in a namespace."""
        return self in (Kind.POLICY, Kind.SET)


_RESOURCES: Final = {
    Kind.GLOBAL_POLICY: "GlobalNetworkPolicy",
    Kind.POLICY: "NetworkPolicy",
    Kind.GLOBAL_SET: "GlobalNetworkSet",
    Kind.SET: "NetworkSet",
    Kind.HOST_ENDPOINT: "HostEndpoint",
    Kind.FELIX: "FelixConfiguration",
}
POLICIES: Final = (Kind.GLOBAL_POLICY, Kind.POLICY)
SETS: Final = (Kind.GLOBAL_SET, Kind.SET)


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """One object of the datastore; `namespace` is empty where its kind has none."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    def place(self, *path: str | int) -> Path:
        """Return the object's place in a document, or that of one of its values."""
        inside = (self.namespace, self.name) if self.kind.in_namespace else (self.name,)
        return (SECTION, str(self.kind), *inside, *path)


@dataclass(frozen=True, slots=True)
class Resources:
    """The wanted objects.

    Shape: a body is ``{"labels": {...}, "annotations": {...}, "spec": {...}}``; only `spec` is
    always there. That of a FelixConfiguration holds the fields that were named, and no others.
    """

    objects: Mapping[ObjectKey, Json]

    def of(self, *kinds: Kind) -> tuple[tuple[ObjectKey, Json], ...]:
        """Return the objects of some kinds, in the order of their keys."""
        return tuple((key, self.objects[key]) for key in sorted(self.objects) if key.kind in kinds)

    def tree(self) -> Json:
        """Return the explicit document, which reading gives back."""
        tree: dict[str, Json] = {}
        for key, body in self.of(*Kind):
            within = tree.setdefault(str(key.kind), {})
            if key.kind.in_namespace:
                within = within.setdefault(key.namespace, {})
            meta = {word: body[word] for word in ("labels", "annotations") if word in body}
            within[key.name] = {**meta, **body["spec"]}
        return tree
