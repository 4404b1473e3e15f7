"""What the demo of one host does: edits, plans, publishes, and asks what became of it.

Separate from the scenes, which read as their own script.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.consul import consul_binary
from tests.lab.screen import BOLD, DIM, Screen
from tests.lab.site import NODE_KEY
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from tests.lab.site import Site

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


class Stage(Screen):
    """The single host's main job as people do it."""

    def __init__(self, site: Site, *, pauses: bool, patience_s: float = 60) -> None:
        """Write the first tree."""
        super().__init__(site.lab.folder, pauses=pauses, patience_s=patience_s)
        self.site = site
        self.embedded = site.consul is None
        # Edited here; published by a push, or by a copy into the folder that the agent watches.
        self.tree = site.lab.folder / ("draft" if self.embedded else "tree")
        self.document = self.tree / f"{NODE_KEY}.yaml"
        self.storage = self.document.with_name("lvm.yaml")
        self.document.parent.mkdir(parents=True)
        (self.tree / "common").mkdir()
        (self.tree / "common" / "bgp.yaml").write_text(COMMON)
        self.document.write_text(NODE)
        site.agent.write_settings()
        self.env = {**site.agent.env, "CONFSYNC_CONFIG": str(site.agent.config)}
        self.env["PATH"] = f"{_programs(site.lab.folder / 'bin', site)}:{self.env['PATH']}"

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
            timeout_s=self.patience_s,
        )

    def wait_ended(self, before: Any, outcome: str) -> Any:
        """Wait until a transaction later than that of a status ended so; return the newest one."""
        self.say("(the agent applies and verifies)", DIM)
        last = before["last_transaction"]["id"]

        def there() -> Any:
            newest = self.site.status()["last_transaction"]
            return newest if newest["id"] > last and newest["outcome"] == outcome else None

        return wait_until(f"a transaction is {outcome}", there, self.patience_s)

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
