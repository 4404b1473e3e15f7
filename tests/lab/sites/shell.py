"""A person's shell on a host of the lab: programs find that host's daemons, Consul and agent.

Separate because the command line and the demo type the same commands.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.consul import consul_binary
from tests.lab.net import HERE, Host
from tests.lab.wait import LabError

if TYPE_CHECKING:
    from tests.lab.sites import Sites

OPERATOR = "operator-"  # of a site: this very process's namespace, with a token to publish


class Shell(NamedTuple):
    """Where commands run, and their environment; `pid` is a process of the host."""

    pid: int
    env: dict[str, str]

    def argv(self, *command: str) -> list[str]:
        """Return a command as it is run from anywhere."""
        return Host(self.pid).argv(*command)


def shell(sites: Sites, name: str) -> Shell:
    """Return a host's, or `operator-SITE`'s. Raises LabError for a name that is not there."""
    operators = [f"{OPERATOR}{site}" for site in sites.sites]
    if name in operators:
        host = HERE
    elif name in sites.hosts:
        host = sites.hosts[name]
    else:
        known = ", ".join(sorted([*sites.hosts, *operators]))
        raise LabError(f"no host {name!r}: there are {known}")
    env = _environment(sites, name)
    return Shell(host.pid, {**env, "PATH": f"{_programs(sites, name)}:{os.environ['PATH']}"})


def _environment(sites: Sites, name: str) -> dict[str, str]:
    site = next(one for key, one in sites.sites.items() if key in name.split("-"))
    server = next((one for one in site.consul.servers if one.name == name), None)
    agents = {one: node.agent for one, node in sites.nodes.items()}
    agents |= {f"{OPERATOR}{one}": agent for one, agent in sites.operators.items()}
    agent = agents.get(name)
    holder = "management"
    if name.startswith(OPERATOR):
        holder = "publisher" if site is sites.home else "emergency"
    elif agent:
        holder = name
    env = {
        "CONSUL_HTTP_ADDR": (server or site.consul.servers[0]).url,
        "CONSUL_HTTP_TOKEN_FILE": str(sites.tokens.file(holder)),
    }
    if sites.authority:
        env["CONSUL_CACERT"] = str(sites.authority.ca)
    if agent:
        env["CONFSYNC_CONFIG"] = str(agent.config)
    return env


def _programs(sites: Sites, name: str) -> Path:
    """Make a folder with the programs that people type, for the PATH."""
    here = sites.lab.folder
    folder = here / "bin" / name
    folder.mkdir(parents=True, exist_ok=True)
    bird = sites.nodes[name].bird.socket if name in sites.nodes else here / name / "bird.ctl"
    places = {"birdc": f'-s "{bird}"', "vtysh": f'--vty_socket "{here / name}"'}
    path = f"{os.environ['PATH']}:/usr/sbin"
    programs = {one: f"{shutil.which(one, path=path)} {place}" for one, place in places.items()}
    programs["consul"] = consul_binary()
    programs["confsync"] = str(Path(sys.executable).with_name("confsync"))
    for program, words in programs.items():
        script = folder / program
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(0o700)
    return folder
