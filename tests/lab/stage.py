"""What the demo is shown on: commands with their answers, promises with what became of them.

Separate from the scenes, which read as their own script. What is shown is what was run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.consul import consul_binary
from tests.lab.site import NODE_KEY
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from tests.lab.site import Site

READ_S = 1.5  # a person reads what a command answered
BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"
STATUS = r"^lab|^  (reason|next|changes|last) "
COMMON = """\
peer_defaults: {bfd: true, error_wait_max_s: 2}
import:
  ipv4: {default: permit}
  ipv6: {default: permit}
export:
  ipv4: {rules: [{prefix: 0.0.0.0/0, ge: 8, le: 24, action: permit}]}
  ipv6: {rules: [{prefix: "::/0", ge: 16, le: 48, action: permit}]}
"""
NODE = """\
router_id: 10.9.1.1
local_as: 64512
peers:
  far: {ipv4: 10.9.1.2, ipv6: "fd00:9:1::2", asn: 65001}
announce:
  office: 192.0.2.0/24
  office6: 2001:db8:99::/48
"""


class Stage:
    """Shows commands with what they answered, and keeps count of broken promises."""

    def __init__(self, site: Site, *, pauses: bool, patience_s: float = 60) -> None:
        """Write the first tree."""
        self.site = site
        self.embedded = site.consul is None
        self.failed = 0
        self._pauses = pauses
        self._patience_s = patience_s
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._width = min(shutil.get_terminal_size().columns, 110)
        # Edited here; published by a push, or by a copy into the folder that the agent watches.
        self.tree = site.lab.folder / ("draft" if self.embedded else "tree")
        self.document = self.tree / f"{NODE_KEY}.yaml"
        self.storage = self.document.with_name("lvm.yaml")
        self.document.parent.mkdir(parents=True)
        (self.tree / "common").mkdir()
        (self.tree / "common" / "bgp.yaml").write_text(COMMON)
        self.document.write_text(NODE)
        site.agent.write_settings()
        self._env = {**site.agent.env, "CONFSYNC_CONFIG": str(site.agent.config)}
        self._env["PATH"] = f"{_programs(site.lab.folder / 'bin', site)}:{self._env['PATH']}"

    # --- what people see

    def say(self, text: str = "", colour: str = "", indent: int = 3) -> None:
        """Print one paragraph."""
        space, hang = " " * indent, "" if colour == DIM else "  "
        lines = textwrap.wrap(
            text, self._width, initial_indent=space, subsequent_indent=space + hang,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        for line in lines or [""]:
            painted = f"\033[{colour}m{line}\033[0m" if colour and self._colours else line
            sys.stdout.write(f"{painted}\n")
        sys.stdout.flush()

    def scene(self, title: str, intro: str) -> None:
        """Open a scene."""
        self.pause()
        self.say()
        self.say(title, f"{BOLD};{CYAN}", indent=0)
        self.say(intro, DIM)

    def pause(self) -> None:
        """Let a person read."""
        if self._pauses:
            time.sleep(READ_S)

    def run(self, *words: str, keep: str = "") -> int:
        """Run a command, show it with the lines that `keep` matches, return its exit code."""
        self.say()
        self.say(f"$ {' '.join(map(_quoted, words))}", BOLD)
        done = subprocess.run(
            words, cwd=self.site.lab.folder, env=self._env, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=self._patience_s,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if re.search(keep, line)]
        for line in lines:
            self.say(line.expandtabs())
        if done.returncode:
            self.say(f"exit {done.returncode}", DIM)
        self.pause()
        return done.returncode

    def check(self, promise: str, kept: object) -> None:
        """Tell whether a promise was kept."""
        self.failed += not kept
        self.say(f"{'ok      ' if kept else 'FAILED  '}{promise}", GREEN if kept else RED)

    # --- what operators do

    def edit(self, old: str, new: str, document: Path | None = None) -> None:
        """Change a document, the node's for routing, and show the lines that differ."""
        path = document or self.document
        text = path.read_text()
        changed = text.replace(old, new)
        path.write_text(changed)
        self.say()
        self.say(str(path.relative_to(self.site.lab.folder)), BOLD)
        before, after = text.splitlines(), changed.splitlines()
        for mark, lines, others in (("-", before, after), ("+", after, before)):
            for line in lines:
                if line not in others:
                    self.say(f"{mark} {line}")

    def plan(self) -> int:
        """Show what the edited tree would do."""
        return self.run("confsync", "plan", self.tree.name)

    def publish(self, why: str, *allow: str) -> int:
        """Give the tree to the agent; without Consul an allowance is told to the agent itself."""
        words = [word for rule in allow for word in ("--allow", rule)]
        if not self.embedded:
            return self.run("confsync", "push", self.tree.name, "-m", why, *words)
        if not allow:
            return self.run("cp", "-rT", self.tree.name, self.site.tree.name)
        return self.run("confsync", "apply", *words, keep=STATUS)

    def status(self) -> None:
        """Show what the agent says of itself."""
        self.run("confsync", "status", keep=STATUS)

    def wait(self, state: str) -> Any:
        """Wait for a state of the agent; return its status."""
        return wait_until(
            f"the agent is {state}",
            lambda: found if (found := self.site.status())["state"] == state else None,
            timeout_s=self._patience_s,
        )

    def wait_ended(self, before: Any, outcome: str) -> Any:
        """Wait until a transaction later than that of a status ended so; return the newest one."""
        self.say("(the agent applies and verifies)", DIM)
        last = before["last_transaction"]["id"]

        def there() -> Any:
            newest = self.site.status()["last_transaction"]
            return newest if newest["id"] > last and newest["outcome"] == outcome else None

        return wait_until(f"a transaction is {outcome}", there, self._patience_s)

    def learnt(self, prefix: str) -> bool:
        """Tell whether the far end has, or gets, a route from us."""

        def there() -> bool:
            return any(prefix in line for line in self.site.far.bird.ctl("show route protocol v4"))

        try:
            return wait_until(f"{prefix} at the far end", there, timeout_s=5)
        except LabError:
            return False

    def host(self) -> tuple[str, str]:
        """Return which configuration BIRD runs and which one its file holds."""
        text = self.site.near.config.read_text()
        held = re.search(r'cs_render = "(\w+)"', text)
        return self.site.render().strip('"'), held[1] if held else ""


def _programs(folder: Path, site: Site) -> Path:
    """Make a folder with the programs that people type, for the PATH."""
    folder.mkdir()
    (folder / "confsync").symlink_to(Path(sys.executable).with_name("confsync"))
    if site.consul:
        (folder / "consul").symlink_to(consul_binary())
    return folder


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
