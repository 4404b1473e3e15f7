"""Real Consul servers: one on 127.0.0.1, a cluster on 127.0.0.1 and up, or hosts of their own."""

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
    import ssl
    from collections.abc import Sequence
    from pathlib import Path

HTTP_PORT = 8500
HTTPS_PORT = 8501
QUICK = {
    # A restarted server votes again at once; the default makes a lab wait ten seconds.
    "autopilot": {"server_stabilization_time": "200ms"},
    "log_level": "warn",
}
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
    """One server; `kv` is its client, `address` where it listens."""

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
        """Write the configuration of a server on 127.0.0.N and start it; waits for no leader."""
        address = f"127.0.0.{number}"
        peers = [f"127.0.0.{one}" for one in range(1, expect + 1)]
        content = {
            "server": True,
            "node_name": f"consul{number}",
            "datacenter": datacenter,
            "bind_addr": address,
            "client_addr": address,
            "bootstrap_expect": expect,
            "retry_join": [peer for peer in peers if peer != address],
            "retry_interval": "1s",
            "ports": {"dns": -1, "grpc": -1, "serf_wan": -1},
            "performance": {"raft_multiplier": 1},
            **QUICK,
            "disable_update_check": True,
            "acl": {"enabled": acl, "default_policy": "deny" if acl else "allow"},
            **(settings or {}),
        }
        self._run(folder, content, host)

    @classmethod
    def of(
        cls,
        folder: Path,
        content: dict[str, Any],
        host: Host,
        *,
        files: Sequence[Path] = (),
        tls: ssl.SSLContext | None = None,
    ) -> ConsulServer:
        """Start one of this content and, read before it, these files; waits for no leader.

        Shape: with `tls` its client uses the https port, 8501.
        """
        server = cls.__new__(cls)
        server._run(folder, {**QUICK, **content}, host, files, tls)
        return server

    def _run(
        self,
        folder: Path,
        content: dict[str, Any],
        host: Host,
        files: Sequence[Path] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = content["node_name"]
        self.address = content["bind_addr"]
        port = HTTPS_PORT if tls else HTTP_PORT
        self.url = f"http{'s' if tls else ''}://{self.address}:{port}"
        self.host = host
        self.kv = Kv(self.address, port, tls=tls)
        self._folder = folder
        own = folder / "consul.json"
        own.write_text(json.dumps({"data_dir": str(folder / "data"), **content}, indent=1))
        self._files = [*files, own]
        self.process = self._start()

    def _start(self) -> Process:
        argv = [consul_binary(), "agent"]
        argv += [word for file in self._files for word in ("-config-file", str(file))]
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
    """Several servers of one datacenter."""

    def __init__(self, servers: Sequence[ConsulServer]) -> None:
        """Take servers that were started."""
        self.servers = list(servers)

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
