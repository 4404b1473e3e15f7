"""A real FRR: the second vendor on the far side of a session, asked over its own shell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.lab.net import HERE, Host
from tests.lab.process import Process
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from pathlib import Path

DAEMONS = "/usr/lib/frr"


class Frr:
    """zebra, bgpd and what else is asked for, with their files in one folder."""

    def __init__(
        self, folder: Path, text: str, host: Host = HERE, *, static: str = "", bfd: bool = False
    ) -> None:
        """Write bgpd's and staticd's configuration, as `show running-config` has it; start, wait.

        Shape: staticd runs when there are static routes, bfdd when asked for.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.folder = folder
        self.processes: list[Process] = []
        texts = {"zebra": ""}
        if static:
            texts["staticd"] = static
        if bfd:
            texts["bfdd"] = ""
        self._daemons = {**texts, "bgpd": text}
        for daemon, content in self._daemons.items():
            (folder / f"{daemon}.conf").write_text(content)
        self.start()

    def start(self) -> None:
        """Start the daemons, one after the other, and wait for each."""
        self.processes = []
        for daemon in self._daemons:
            (self.folder / f"{daemon}.vty").unlink(missing_ok=True)
            self.processes.append(Process(self._argv(daemon), self.folder / f"{daemon}.log"))
            wait_until(f"{daemon} answers", lambda name=daemon: self._alive(name))

    def _argv(self, daemon: str) -> list[str]:
        own = {
            "-f": f"{daemon}.conf",
            "-i": f"{daemon}.pid",
            "-z": "zserv.api",
            "--vty_socket": "",
        }
        if daemon == "bfdd":
            own["--bfdctl"] = "bfdd.sock"
        files = [word for flag, name in own.items() for word in (flag, str(self.folder / name))]
        argv = [f"{DAEMONS}/{daemon}", *files, "-P", "0", "-u", "root", "-g", "frrvty"]
        return self.host.argv(*argv)

    def _alive(self, daemon: str) -> bool:
        if self.processes[-1].exit_code is not None:
            raise LabError(f"{daemon} ended at start:\n{self.processes[-1].text}")
        return (self.folder / f"{daemon}.vty").exists()

    def show(self, command: str) -> Any:
        """Return what `show COMMAND json` says of BGP."""
        words = ("vtysh", "--vty_socket", str(self.folder), "-d", "bgpd", "-c")
        return json.loads(self.host.run(*words, f"show {command} json"))

    def neighbor(self, address: str) -> Any:
        """Return what it knows of one neighbour."""
        return self.show(f"bgp neighbors {address}")[address]

    def wait_established(self, address: str, timeout_s: float = 20) -> None:
        """Wait until the session with a neighbour is Established."""
        wait_until(
            f"FRR's session with {address}",
            lambda: self.neighbor(address)["bgpState"] == "Established",
            timeout_s,
        )

    def resets(self, address: str) -> tuple[int, int]:
        """Return how often the session came up and went down."""
        told = self.neighbor(address)
        return told["connectionsEstablished"], told["connectionsDropped"]

    def routes(self, family: str = "ipv4") -> dict[str, Any]:
        """Return its table: the paths of each prefix."""
        found: dict[str, Any] = self.show(f"bgp {family} unicast")["routes"]
        return found

    def close(self) -> None:
        """Kill it; legal at any time."""
        for process in reversed(self.processes):
            process.kill()
