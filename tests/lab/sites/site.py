"""One site: a network with a gateway, two reflectors, Consul, a broker and hosts.

Separate because sites are alike: what joins them is in the package's front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lab.bird import Bird
from tests.lab.frr import Frr
from tests.lab.net import HERE, Host
from tests.lab.process import Process
from tests.lab.sites.daemon import Daemon
from tests.lab.sites.link import Link, Switch
from tests.lab.sites.node import Node, node_name
from tests.lab.sites.numbers import (
    BROKER,
    CONSUL,
    GATEWAY,
    LAN,
    NODE,
    OPERATOR,
    RR1,
    RR2,
    WAN,
    Numbers,
)
from tests.lab.sites.routing import gateway_bgp, gateway_static, reflector_bird, reflector_frr
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.lab import Lab
    from tests.lab.consul import ConsulCluster

FORWARDING = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
MOSQUITTO = "/usr/sbin/mosquitto"


class Site:
    """The network first (`__init__`), then its daemons, each kind by a method of its own."""

    consul: ConsulCluster

    def __init__(self, lab: Lab, numbers: Numbers, links: dict[str, Link]) -> None:
        """Make the gateway with the site's switch; this process gets a cable to it."""
        self.lab = lab
        self.numbers = numbers
        self.name = numbers.name
        self.hosts: dict[str, Host] = {}
        self.daemons: dict[str, Daemon] = {}
        self.nodes: list[Node] = []
        self._links = links
        self.gateway = self.hosts[f"{self.name}-gw"] = lab.namespace(f"{self.name}-gw")
        self._switch = Switch(self.gateway, LAN)
        self.gateway.add_address(LAN, *numbers.both(GATEWAY))
        for knob in FORWARDING:
            self.gateway.run("sysctl", "-qw", knob)
        lab.keep(self._switch.plug("p250", HERE, self.name, *numbers.both(OPERATOR)))

    def host(self, name: str, number: int) -> Host:
        """Make a host on the site's network, whose way out is the gateway.

        Its cable is the link of its name.
        """
        host = self.hosts[name] = self.lab.namespace(name)
        cable = self._switch.plug(f"p{number}", host, LAN, *self.numbers.both(number))
        self._links[name] = self.lab.keep(Link(name, self._switch, cable, self.lab.folder))
        for family, gateway in (("-4", self.numbers.v4(GATEWAY)), ("-6", self.numbers.v6(GATEWAY))):
            host.ip(family, "route", "add", "default", "via", gateway, "dev", LAN)
        return host

    def join(self, link_net: Switch) -> None:
        """Lay the gateway's cable to the link net: the link SITE-wan."""
        addresses = f"{self.numbers.link4}/24", f"{self.numbers.link6}/64"
        cable = link_net.plug(self.name, self.gateway, WAN, *addresses)
        name = f"{self.name}-wan"
        self._links[name] = self.lab.keep(Link(name, link_net, cable, self.lab.folder))

    def routers(self, others: Sequence[Numbers]) -> None:
        """Start both reflectors and the gateway's routing."""
        folder, numbers = self.lab.folder, self.numbers
        host = self.host(f"{self.name}-rr1", RR1)
        self.rr1: Bird = self.lab.bird(f"{self.name}-rr1", reflector_bird(numbers), host)
        self.known("rr1", "bird", lambda: [self.rr1.running], self.rr1.start)
        host = self.host(f"{self.name}-rr2", RR2)
        text = reflector_frr(numbers)
        self.rr2 = self.lab.keep(Frr(folder / f"{self.name}-rr2", text, host, bfd=True))
        self.known("rr2", "frr", lambda: self.rr2.processes, self.rr2.start)
        text, static = gateway_bgp(numbers), gateway_static(others)
        gw = Frr(folder / f"{self.name}-gw", text, self.gateway, static=static, bfd=True)
        self.gw = self.lab.keep(gw)
        self.known("gw", "frr", lambda: self.gw.processes, self.gw.start)

    def consul_hosts(self, size: int) -> list[Host]:
        """Make the hosts of Consul's servers."""
        return [
            self.host(f"{self.name}-consul{number}", CONSUL + number)
            for number in range(1, size + 1)
        ]

    def take(self, consul: ConsulCluster) -> None:
        """Own these servers, which were started on `consul_hosts`."""
        self.consul = consul
        for server in consul.servers:
            self.lab.keep(server)
            short = server.name.removeprefix(f"{self.name}-")
            self.known(short, "consul", lambda one=server: [one.process], server.restart)

    def broker(self) -> None:
        """Start a Mosquitto that everybody may use, at port 1883."""
        host = self.host(f"{self.name}-broker", BROKER)
        folder = self.lab.folder / f"{self.name}-broker"
        folder.mkdir()
        config = folder / "mosquitto.conf"
        # As root: the kernel forgets whose death ends a process when that takes another user.
        config.write_text("user root\nlistener 1883\nallow_anonymous true\n")
        started: list[Process] = []

        def start() -> None:
            argv = host.argv(MOSQUITTO, "-c", str(config))
            started[:] = [Process(argv, folder / "mosquitto.log")]

        start()
        self.lab.keep(self.known("broker", "mosquitto", lambda: started, start))

    def node(self, index: int, *, agent: bool) -> Node:
        """Make a host with BIRD."""
        name = node_name(self.numbers, index)
        host = self.host(name, NODE + index)
        node = Node(self.lab, self.numbers, index, host, agent=agent)
        self.nodes.append(node)
        bird = node.bird
        self.known(node.name, "bird", lambda: [bird.running], bird.start)
        return node

    def document(self) -> dict[str, Any]:
        """Return what all hosts of this site have, as the sample tree says it of its two sites."""
        numbers = self.numbers
        peers = {
            name: {
                "ipv4": numbers.v4(number),
                "ipv6": numbers.v6(number),
                "asn": numbers.asn,
                "source": f"{{fact.ipv4.{LAN}}}",
                "bfd": True,
            }
            for name, number in (("rr1", RR1), ("rr2", RR2))
        }
        return {"local_as": numbers.asn, "peers": peers}

    def known(
        self,
        host: str,
        kind: str,
        processes: Callable[[], Sequence[Process]],
        start: Callable[[], None],
    ) -> Daemon:
        """Name a daemon: SITE-HOST/KIND."""
        host = host if host.startswith(f"{self.name}-") else f"{self.name}-{host}"
        daemon = Daemon(f"{host}/{kind}", processes, start)
        self.daemons[daemon.name] = daemon
        return daemon

    def wait_routed(self) -> None:
        """Wait until the sessions of all hosts are up, and the gateway knows every workload."""
        for node in self.nodes:
            node.wait_established()
        wanted = {node.workload[0].removesuffix("/32") for node in self.nodes}
        wait_until(
            f"{self.name}'s gateway knows its workloads",
            lambda: wanted <= set(self.gateway.routes(4, "bgp")),
            timeout_s=60,
        )
