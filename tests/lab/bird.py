"""A real BIRD: started here or on another host, asked over its control socket.

Why not birdc: it hides the reply codes and costs a process per question.
"""

from __future__ import annotations

import re
import socket
from datetime import date
from pathlib import Path
from typing import NamedTuple

from tests.lab.net import HERE, Host
from tests.lab.process import Process
from tests.lab.wait import LabError, wait_until

# Debian's example, as the package ships it: /etc/bird/bird.conf of a fresh host is a copy of it.
EXAMPLE = Path("/usr/share/bird2/bird.conf")
BINARY = "/usr/sbin/bird"
SINCE_WAVERS_S = 0.02  # 6 ms were seen, on a busy machine
LAST_LINE = re.compile(rb"^\d{4} .*\n", re.MULTILINE)
PROTOCOL = re.compile(
    r"^(?P<name>\S+)\s+(?P<kind>\S+)\s+(?P<table>\S+)\s+(?P<state>\S+)"
    r"\s+(?P<since>\d[\d:.-]*(?: \d\d:[\d:.]+)?)\s*(?P<info>.*?)\s*$"
)


class Since(str):
    """Since when a protocol is as it is; BIRD reckons it anew each time, some milliseconds off."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same moment."""
        if not isinstance(other, str):
            return False
        mine, theirs = str(self), str(other)
        if (" " in mine) is not (" " in theirs):  # BIRD leaves out the day unless it is told not to
            mine, theirs = mine.rpartition(" ")[2], theirs.rpartition(" ")[2]
        return abs(_seconds(mine) - _seconds(theirs)) < SINCE_WAVERS_S

    def __ne__(self, other: object) -> bool:
        """Tell whether it is another moment; str has its own, exact one."""
        return not self == other


def _seconds(since: str) -> float:
    day, _, clock = since.rpartition(" ")
    hours, minutes, seconds = clock.split(":")
    days = date.fromisoformat(day).toordinal() if day else 0
    return ((days * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


class Session(NamedTuple):
    """One BGP protocol as `show protocols` lists it."""

    state: str
    info: str
    since: Since


class Bird:
    """A BIRD with its files in one folder; the socket and the configuration are attributes."""

    def __init__(
        self,
        folder: Path,
        text: str | None = None,
        host: Host = HERE,
        *,
        start: bool = True,
        options: tuple[str, ...] = (),
    ) -> None:
        """Write the text (default: the distribution's example), start, wait for its socket."""
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self._options = options
        self.config = folder / "bird.conf"
        self.socket = folder / "bird.ctl"
        self.log = folder / "bird.log"
        self._pid_file = folder / "bird.pid"
        self.config.write_text(EXAMPLE.read_text() if text is None else text)
        self.process: Process | None = None
        if start:
            self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        files = ("-c", str(self.config), "-s", str(self.socket), "-P", str(self._pid_file))
        self.process = Process(self.host.argv(BINARY, "-f", *self._options, *files), self.log)
        wait_until("BIRD answers", self._alive, timeout_s=10)

    def _alive(self) -> bool:
        if self.running.exit_code is not None:
            raise LabError(f"BIRD ended at start:\n{self.running.text}")
        return bool(self.ctl("show status"))

    @property
    def running(self) -> Process:
        """The daemon's process, of the last start."""
        assert self.process, "not started"
        return self.process

    def ctl(self, command: str, timeout_s: float = 5) -> list[str]:
        """Send one command; return the reply's lines as they came, codes included."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(timeout_s)
            control.connect(str(self.socket))
            _read_reply(control)
            control.sendall(command.encode() + b"\n")
            return _read_reply(control)

    def configure(self, text: str) -> list[str]:
        """Replace the configuration and make BIRD read it, as an operator would."""
        self.config.write_text(text)
        return self.ctl("configure")

    def sessions(self) -> dict[str, Session]:
        """Return the BGP protocols by name."""
        found = (
            PROTOCOL.match(line[5:] if line[4:5] == "-" else line.lstrip())
            for line in self.ctl("show protocols")
        )
        return {
            m["name"]: Session(m["state"], m["info"], Since(m["since"]))
            for m in found
            if m and m["kind"] == "BGP"
        }

    @property
    def symbols(self) -> dict[str, str]:
        """Return what each name of the running configuration is."""
        words = (line.removeprefix("1010-").split() for line in self.ctl("show symbols"))
        return {name: " ".join(kind) for name, *kind in words if kind}

    def wait_established(self, *names: str, timeout_s: float = 20) -> None:
        """Wait until these sessions (default: all, and at least one) are Established."""

        def settled() -> bool:
            sessions = self.sessions()
            asked = names or tuple(sessions)
            return bool(asked) and all(
                name in sessions and sessions[name].info == "Established" for name in asked
            )

        try:
            wait_until(f"sessions {names or 'all'} Established", settled, timeout_s)
        except LabError as error:
            error.add_note(f"sessions: {self.sessions()}")
            raise

    def kill(self) -> None:
        """SIGKILL: kernel routes and the socket file stay behind."""
        self.running.kill()

    def stop(self) -> None:
        """Hang it: connections are taken by the kernel, nothing answers."""
        self.running.stop()

    def cont(self) -> None:
        """End a hang."""
        self.running.cont()

    def restart(self) -> None:
        """Kill it and start it anew from its file."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Kill it; legal at any time."""
        if self.process:
            self.process.kill()


def _read_reply(control: socket.socket) -> list[str]:
    data = b""
    while not LAST_LINE.search(data):
        if not (chunk := control.recv(65536)):
            raise ConnectionResetError(f"BIRD closed its socket after {data!r}")
        data += chunk
    return data.decode(errors="replace").splitlines()


def far_config(
    router_id: str,
    asn: int,
    sessions: str,
    *,
    originate: tuple[str, ...] = (),
) -> str:
    """Return a small complete configuration for the far end of a test's sessions.

    Shape: `sessions` is text made by `far_session`; `originate` are prefixes it announces.
    """
    statics = {
        family: "".join(f" route {prefix} blackhole;" for prefix in originate if mark in prefix)
        for family, mark in (("ipv4", "."), ("ipv6", ":"))
    }
    return f"""\
router id {router_id};
define own_as = {asn};
protocol device {{ scan time 1; }}
protocol kernel k4 {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol kernel k6 {{ ipv6 {{ export where source = RTS_BGP; }}; }}
protocol static s4 {{ ipv4;{statics["ipv4"]} }}
protocol static s6 {{ ipv6;{statics["ipv6"]} }}
protocol bfd bfd1 {{ interface "*" {{ interval 100 ms; multiplier 3; }}; }}
{sessions}
"""


def far_session(name: str, neighbor: str, remote_asn: int, *, bfd: bool = False) -> str:
    """Return a BGP protocol that takes all and announces its static routes, quick to connect."""
    family = "ipv6" if ":" in neighbor else "ipv4"
    return f"""\
protocol bgp {name} {{
    local as own_as;
    neighbor {neighbor} as {remote_asn};
    direct;
    hold time 9; keepalive time 3;
    connect delay time 1; connect retry time 1; error wait time 1, 2;
    {"bfd on;" if bfd else ""}
    {family} {{ import all; export where source = RTS_STATIC; next hop self; }};
}}
"""
