"""The names and numbers of every site: as two universities' test networks have them.

Separate because it is data and arithmetic: nothing here is made. They fit the sample tree in
config/tree.
"""

from __future__ import annotations

from typing import NamedTuple

LAN = "trp1"  # the interface of every host on its site's network; documents ask for its address
WAN = "wan"  # the gateway's interface on the link net
GATEWAY, RR1, RR2, BROKER, OPERATOR = 254, 1, 2, 21, 250
CONSUL, NODE = 10, 100  # servers count from 11, nodes from 101


class Numbers(NamedTuple):
    """One site's numbers; networks as their first parts, to which a host's number is added.

    Shape: `link` is the gateway's number on the link net.
    """

    name: str
    asn: int
    net4: str
    net6: str
    work4: str
    work6: str
    link: int

    def v4(self, host: int) -> str:
        """Return a host's address on the site's network."""
        return f"{self.net4}.{host}"

    def v6(self, host: int) -> str:
        """Return a host's address on the site's network; the number is written as in IPv4."""
        return f"{self.net6}:{host}"

    def both(self, host: int) -> tuple[str, str]:
        """Return both with their prefix lengths."""
        return f"{self.v4(host)}/24", f"{self.v6(host)}/112"

    @property
    def networks(self) -> tuple[str, str, str, str]:
        """What other sites reach here: the network and the workloads, IPv4 and IPv6."""
        return f"{self.net4}.0/24", f"{self.work4}.0/24", f"{self.net6}:0/112", f"{self.work6}::/64"

    @property
    def link4(self) -> str:
        """The gateway's address on the link net."""
        return f"10.255.0.{self.link}"

    @property
    def link6(self) -> str:
        """Likewise."""
        return f"fd00:255::{self.link}"

    def workload(self, node: int) -> tuple[str, str]:
        """Return the service addresses that a node announces."""
        return f"{self.work4}.{node}/32", f"{self.work6}::{node}/128"


def _site(name: str, asn: int, link: int) -> Numbers:
    third = 6 + 32 * (link - 1)
    net6 = f"fd{32 * (link - 1):02}::6"
    return Numbers(name, asn, f"172.18.{third}", net6, f"198.18.{third}", f"2001:db8:{third}", link)


# The first is home.
SITES = (
    _site("bgo", 65501, 1),
    _site("osl", 65500, 2),
    _site("trd", 65502, 3),
    _site("tos", 65503, 4),
)
