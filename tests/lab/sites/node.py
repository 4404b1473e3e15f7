"""A host of a site: its BIRD, and an agent of ours whose Consul is the site's.

Separate because what an agent is told of sites is said in one place: `across_sites`.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from tests.lab.agent import merged
from tests.lab.sites.numbers import NODE, SITES, Numbers
from tests.lab.sites.routing import plain_node
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab
    from tests.lab.agent import Agent, Settings
    from tests.lab.consul import ConsulServer
    from tests.lab.net import Host

ROLE = "compute"
SESSIONS = tuple(f"{name}_ipv{version}" for name in ("rr1", "rr2") for version in (4, 6))


def consul_settings(server: ConsulServer, token: Path, ca: Path | None) -> Settings:
    """Return `[source.consul]` of whoever asks a server."""
    held: Settings = {"address": server.url, "token_file": str(token)}
    return {**held, "ca_file": str(ca)} if ca else held


def across_sites(replicator: Path | None = None) -> Settings:
    """Return the settings by which datacenters know each other; a token lets it stand for election.

    Where home is, is the same on every host of all sites.
    """
    settings: Settings = {"source": {"consul": {"home_datacenter": SITES[0].name}}}
    if replicator:
        settings["replicate"] = {"enabled": True, "token_file": str(replicator)}
    return settings


class Node:
    """One host; with an agent its BIRD starts on the distribution's example, as a fresh host's."""

    def __init__(self, lab: Lab, site: Numbers, index: int, host: Host, *, agent: bool) -> None:
        """Start BIRD; an agent is given by `prepare`. The host is on its site's network."""
        self.name = node_name(site, index)
        self.site = site
        self.host = host
        self.number = NODE + index
        self.workload = site.workload(index)
        host.add_address("lo", *self.workload)
        text = None if agent else plain_node(site, self.number, self.workload)
        self._lab = lab
        self.bird = lab.bird(f"{self.name}/bird", text, host)
        self._prefix = "cs_" if agent else ""
        self.agent: Agent | None = None

    def document(self) -> dict[str, Any]:
        """Return what is this node's own: who it is, and what it announces."""
        four, six = self.workload
        return {
            "router_id": self.site.v4(self.number),
            "announce": {"workload4": four, "workload6": six},
        }

    def prepare(self, consul: Settings, replicator: Path | None, more: Settings) -> Agent:
        """Make its agent, not started; with a token of its own it may replicate."""
        settings: Settings = {
            "site": self.site.name,
            "node": self.name,
            "role": ROLE,
            "source": {"consul": consul, "quiet_min_s": 0.2, "quiet_max_s": 2.0},
            "drivers": {
                "bird": {
                    "enabled": True,
                    "config_file": str(self.bird.config),
                    "control_socket": str(self.bird.socket),
                }
            },
            "pace": {"splay_s": 0},
        }
        folder = f"{self.name}/agent"
        agent = self._lab.agent(settings, name=folder, start=False, host=self.host)
        for tables in (across_sites(replicator), more):
            agent.settings = merged(agent.settings, tables)
        agent.write_settings()
        self.agent = agent
        return agent

    @property
    def ours(self) -> Agent:
        """Its agent."""
        assert self.agent, "this lab has no agents"
        return self.agent

    def status(self) -> Any:
        """Return its agent's status."""
        return self.ours.get("/api/v1/node").json

    def wait_state(self, state: str, *, change: int | None = None, timeout_s: float = 60) -> Any:
        """Wait until its agent is in a state (and desires a change); return its status."""

        def there() -> Any:
            found = self.status()
            desired = (found["desired"] or {}).get("change")
            return found if found["state"] == state and change in (None, desired) else None

        try:
            return wait_until(f"{self.name} {state}", there, timeout_s)
        except Exception as error:
            error.add_note(f"status: {self.status()}\nlog: {self.ours.log[-3000:]}")
            raise

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ours on this host."""
        argv = [*self.ours.command(*words), "--config", str(self.ours.config)]
        return subprocess.run(
            argv, env=self.ours.env, capture_output=True, text=True, timeout=120, check=False
        )

    def wait_established(self, timeout_s: float = 60) -> None:
        """Wait until both its sessions with both reflectors are up."""
        names = [f"{self._prefix}{name}" for name in SESSIONS]
        self.bird.wait_established(*names, timeout_s=timeout_s)


def node_name(site: Numbers, index: int) -> str:
    """Return the name of a site's host."""
    return f"{site.name}-{ROLE}-{index:02}"
