"""What the routers of a site are configured with: two reflectors of two vendors, and the gateway.

Separate because it is text. Reflectors take sessions from whole networks: a new host needs no
change of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.bird import far_config, far_session
from tests.lab.sites.numbers import GATEWAY, RR1, RR2, Numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

BFD_MS, BFD_TIMES = 300, 5  # a busy machine is no fault of a session


def reflector_bird(site: Numbers) -> str:
    """Return rr1's configuration."""
    sessions = "".join(
        f"""\
protocol bgp clients_{family} {{
    local {own} as {site.asn};
    neighbor range {network} as {site.asn};
    dynamic name "{family}_";
    rr client; direct; passive; graceful restart; bfd on;
    {family} {{ import all; export all; add paths tx; }};
}}
"""
        for family, own, network in (
            ("ipv4", site.v4(RR1), f"{site.net4}.0/24"),
            ("ipv6", site.v6(RR1), f"{site.net6}:0/112"),
        )
    )
    return f"""\
router id {site.v4(RR1)};
protocol device {{ scan time 1; }}
protocol bfd {{
    interface "*" {{ interval {BFD_MS} ms; multiplier {BFD_TIMES}; }};
}}
{sessions}
"""


def reflector_frr(site: Numbers) -> str:
    """Return rr2's configuration."""
    groups = f"""\
 neighbor rr-clients{{0}} peer-group
 neighbor rr-clients{{0}} remote-as {site.asn}
 neighbor rr-clients{{0}} bfd {BFD_TIMES} {BFD_MS} {BFD_MS}
 bgp listen range {{1}} peer-group rr-clients{{0}}
"""
    families = """\
 address-family ipv{0} unicast
  neighbor rr-clients{0} activate
  neighbor rr-clients{0} addpath-tx-all-paths
  neighbor rr-clients{0} route-reflector-client
  neighbor rr-clients{0} soft-reconfiguration inbound
 exit-address-family
"""
    ranges = {4: f"{site.net4}.0/24", 6: f"{site.net6}:0/112"}
    return f"""\
router bgp {site.asn}
 bgp router-id {site.v4(RR2)}
 bgp log-neighbor-changes
 no bgp default ipv4-unicast
{"".join(groups.format(*one) for one in ranges.items())}\
{"".join(families.format(version) for version in ranges)}\
"""


def gateway_bgp(site: Numbers) -> str:
    """Return what the gateway's bgpd does: it learns of both reflectors where workloads are."""
    text = f"""\
router bgp {site.asn}
 bgp router-id {site.v4(GATEWAY)}
 no bgp default ipv4-unicast
"""
    for number in (RR1, RR2):
        for version, address in ((4, site.v4(number)), (6, site.v6(number))):
            text += f"""\
 neighbor {address} remote-as {site.asn}
 neighbor {address} timers connect 1
 neighbor {address} bfd {BFD_TIMES} {BFD_MS} {BFD_MS}
 address-family ipv{version} unicast
  neighbor {address} activate
 exit-address-family
"""
    return text


def gateway_static(others: Iterable[Numbers]) -> str:
    """Return the gateway's static routes to all other sites."""
    lines = []
    for other in others:
        for network in other.networks:
            six = ":" in network
            lines.append(
                f"ipv6 route {network} {other.link6}"
                if six
                else f"ip route {network} {other.link4}"
            )
    return "".join(f"{line}\n" for line in lines)


def plain_node(site: Numbers, number: int, workload: tuple[str, str]) -> str:
    """Return the configuration of a host that has no agent."""
    sessions = "".join(
        far_session(f"rr{index}_ipv{version}", address, site.asn, bfd=True)
        for index, rr in enumerate((RR1, RR2), 1)
        for version, address in ((4, site.v4(rr)), (6, site.v6(rr)))
    )
    return far_config(site.v4(number), site.asn, sessions, originate=workload)
