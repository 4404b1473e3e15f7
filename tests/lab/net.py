"""Network namespaces and the cables between them.

`HERE` is the namespace of this process (each test process made its own, see tests/conftest.py);
a `Namespace` is another host. A `Cable` is a veth pair with addresses on both ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_NEWNET = 0x40000000
IPV6_READY = (
    "for knob in all default lo; do "
    "echo 0 >/proc/sys/net/ipv6/conf/$knob/disable_ipv6; "
    "echo 0 >/proc/sys/net/ipv6/conf/$knob/accept_dad; "
    "done; ip link set lo up"
)
HOST_ADDRESSES = ("192.0.2.1/24", "2001:db8:ffff::1/64")


def enter_own_namespace() -> None:
    """Move this thread, and all that it starts from now on, into a new network namespace.

    It has an interface `host0` with an address, as every host has: BIRD's router id comes from it.

    Raises: OSError when the kernel does not permit it (no root and no user namespace).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    subprocess.run(["sh", "-c", IPV6_READY], check=False, capture_output=True)
    connect(HERE, "host0", HERE, "host0-peer", near_addresses=HOST_ADDRESSES)


class Host:
    """A network stack: commands run in it see its interfaces and routes."""

    def __init__(self, pid: int | None = None) -> None:
        """Name the stack by a process that lives in it; None is our own."""
        self._pid = pid

    @property
    def pid(self) -> int:
        """A process of this stack, for `ip link ... netns PID`."""
        return self._pid or os.getpid()

    def argv(self, *command: str) -> list[str]:
        """Return the command as it is run from here."""
        if self._pid is None:
            return list(command)
        return ["nsenter", f"--net=/proc/{self._pid}/ns/net", "--", *command]

    def run(self, *command: str) -> str:
        """Run a command to its end and return its output. Raises CalledProcessError with it."""
        done = subprocess.run(self.argv(*command), capture_output=True, text=True, check=False)
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, done.args)
            error.add_note(done.stderr)
            raise error
        return done.stdout

    def ip(self, *words: str) -> list[dict[str, Any]]:
        """Run `ip -json`; words as on the command line."""
        text = self.run("ip", "-json", *words)
        return json.loads(text) if text.strip() else []

    def add_address(self, interface: str, *addresses: str) -> None:
        """Give an interface addresses, usable at once."""
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            self.ip("address", "add", address, "dev", interface, *nodad)

    def up(self, interface: str) -> None:
        """Raise an interface."""
        self.ip("link", "set", interface, "up")

    def down(self, interface: str) -> None:
        """Lower an interface; IPv6 addresses leave it, as on any Linux."""
        self.ip("link", "set", interface, "down")

    def routes(self, family: int = 4, proto: str = "bird") -> dict[str, dict[str, Any]]:
        """Return the kernel's routes of one origin by destination."""
        listed = self.ip(f"-{family}", "route", "show", "proto", proto, "table", "main")
        return {route["dst"]: route for route in listed}


HERE = Host()


class Namespace(Host):
    """Another host: a namespace held open by one process that ends with us."""

    def __init__(self, name: str) -> None:
        """Make it, with its loopback up and IPv6 usable."""
        self.name = name
        script = f"{IPV6_READY}; echo ready; exec cat >/dev/null"
        # `cat` reads our pipe: should this process die in any way, it sees the end and goes too.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise PermissionError("no network namespace permitted here")
        super().__init__(self._holder.pid)

    def close(self) -> None:
        """Let it go, with every interface in it."""
        self._holder.kill()
        self._holder.communicate()


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair; `near` and `far` are the interfaces' names at each end."""

    here: Host
    near: str
    there: Host
    far: str

    def down(self) -> None:
        """Pull it at the near end: both ends lose carrier."""
        self.here.down(self.near)

    def up(self) -> None:
        """Plug it in again."""
        self.here.up(self.near)

    def close(self) -> None:
        """Remove it, both ends at once."""
        self.here.ip("link", "delete", self.near)


def connect(
    here: Host,
    near: str,
    there: Host,
    far: str,
    *,
    near_addresses: Sequence[str] = (),
    far_addresses: Sequence[str] = (),
) -> Cable:
    """Lay a cable between two hosts, give both ends addresses and raise them."""
    here.ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", str(there.pid))
    here.add_address(near, *near_addresses)
    there.add_address(far, *far_addresses)
    here.up(near)
    there.up(far)
    return Cable(here, near, there, far)
