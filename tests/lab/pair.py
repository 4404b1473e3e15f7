"""Two datacenters of one Consul server each on this host, joined over WAN: bgo is home, osl is not.

Separate because most of what happens between datacenters needs no network of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.consul import ConsulServer
from tests.lab.kv import ConsulError
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

HOME, AWAY = "bgo", "osl"


class Pair:
    """The two servers: `home` on 127.0.0.11, `away` on 127.0.0.12, out of the way of others."""

    def __init__(self, folder: Path) -> None:
        """Start both and wait until each answers for the other."""
        self.home = self._server(folder, HOME, 11)
        self.away = self._server(folder, AWAY, 12)
        for server in (self.home, self.away):
            server.wait_leader()
        for server, other in ((self.home, AWAY), (self.away, HOME)):
            wait_until(f"{other} answers", lambda s=server, o=other: _answers(s, o), every_s=0.05)

    @staticmethod
    def _server(folder: Path, name: str, number: int) -> ConsulServer:
        settings = {
            "ports": {"dns": -1, "grpc": -1, "serf_wan": 8302},
            "retry_join": [],
            "retry_join_wan": ["127.0.0.11:8302"] if name == AWAY else [],
            "retry_interval_wan": "1s",
        }
        return ConsulServer(folder / name, number=number, datacenter=name, settings=settings)

    def close(self) -> None:
        """Kill both."""
        self.home.close()
        self.away.close()


def _answers(server: ConsulServer, other: str) -> bool:
    try:
        server.kv.json("GET", f"catalog/nodes?dc={other}")
    except ConsulError:
        return False
    return True
