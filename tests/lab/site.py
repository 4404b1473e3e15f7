"""The main job set up whole: Consul or a folder, our BIRD, a far end, the agent between."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab import NEAR_ASN, Lab
from tests.lab.agent import Agent, Settings, merged
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.consul import ConsulServer

PREFIX = "confsync/v1"
NODE_KEY = "nodes/lab-edge-1/bgp"
Document = dict[str, Any]


class Site:
    """One host of ours (this namespace) with one neighbour, and an agent not yet started.

    Shape: the neighbour is peer `far` of the documents; sessions are `cs_far_ipv4`, `cs_far_ipv6`.
    """

    def __init__(
        self,
        lab: Lab,
        *,
        consul: bool | ConsulServer = True,
        ibgp: bool = False,
        bfd: bool = True,
        settings: Settings | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Start everything but the agent."""
        self.lab = lab
        self.near = lab.bird("near")
        near_asn = 65001 if ibgp else NEAR_ASN
        self.far = lab.far_end(1, near_asn=near_asn, bfd=bfd)
        self.near_asn = near_asn
        self._bfd = bfd
        self.tree = lab.folder / "tree"
        self.tree.mkdir()
        self._hidden = lab.folder / "hidden"
        self.consul = lab.consul() if consul is True else consul or None
        source = {"kind": "consul"} if consul else {"kind": "directory", "path": str(self.tree)}
        base: Settings = {
            "source": {**source, "quiet_min_s": 0.2, "quiet_max_s": 2.0},
            "drivers": {
                "bird": {
                    "enabled": True,
                    "config_file": str(self.near.config),
                    "control_socket": str(self.near.socket),
                    "hold_s": 0.3,
                }
            },
            "http": {"listen": ""},
        }
        self.agent: Agent = lab.agent(merged(base, settings or {}), start=False, prefix=prefix)

    def document(self, **changes: Any) -> Document:
        """Return the node's bgp document, with top-level members changed (None = left out)."""
        permit = {"default": "permit"}
        document: Document = {
            "router_id": self.far.near4,
            "local_as": self.near_asn,
            "peers": {
                "far": {
                    "ipv4": self.far.far4,
                    "ipv6": self.far.far6,
                    "asn": self.far.asn,
                    "bfd": self._bfd,
                    "error_wait_max_s": 2,
                }
            },
            "import": {"ipv4": permit, "ipv6": permit},
            "export": {"ipv4": permit, "ipv6": permit},
            "announce": {"one": "192.0.2.0/24", "six": "2001:db8:99::/48"},
            **changes,
        }
        return {name: value for name, value in document.items() if value is not None}

    def write(self, document: Document | str, key: str = NODE_KEY) -> Path:
        """Write one document into the tree of files."""
        path = self.tree / f"{key}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    def put(self, document: Document | str, key: str = NODE_KEY) -> None:
        """Write one document plainly, past any head, as with `consul kv put`."""
        assert self.consul
        text = document if isinstance(document, str) else json.dumps(document)
        self.consul.kv.put(f"{PREFIX}/desired/{key}", text)

    def publish(self, document: Document) -> None:
        """Write the node's document where the agent reads it, plainly."""
        if self.consul:
            self.put(document)
        else:
            self.write(document)

    def source_gone(self) -> None:
        """Let the source give no answer (any more): Consul hangs, the tree is not there."""
        if self.consul:
            self.consul.stop()
        elif self.tree.exists():
            self.tree.rename(self._hidden)

    def source_back(self) -> None:
        """Let the source answer again."""
        if self.consul:
            self.consul.cont()
        else:
            self._hidden.rename(self.tree)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ours with the agent's settings."""
        if not self.agent.config.exists():
            self.agent.write_settings()
        argv = [*self.agent.command(*words), "--config", str(self.agent.config)]
        return subprocess.run(
            argv, env=self.agent.env, capture_output=True, text=True, timeout=120, check=False
        )

    def push(self, document: Document | None = None, *words: str) -> int:
        """Publish the tree (with this node document) and return the change's number."""
        if document is not None:
            self.write(document)
        done = self.run("push", str(self.tree), "-m", "test", "--json", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return int(json.loads(done.stdout)["data"]["change"])

    def status(self) -> Any:
        """Return the agent's status."""
        return self.agent.get("/api/v1/node").json

    def wait_state(self, state: str, *, change: int | None = None, timeout_s: float = 30) -> Any:
        """Wait until the agent is in a state (and desires a change); return its status."""
        seen: list[Any] = [None]

        def there() -> Any:
            seen[0] = found = self.status()
            desired = (found["desired"] or {}).get("change")
            return found if found["state"] == state and change in (None, desired) else None

        try:
            return wait_until(f"state {state}", there, timeout_s)
        except Exception as error:
            error.add_note(f"status: {json.dumps(seen[0])}\nlog: {self.agent.log[-3000:]}")
            raise

    def start(self, document: Document | None = None) -> Any:
        """Publish a first document, start the agent, wait for in-sync and established sessions."""
        if self.consul:
            self.push(document or self.document())
        else:
            self.write(document or self.document())
        self.agent.start()
        status = self.wait_state("in-sync")
        self.near.wait_established("cs_far_ipv4", "cs_far_ipv6")
        return status

    def wait_file(self, content: bytes, timeout_s: float = 30) -> None:
        """Wait until this is the live file."""

        def there() -> bool:
            return self.near.config.read_bytes() == content

        try:
            wait_until("the wanted file is there", there, timeout_s)
        except Exception as error:
            error.add_note(f"status: {json.dumps(self.status())}\nlog: {self.agent.log[-3000:]}")
            raise

    def restart(self, **settings: Any) -> None:
        """End the agent in good order and start it with other settings."""
        self.agent.terminate()
        self.agent.settings = merged(self.agent.settings, settings)
        self.agent.start()

    def since(self) -> dict[str, str]:
        """Return since when each of our sessions is as it is."""
        return {name: session.since for name, session in self.near.sessions().items()}

    def render(self) -> str:
        """Return the id of the configuration that our BIRD runs."""
        return self.near.ctl("eval cs_render")[-1].removeprefix("0023 ")
