"""Whole sites, joined: what a research cloud at two universities has, in network namespaces.

Separate from the lab of one host, which it is made of. The first site is home. This process is the
operator: it has a cable to every site and passes nothing on, so it sees both sides of a cut. Plain
synchronous Python that knows nothing of our code; everything is gone with the Lab.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.agent import Agent, merged
from tests.lab.sites import datacenter
from tests.lab.sites.datacenter import Gossip
from tests.lab.sites.link import Link, Switch
from tests.lab.sites.node import Node, across_sites, consul_settings
from tests.lab.sites.numbers import SITES
from tests.lab.sites.site import Site
from tests.lab.sites.tls import Authority
from tests.lab.sites.tokens import Tokens
from tests.lab.wait import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab import Lab
    from tests.lab.agent import Settings
    from tests.lab.net import Host
    from tests.lab.sites.daemon import Daemon

REPLICATORS = 2  # hosts of a site that may copy what home publishes
SAMPLE = Path(__file__).parents[3] / "config" / "tree"


class Sites:
    """All sites of a lab, up and joined; `tree` is what its agents follow."""

    def __init__(
        self,
        lab: Lab,
        *,
        sites: int = 2,
        hosts: int = 2,
        servers: int = 1,
        tls: bool = False,
        agents: bool = True,
        settings: Settings | None = None,
    ) -> None:
        """Start everything; with agents their first tree is published and applied.

        Shape: `hosts` and `servers` (of Consul) are for each site; `settings` are of every agent.
        """
        if not 1 <= sites <= len(SITES):
            raise LabError(f"{sites} sites: there are names and numbers for 1 to {len(SITES)}")
        self.lab = lab
        self.links: dict[str, Link] = {}
        chosen = SITES[:sites]
        self.sites = {one.name: Site(lab, one, self.links) for one in chosen}
        self.home, *self.others = self.sites.values()
        link_net = Switch(lab.namespace("link-net"), "linknet")
        for site in self.sites.values():
            site.join(link_net)
        self._consul(servers, tls=tls)
        for site in self.sites.values():
            site.broker()
            for index in range(1, hosts + 1):
                site.node(index, agent=agents)
        self.operators: dict[str, Agent] = {}
        self.tree = lab.folder / "tree"
        if agents:
            self._agents(settings or {})
        for site in self.sites.values():
            site.wait_routed()

    def _consul(self, size: int, *, tls: bool) -> None:
        """Start Consul and, while it elects, the routers; make the tokens; join the sites."""
        lab, all_numbers = self.lab, [site.numbers for site in self.sites.values()]
        self.authority = Authority(lab.folder / "tls") if tls else None
        gossip = Gossip(self.authority, self.home.numbers, size)
        at_home = self.home.consul_hosts(size)
        self.home.take(datacenter.start(self.home.numbers, at_home, lab.folder, gossip, None))
        for site in self.sites.values():
            site.routers([one for one in all_numbers if one is not site.numbers])
        almighty = datacenter.bootstrap(self.home.consul)
        kv = self.home.consul.servers[0].kv
        self.tokens = Tokens(lab.folder / "tokens", kv, list(self.sites))
        datacenter.introduce(self.home.consul, self.tokens)
        for site in self.others:
            hosts = site.consul_hosts(size)
            site.take(datacenter.start(site.numbers, hosts, lab.folder, gossip, self.tokens))
        reader = self.tokens.secret("reader")
        for site in self.sites.values():
            site.consul.wait_leader()
            datacenter.use(site.consul, almighty)
            datacenter.wait_joined(site.consul, all_numbers, reader)

    def _agents(self, settings: Settings) -> None:
        """Write and publish the first tree, start the agents, wait until all have applied it."""
        shutil.copytree(SAMPLE, self.tree)
        shutil.rmtree(self.tree / "nodes")
        self.operators = {name: self._operator(site) for name, site in self.sites.items()}
        for name, site in self.sites.items():
            if not (self.tree / "sites" / name).exists():  # the sample has two
                self.write(f"sites/{name}/common/bgp", json.dumps(site.document()))
        for node in self.nodes.values():
            self.write(f"nodes/{node.name}/bgp", json.dumps(node.document()))
            acts = settings.get("drivers", {}).get("calico", {}).get("enabled", False)
            self.tokens.node(node.site.name, node.name, acts=acts)
        self.publish("the first tree")
        self.wait_known(*self.nodes)
        for site in self.sites.values():
            for index, node in enumerate(site.nodes):
                server = site.consul.servers[index % len(site.consul.servers)]
                stands = site is not self.home and index < REPLICATORS
                own = self.tokens.file(f"replicator-{site.name}") if stands else None
                agent = node.prepare(self.consul_settings(server, node.name), own, settings)
                site.known(node.name, "agent", lambda one=agent: [one.running], _starting(agent))
                agent.start(wait=False)
        for node in self.nodes.values():
            node.wait_state("in-sync")

    def mend(self) -> None:
        """End the faults of all links, wait until the sites are joined, and drop their trees."""
        for link in self.links.values():
            link.heal()
        numbers = [site.numbers for site in self.sites.values()]
        for site in self.sites.values():
            datacenter.wait_joined(site.consul, numbers, self.tokens.secret("reader"))
            site.consul.servers[0].kv.delete_tree("confsync/")

    def node_token(self, site: str, node: str) -> str:
        """Make the token of a node's agent, and return its secret once every site knows it."""
        self.tokens.node(site, node)
        self.wait_known(node)
        return self.tokens.secret(node)

    def wait_known(self, *holders: str) -> None:
        """Wait until tokens have travelled from home to every site's servers, with all policies."""
        secrets = [self.tokens.secret(one) for one in holders]
        for site in self.others:
            datacenter.wait_known(site.consul, secrets, self.home.consul)

    def consul_settings(self, server: object, holder: str) -> Settings:
        """Return `[source.consul]` of a token's holder."""
        ca = self.authority.ca if self.authority else None
        return consul_settings(server, self.tokens.file(holder), ca)  # type: ignore[arg-type]

    def _operator(self, site: Site) -> Agent:
        """Return settings of an operator at a site; this agent is never started."""
        holder = "publisher" if site is self.home else "emergency"
        consul = self.consul_settings(site.consul.servers[0], holder)
        base: Settings = {
            "site": site.name,
            "node": f"{site.name}-operator-1",
            "source": {"consul": consul},
        }
        agent = self.lab.agent(
            merged(base, across_sites()), name=f"operator-{site.name}", start=False
        )
        agent.write_settings()
        return agent

    def write(self, key: str, text: str) -> Path:
        """Write one document of the tree."""
        path = self.tree / f"{key}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def publish(self, why: str) -> int:
        """Push the tree at home and return the change's number."""
        operator = self.operators[self.home.name]
        argv = operator.command("push", str(self.tree), "-m", why, "--json")
        argv += ["--config", str(operator.config)]
        done = subprocess.run(
            argv, env=operator.env, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise LabError(f"push: {done.stdout}{done.stderr}")
        return int(json.loads(done.stdout)["data"]["change"])

    @property
    def nodes(self) -> dict[str, Node]:
        """All hosts with BIRD, by name."""
        return {node.name: node for site in self.sites.values() for node in site.nodes}

    @property
    def hosts(self) -> dict[str, Host]:
        """All hosts, by name."""
        return {name: host for site in self.sites.values() for name, host in site.hosts.items()}

    @property
    def daemons(self) -> dict[str, Daemon]:
        """All daemons, by name: HOST/KIND."""
        return {name: one for site in self.sites.values() for name, one in site.daemons.items()}

    def matching(self, pattern: str) -> list[Daemon]:
        """Return daemons by name, by host where that has one, or by pattern: `osl-*/agent`.

        Raises: LabError when none, or a host of several, is meant.
        """
        daemons = self.daemons
        if found := fnmatch.filter(daemons, pattern):
            return [daemons[name] for name in found]
        found = [name for name in daemons if name.partition("/")[0] == pattern]
        if len(found) == 1:
            return [daemons[found[0]]]
        raise LabError(f"no daemon {pattern!r}: there are {', '.join(found or sorted(daemons))}")

    def links_matching(self, pattern: str) -> list[Link]:
        """Return links by name or pattern. Raises LabError when there is none."""
        if found := fnmatch.filter(self.links, pattern):
            return [self.links[name] for name in found]
        raise LabError(f"no link {pattern!r}: there are {', '.join(sorted(self.links))}")


def _starting(agent: Agent) -> Callable[[], None]:
    return lambda: agent.start(wait=False)  # ready is not waited for: its Consul may be down
