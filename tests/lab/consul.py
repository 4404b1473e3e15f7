"""Real Consul servers on loopback addresses: one on 127.0.0.1, a cluster on 127.0.0.1 and up."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from tests.lab.cache import cached
from tests.lab.kv import ConsulError, Kv
from tests.lab.net import HERE, Host
from tests.lab.process import Process
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from pathlib import Path

HTTP_PORT = 8500
LEADER_S = 30.0


def consul_binary() -> str:
    """Find Consul: CONFSYNC_TEST_CONSUL, PATH, then the cache folder that scripts/setup fills."""
    if named := os.environ.get("CONFSYNC_TEST_CONSUL"):
        return named
    if found := shutil.which("consul"):
        return found
    fetched = cached("consul/consul")
    if not fetched.is_file():
        raise LabError("no Consul here: scripts/setup fetches it")
    return str(fetched)


class ConsulServer:
    """One server; `kv` is its client, `address` where it listens (port 8500)."""

    def __init__(
        self,
        folder: Path,
        *,
        number: int = 1,
        expect: int = 1,
        datacenter: str = "dc1",
        acl: bool = False,
        settings: dict[str, Any] | None = None,
        host: Host = HERE,
    ) -> None:
        """Write its configuration and start it; does not wait for a leader."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"consul{number}"
        self.address = f"127.0.0.{number}"
        self.url = f"http://{self.address}:{HTTP_PORT}"
        self.host = host
        self.kv = Kv(self.address, HTTP_PORT)
        self._folder = folder
        peers = [f"127.0.0.{one}" for one in range(1, expect + 1)]
        content = {
            "server": True,
            "node_name": self.name,
            "datacenter": datacenter,
            "data_dir": str(folder / "data"),
            "bind_addr": self.address,
            "client_addr": self.address,
            "bootstrap_expect": expect,
            "retry_join": [peer for peer in peers if peer != self.address],
            "retry_interval": "1s",
            "ports": {"dns": -1, "grpc": -1, "serf_wan": -1},
            "performance": {"raft_multiplier": 1},
            # A restarted server votes again at once; the default makes a lab wait ten seconds.
            "autopilot": {"server_stabilization_time": "200ms"},
            "disable_update_check": True,
            "log_level": "warn",
            "acl": {"enabled": acl, "default_policy": "deny" if acl else "allow"},
            **(settings or {}),
        }
        (folder / "consul.json").write_text(json.dumps(content, indent=1))
        self.process = self._start()

    def _start(self) -> Process:
        argv = [consul_binary(), "agent", "-config-file", str(self._folder / "consul.json")]
        return Process(self.host.argv(*argv), self._folder / "consul.log")

    def leader(self) -> str:
        """Return the leader's address as this server sees it, empty when there is none."""
        try:
            leader: str = self.kv.json("GET", "status/leader")
        except ConsulError:
            return ""
        return leader.rpartition(":")[0]

    def wait_leader(self, timeout_s: float = LEADER_S) -> str:
        """Wait until it answers consistent reads; returns the leader's address."""

        def ready() -> bool:
            if self.process.exit_code is not None:
                raise LabError(f"{self.name} ended:\n{self.process.text}")
            try:
                self.kv.keys("lab/none")
            except ConsulError as error:
                return error.status == 403  # refused by a server that has a leader
            return True

        wait_until(f"{self.name} has a leader", ready, timeout_s, every_s=0.05)
        return self.leader()

    def bootstrap_acl(self) -> str:
        """Make the first token, the almighty one; `kv` uses it from now on."""

        def made() -> str:
            try:
                return str(self.kv.json("PUT", "acl/bootstrap")["SecretID"])
            except ConsulError as error:
                if error.status == 500:  # the ACL system starts a moment after the election
                    return ""
                raise

        self.kv.token = wait_until("ACL bootstrapped", made, LEADER_S, every_s=0.05)
        return self.kv.token

    def kill(self) -> None:
        """SIGKILL; its data stays for `restart`."""
        self.process.kill()

    def restart(self) -> None:
        """Kill it if it runs, then start it on its data; does not wait for a leader."""
        self.process.kill()
        self.process = self._start()

    def stop(self) -> None:
        """Hang it."""
        self.process.stop()

    def cont(self) -> None:
        """End a hang."""
        self.process.cont()

    def close(self) -> None:
        """Kill it and drop its data, the log stays; legal at any time."""
        self.process.kill()
        shutil.rmtree(self._folder / "data", ignore_errors=True)


class ConsulCluster:
    """Several servers of one datacenter on 127.0.0.1, 127.0.0.2 and so on."""

    def __init__(self, folder: Path, size: int = 3, **options: Any) -> None:
        """Start them all; does not wait for a leader."""
        self.servers = [
            ConsulServer(folder / str(number), number=number, expect=size, **options)
            for number in range(1, size + 1)
        ]

    def wait_leader(self, timeout_s: float = LEADER_S) -> ConsulServer:
        """Wait until every running server follows one leader; returns that leader."""
        running = [one for one in self.servers if one.process.exit_code is None]

        def agreed() -> ConsulServer | None:
            leaders = {one.leader() for one in running}
            return next((one for one in running if leaders == {one.address}), None)

        leader = wait_until("one leader for all", agreed, timeout_s, every_s=0.05)
        for one in running:
            one.wait_leader(timeout_s)
        return leader

    def close(self) -> None:
        """Kill them all."""
        for one in self.servers:
            one.close()
