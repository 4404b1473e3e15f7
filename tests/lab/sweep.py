"""A host that goes to and fro between two configurations and is struck on the way.

Why separate: kills and disk faults strike at the same places, and what must hold afterwards is
one list: disk whole at once; after the restart old or new, disk = running, journal closed, nothing
left beside the file, no session reset; then the agent goes on to what is wanted by itself.
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.strace import Injection, Tracer
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.site import Document, Site

RENDER = re.compile(rb'cs_render = "([^"]*)"')
CLOSED = {"committed": "new", "rolled-back": "old"}


class Violation(AssertionError):
    """Something does not hold that always must."""


class Point(NamedTuple):
    """Where the agent was struck, and on which side of the pivot the host came to rest."""

    call: str
    number: int
    disk: str
    ended: str

    def __str__(self) -> str:
        """One line of the table."""
        return f"{self.call:12} {self.number:3}  disk {self.disk:4} recovered {self.ended}"


class Sweep:
    """One site, started on its first configuration, and the points where it was struck."""

    def __init__(self, site: Site) -> None:
        """Start the agent, and learn both files by going there and back."""
        self.site = site
        self.documents: list[Document] = [
            site.document(),
            site.document(announce={"two": "198.51.100.0/24"}),
        ]
        self.points: list[Point] = []
        self.now = 0
        site.start(self.documents[0])
        self.files = [site.near.config.read_bytes(), b""]
        self.want()
        wait_until("the other file", lambda: site.near.config.read_bytes() != self.files[0])
        site.wait_state("in-sync")
        self.files[1], self.now = site.near.config.read_bytes(), 1
        self.go()
        assert site.near.config.read_bytes() == self.files[0] != self.files[1]
        self.established()
        self.since = site.since()

    @property
    def memory_paths(self) -> tuple[Path, ...]:
        """What is written when a snapshot is remembered: a file, and its folder."""
        state = self.site.agent.state_dir
        return state, state / "last-known-good.confsync-fresh"

    # --- the way

    @property
    def old(self) -> bytes:
        """The file of the configuration that the host comes from."""
        return self.files[self.now]

    @property
    def new(self) -> bytes:
        """The file of the configuration that is wanted."""
        return self.files[1 - self.now]

    def want(self) -> None:
        """Write the other document, and ask for a pass at once if there is an agent to ask."""
        self.remembered = self.memory()
        self.site.publish(self.documents[1 - self.now])
        try:
            reply = self.site.agent.request("POST", "/v1/apply", {}, timeout_s=90)
        except OSError:
            self.site.agent.running.wait()
            return
        if b"unknown" in reply.body:  # a write whose fate is unknown: the agent ends by itself
            self.site.agent.running.wait()

    def go(self) -> None:
        """Go to the other configuration, unharmed."""
        self.want()
        self.arrive()

    def arrive(self) -> None:
        """Wait until the agent has brought the host to what is wanted."""
        self.site.wait_file(self.new)
        self.site.wait_state("in-sync")
        self.require(self.position() == "new", "the wanted configuration runs")
        wait_until("nothing is left of last-known-good", lambda: not self.beside("agent/state"))
        self.now = 1 - self.now

    # --- striking

    def every(self, injection: Injection, *, first: int = 1, stride: int = 1) -> int:
        """Kill before the first such call, then before the next, until a run ends unharmed.

        Returns at how many points it was killed.
        """
        before, number = len(self.points), first
        while self.kill(injection._replace(when=str(number))):
            self.recover()
            number += stride
        return len(self.points) - before

    def kill(self, injection: Injection) -> bool:
        """Go to the other configuration with an agent that is killed on the way; False = it lived.

        The disk is looked at at once, before anything has been mended.
        """
        with Tracer(self.site.lab.folder, self.site.agent.pid, injection):
            self.want()
            self.wait_end()
        if self.site.agent.running.exit_code is None:
            self.arrive()
            return False
        self.struck(injection)
        return True

    def kill_after_pivot(self) -> None:
        """Kill it when the new file is the live one, and BIRD does not know that it is final."""
        number = 1
        while self.kill(Injection("fsync", str(number))) and self.points[-1].disk == "old":
            self.recover()
            number += 1
        self.require(self.points[-1].disk == "new", "it was killed after its rename")

    def wait_end(self) -> None:
        """Wait until the agent has died, or has done all that belongs to the change."""
        agent = self.site.agent

        def ended() -> bool:
            return agent.running.exit_code is not None or self.at_end()

        wait_until("the agent is done, or dead", ended, timeout_s=60)

    def at_end(self) -> bool:
        """Tell whether the change is done, and remembered for a start without the source."""
        return self.memory() != self.remembered and self.site.status()["state"] == "in-sync"

    def memory(self) -> tuple[int, int]:
        """Return what changes when last-known-good is replaced."""
        try:
            found = (self.site.agent.state_dir / "last-known-good").stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def kill_recovery(self, call: str, number: int) -> bool:
        """Start an agent that is killed in its recovery; False = it lived, and ended when asked."""
        agent, injection = self.site.agent, Injection(call, str(number))
        self.site.source_gone()
        agent.prefix = injection.argv(self.site.lab.folder / "strace.out")
        try:
            agent.start()
            agent.terminate()
        except LabError:
            self.require(agent.running.exit_code == -signal.SIGKILL, "it was killed")
            self.struck(injection._replace(call=f"recovery: {call}"))
            return True
        finally:
            agent.prefix = ()
        return False

    def struck(self, injection: Injection) -> None:
        """Note a kill, and look at the disk."""
        self.points.append(Point(injection.call, int(injection.when), self.on_disk(), "?"))

    def recover(self) -> str:
        """Start the agent again, require all that must hold, and let it go on to what is wanted.

        Returns where recovery has brought the host: "old" or "new".
        """
        ended = self.recovered()
        self.points[-1] = self.points[-1]._replace(ended=ended)
        self.site.source_back()
        self.arrive()
        return ended

    def recovered(self) -> str:
        """Start the agent, its source hidden, and return where recovery has brought the host."""
        self.start_alone()
        return self.at_rest()

    def start_alone(self) -> None:
        """Start the agent with its source hidden, and wait for its first pass."""
        self.site.source_gone()
        self.site.agent.start(wait=False)
        self.site.agent.wait_for("/api/v1/node")
        wait_until("it knows the host", lambda: self.site.status()["state"] != "starting")
        if not self.site.consul:  # a hanging Consul is noticed seconds later only
            wait_until("the first pass", lambda: self.site.status()["source"]["problem"])

    def at_rest(self) -> str:
        """Require all that holds when no transaction is open; return "old" or "new"."""
        ended = self.position()
        with closing(sqlite3.connect(self.site.agent.state_dir / "journal.db")) as journal:
            kind, body = journal.execute(
                "SELECT kind, body FROM row ORDER BY seq DESC LIMIT 1"
            ).fetchone()
        self.require(kind in CLOSED, f"the journal is closed, not {kind}: {json.loads(body)}")
        try:  # what was refused is tried again by itself, and stands there for a moment
            wait_until("nothing is left", lambda: not self.beside("near"), timeout_s=10)
        except LabError:
            self.require(False, f"left beside the file: {self.beside('near')}")
        self.established()
        return ended

    # --- looking

    def on_disk(self) -> str:
        """Return which of the two files is there, whole."""
        found = self.site.near.config.read_bytes()
        self.require(found in self.files, f"the file is neither old nor new: {found!r}")
        return "old" if found == self.old else "new"

    def position(self) -> str:
        """Return which configuration the host has, on disk and in BIRD."""
        disk = self.on_disk()
        match = RENDER.search(self.old if disk == "old" else self.new)
        assert match
        running = self.site.render().encode()
        self.require(match[1] == running, f"disk is {disk}, yet BIRD runs {running!r}")
        return disk

    def established(self) -> None:
        """Wait until the sessions are up."""
        self.site.near.wait_established("cs_far_ipv4", "cs_far_ipv6")

    def beside(self, folder: str) -> list[str]:
        """Return the working files in one of the lab's folders."""
        return sorted(path.name for path in (self.site.lab.folder / folder).glob("*.confsync-*"))

    def show(self) -> None:
        """Write the table of points; pytest shows it with -rP."""
        lines = [str(self.site.lab.folder), *map(str, self.points), f"{len(self.points)} points"]
        sys.stdout.write("\n".join(lines) + "\n")

    def require(self, holds: bool, what: str) -> None:
        """Raise a Violation that tells the way here."""
        if not holds:
            table = "\n".join(map(str, self.points))
            raise Violation(f"{what}\n{table}\n{self.site.agent.log[-3000:]}")


class Doomed(Sweep):
    """As above, but each change that is wanted can never be verified: it is rolled back."""

    tries = 0

    def __init__(self, site: Site) -> None:
        """Learn both files as above; from now on verifying is short."""
        super().__init__(site)
        site.restart(drivers={"bird": {"verify_timeout_s": 0.4}})
        self.tries = 1

    def want(self) -> None:
        """Ask for one more peer that nobody will ever answer for; each time another one."""
        if self.tries:
            self.tries += 1
            ghost = {"ipv4": "10.9.1.99", "asn": 65100 + self.tries}
            document = self.site.document()
            self.documents[1] = {**document, "peers": {**document["peers"], "ghost": ghost}}
            self.now = 0
        super().want()

    def at_end(self) -> bool:
        """Tell whether it was rolled back."""
        return self.tries > 0 and bool(self.site.status()["state"] == "rolled-back")

    def arrive(self) -> None:
        """Wait until it was rolled back."""
        if not self.tries:
            super().arrive()
            return
        self.site.wait_state("rolled-back")
        self.require(self.position() == "old", "the old configuration runs")
