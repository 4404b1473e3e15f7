"""A site's Consul: servers on hosts of their own, set up as config/consul/README.md says."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.consul import LEADER_S, ConsulCluster, ConsulServer
from tests.lab.kv import ConsulError
from tests.lab.sites.numbers import CONSUL, Numbers
from tests.lab.sites.tokens import POLICIES, Tokens
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.kv import Kv
    from tests.lab.net import Host
    from tests.lab.sites.tls import Authority

# What config/consul/server.hcl asks for and a lab without certificates cannot have.
PLAIN = {
    "addresses": {"https": "127.0.0.1"},
    "ports": {"https": -1},
    "verify_incoming_rpc": False,
    "verify_outgoing": False,
    "verify_server_hostname": False,
}


class Gossip:
    """What all servers of all sites share."""

    def __init__(self, authority: Authority | None, home: Numbers, size: int) -> None:
        """Make the gossip's key."""
        self.authority = authority
        self.home = [home.v4(CONSUL + number) for number in range(1, size + 1)]
        self.key = base64.b64encode(os.urandom(32)).decode()


def start(
    site: Numbers, hosts: Sequence[Host], folder: Path, gossip: Gossip, tokens: Tokens | None
) -> ConsulCluster:
    """Start a site's servers; waits for no leader.

    Shape: `tokens` is None at home, where none are made before there is a leader.
    """
    addresses = [site.v4(CONSUL + number) for number in range(1, len(hosts) + 1)]
    servers = []
    for number, (address, host) in enumerate(zip(addresses, hosts, strict=True), 1):
        name = f"{site.name}-consul{number}"
        own: dict[str, Any] = {
            "node_name": name,
            "datacenter": site.name,
            "bind_addr": address,
            "bootstrap_expect": len(hosts),
            "retry_join": [one for one in addresses if one != address],
            "retry_interval": "1s",
            "retry_join_wan": [] if site.link == 1 else gossip.home,
            "retry_interval_wan": "1s",
            "encrypt": gossip.key,
        }
        if tokens:
            secrets = {"agent": "consul-server", "replication": "acl-replication"}
            held = {use: tokens.secret(holder) for use, holder in secrets.items()}
            own["acl"] = {"tokens": held}
        tls = gossip.authority.context if gossip.authority else None
        if gossip.authority:
            own |= gossip.authority.server(site.name, address)
        else:
            own |= {**PLAIN, "client_addr": address}
        files = [Path(POLICIES, "server.hcl")]
        servers.append(ConsulServer.of(folder / name, own, host, files=files, tls=tls))
    return ConsulCluster(servers)


def bootstrap(home: ConsulCluster) -> str:
    """Wait for home's leader and make the almighty token, which every server's `kv` gets."""
    token = home.wait_leader().bootstrap_acl()
    use(home, token)
    for server in home.servers:  # a follower leaves the legacy ACL system a moment later
        wait_until(
            f"{server.name} knows policies",
            lambda kv=server.kv: _answers(kv, "acl/policies"),
            LEADER_S,
            every_s=0.05,
        )
    return token


def use(cluster: ConsulCluster, token: str) -> None:
    """Let every server's `kv` use a token."""
    for server in cluster.servers:
        server.kv.token = token


def introduce(home: ConsulCluster, tokens: Tokens) -> None:
    """Give home's servers their own token."""
    for server in home.servers:
        body = {"Token": tokens.secret("consul-server")}
        server.kv.call("PUT", "agent/token/agent", body)


def wait_joined(cluster: ConsulCluster, sites: Sequence[Numbers], probe: str) -> None:
    """Wait until every server knows a token and hears every datacenter."""
    for server in cluster.servers:
        for site in sites:
            kv = server.kv.as_other(probe, datacenter=site.name)
            wait_until(
                f"{server.name} asks {site.name}", lambda kv=kv: _answers(kv), LEADER_S, every_s=0.1
            )


def wait_known(cluster: ConsulCluster, secrets: Sequence[str], home: ConsulCluster) -> None:
    """Wait until every server knows all policies of home, and these tokens."""
    wanted = _policies(home.servers[0].kv)
    for server in cluster.servers:
        wait_until(
            f"{server.name} knows home's policies",
            lambda kv=server.kv: wanted <= _policies(kv),
            LEADER_S,
            every_s=0.05,
        )
        for secret in secrets:
            kv = server.kv.as_other(secret)
            wait_until(
                f"{server.name} knows a token",
                lambda kv=kv: _answers(kv, "acl/token/self"),
                LEADER_S,
                every_s=0.05,
            )


def _policies(kv: Kv) -> set[str]:
    return {one["Hash"] for one in kv.json("GET", "acl/policies")}


def _answers(kv: Kv, path: str = "kv/confsync/v1/?keys&consistent") -> bool:
    try:
        kv.call("GET", path)
    except ConsulError as error:
        return error.status == 404
    return True
