"""A laboratory of real things for tests, demo and bench: hosts, cables, BIRD, Consul, the agent.

Why separate: plain synchronous Python that knows nothing of our code, so that it can judge it.
Invariant: what a Lab made is gone when it is closed, or when this process ends in any way.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from tests.lab.agent import Agent, NotifySocket, Settings, merged
from tests.lab.bird import Bird, far_config, far_session
from tests.lab.consul import ConsulCluster, ConsulServer
from tests.lab.lvm import Lvm
from tests.lab.net import HERE, Cable, Host, Namespace, connect

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

__all__ = ["HERE", "FarEnd", "Lab"]


class Closable(Protocol):
    """What a Lab can remove."""

    def close(self) -> None:
        """Remove it."""


T = TypeVar("T", bound=Closable)
NEAR_ASN = 64512  # host A, where the agent runs: this very process's namespace


class FarEnd(NamedTuple):
    """A neighbouring host with a BIRD of its own and a cable to us.

    Units: addresses without prefix length; its sessions are named `v4` and `v6`.
    """

    host: Namespace
    cable: Cable
    bird: Bird
    asn: int
    near4: str
    far4: str
    near6: str
    far6: str


class Lab:
    """Makes real things in one folder and removes them, last made first."""

    def __init__(self, folder: Path) -> None:
        """Use an existing empty folder."""
        self.folder = folder
        self._things = ExitStack()

    def __enter__(self) -> Self:
        """Nothing is made yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove all."""
        self.close()

    def close(self) -> None:
        """Remove all, last made first."""
        self._things.close()

    def namespace(self, name: str) -> Namespace:
        """Make another host."""
        return self.keep(Namespace(name))

    def cable(self, *args: Any, **options: Any) -> Cable:
        """Lay a cable; arguments of `net.connect`."""
        return self.keep(connect(*args, **options))

    def bird(
        self, name: str = "bird", text: str | None = None, host: Host = HERE, *options: str
    ) -> Bird:
        """Start a BIRD; without a text on the distribution's untouched example."""
        bird = Bird(self.folder / name, text, host, start=False, options=options)
        self.keep(bird).start()
        return bird

    def far_end(
        self,
        number: int = 1,
        *,
        near_asn: int = NEAR_ASN,
        bfd: bool = False,
        originate: tuple[str, ...] | None = None,
    ) -> FarEnd:
        """Make neighbour 1 to 250: 10.9.N.2 and fd00:9:N::2, AS 65000 + N, cable `confN` here.

        It announces 198.18.N.0/24 and 2001:db8:N::/48 unless `originate` says otherwise.
        """
        asn = 65000 + number
        near4, far4 = f"10.9.{number}.1", f"10.9.{number}.2"
        near6, far6 = f"fd00:9:{number:x}::1", f"fd00:9:{number:x}::2"
        host = self.namespace(f"far{number}")
        cable = self.cable(
            HERE,
            f"conf{number}",
            host,
            "eth0",
            near_addresses=(f"{near4}/24", f"{near6}/64"),
            far_addresses=(f"{far4}/24", f"{far6}/64"),
        )
        sessions = far_session("v4", near4, near_asn, bfd=bfd)
        sessions += far_session("v6", near6, near_asn, bfd=bfd)
        if originate is None:
            originate = (f"198.18.{number}.0/24", f"2001:db8:{number:x}::/48")
        text = far_config(far4, asn, sessions, originate=originate)
        bird = self.bird(f"far{number}", text, host)
        return FarEnd(host, cable, bird, asn, near4, far4, near6, far6)

    def consul(self, *, acl: bool = False, **options: Any) -> ConsulServer:
        """Start one Consul on 127.0.0.1:8500, wait for it; with ACLs `kv` has the first token."""
        server = self.keep(ConsulServer(self.folder / "consul", acl=acl, **options))
        server.wait_leader()
        if acl:
            server.bootstrap_acl()
        return server

    def consul_cluster(self, size: int = 3, *, acl: bool = False, **options: Any) -> ConsulCluster:
        """Start several Consul servers and wait for their leader."""
        servers = [
            ConsulServer(
                self.folder / "consul" / str(number),
                number=number, expect=size, acl=acl, **options,
            )
            for number in range(1, size + 1)
        ]  # fmt: skip
        cluster = self.keep(ConsulCluster(servers))
        leader = cluster.wait_leader()
        if acl:
            token = leader.bootstrap_acl()
            for server in cluster.servers:
                server.kv.token = token
        return cluster

    def agent(
        self, settings: Settings, *, name: str = "agent", start: bool = True, **options: Any
    ) -> Agent:
        """Prepare an agent for site `lab`, node `lab-edge-1`, and start it unless told not to."""
        base = {"site": "lab", "node": "lab-edge-1", "role": "edge"}
        agent = Agent(self.folder / name, merged(base, settings), **options)
        self.keep(agent)
        if start:
            agent.start()
        return agent

    def lvm(self, *sizes_mib: int) -> Lvm:
        """Give an LVM of metadata alone, on loop devices; three of 64 MiB unless told sizes."""
        return self.keep(Lvm(self.folder / "lvm", sizes_mib or (64, 64, 64)))

    def notify_socket(self, watchdog_s: float = 0) -> NotifySocket:
        """Listen as a service manager; pass its `env` to an agent."""
        return self.keep(NotifySocket(self.folder, watchdog_s))

    def keep(self, thing: T) -> T:
        """Remove this too, at the end."""
        self._things.callback(thing.close)
        return thing
