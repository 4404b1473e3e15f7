"""A cable from a host to its site's switch, and what can happen to it.

Separate because all faults of a network are here. Silent loss is the kernel's `blackhole` queue at
both ends, which every kernel with traffic control has. Delay is a process of ours: netem is missing
in some kernels.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab.net import Cable, Host, connect
from tests.lab.process import Process
from tests.lab.wait import wait_until

ROOT = Path(__file__).parents[3]


class Switch:
    """A bridge in a namespace."""

    def __init__(self, host: Host, name: str) -> None:
        """Make it; it has an interface of its own name in that namespace."""
        self.host, self.name = host, name
        host.ip("link", "add", name, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        host.up(name)

    def plug(self, port: str, host: Host, interface: str, *addresses: str) -> Cable:
        """Lay a cable from a port to a host, which gets addresses there."""
        cable = connect(self.host, port, host, interface, far_addresses=addresses)
        self.host.ip("link", "set", port, "master", self.name)
        return cable


class Link:
    """One cable with its faults; `state` says what is wrong with it, empty when nothing is."""

    def __init__(self, name: str, switch: Switch, cable: Cable, folder: Path) -> None:
        """Watch over a cable that is plugged into a switch; a relay logs into the folder."""
        self.name = name
        self._switch = switch
        self._cable = cable
        self._ends = ((cable.here, cable.near), (cable.there, cable.far))
        self._log = folder / f"{name}.relay.log"
        self._relay: Process | None = None
        self.state = ""

    def cut(self) -> None:
        """Pull it: both ends lose carrier."""
        self._cable.down()
        self.state = "cut"

    def cut_silently(self) -> None:
        """Lose every packet, both ways; carrier and addresses stay."""
        for host, interface in self._ends:
            host.run("tc", "qdisc", "replace", "dev", interface, "root", "blackhole")
        self.state = "cut silently"

    def delay(self, delay_ms: int, lost_percent: int = 0, kbit: int = 0) -> None:
        """Make a long line of it, each way: a round trip takes twice as long.

        Shape: it may lose some packets and be narrow as well, so many kbit/s; 0 is as it is.
        """
        self._undelay()
        port, inner, outer = (self._cable.near + end for end in ("", "r", "b"))
        here = self._switch.host
        connect(here, inner, here, outer)
        here.ip("link", "set", port, "nomaster")
        here.ip("link", "set", outer, "master", self._switch.name)
        self._log.unlink(missing_ok=True)
        program = (sys.executable, "-m", "tests.lab.sites.relay")
        argv = here.argv(*program, port, inner, str(delay_ms), str(lost_percent), str(kbit))
        self._relay = relay = Process(argv, self._log, env={"PYTHONPATH": str(ROOT)})
        wait_until("the relay is ready", lambda: "ready" in relay.text)
        more = [f"{lost_percent} % lost"] if lost_percent else []
        more += [f"{kbit} kbit/s"] if kbit else []
        self.state = ", ".join([f"delayed by {delay_ms} ms each way", *more])

    def _undelay(self) -> None:
        if self._relay is None:
            return
        self._relay.kill()
        self._relay = None
        self._switch.host.ip("link", "delete", f"{self._cable.near}r")
        self._switch.host.ip("link", "set", self._cable.near, "master", self._switch.name)

    def heal(self) -> None:
        """End every fault; legal at any time."""
        self._undelay()
        if self.state == "cut silently":
            for host, interface in self._ends:
                host.run("tc", "qdisc", "delete", "dev", interface, "root")
        self._cable.up()
        self.state = ""

    def close(self) -> None:
        """End the relay."""
        if self._relay:
            self._relay.kill()
