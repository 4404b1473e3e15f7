"""What this node knows of itself, as values that documents may name.

Separate because facts enter the revision's digest: they are few, stable and read in one place.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from confsync.host import netlink
from confsync.model.ids import NodeId, RoleId, SiteId


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The node's place in the hierarchy, given by its settings, and its names and addresses.

    Shape: ``site``, ``role``, ``node``, ``variant``, ``platform`` (left out when empty),
    ``fact.hostname``, and per interface its first global address: ``fact.ipv4.eth0``.
    """

    site: SiteId
    role: RoleId
    node: NodeId
    variant: str = ""
    platform: str = ""
    _given: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = ("site", "role", "node", "variant", "platform")
        given = {name: value for name in names if (value := str(getattr(self, name)))}
        object.__setattr__(self, "_given", given)

    def facts(self) -> Mapping[str, str]:
        """Return all facts. Raises HostBusy when the kernel does not answer."""
        found = {**self._given, "fact.hostname": socket.gethostname()}
        for interface, address, scope, fit in netlink.addresses():
            if scope == 0 and fit:
                found.setdefault(f"fact.ipv{address.version}.{interface}", str(address))
        return found


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What all nodes of a site know alike: no node's own address belongs in its resources."""

    site: str

    def facts(self) -> Mapping[str, str]:
        """Return the site's name."""
        return {"site": self.site}
