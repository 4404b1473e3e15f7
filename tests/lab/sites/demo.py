"""Two sites on a stage: a change travels, a line is cut, and a fix made there is not lost.

Separate from the tests: it is made to be watched. Each scene ends with what it promised, looked up
on the daemons and not in our own words.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab import Lab
from tests.lab.net import enter_own_namespace
from tests.lab.screen import BOLD, CYAN, DIM, RED, Screen
from tests.lab.sites import Sites
from tests.lab.sites.shell import shell
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from types import FrameType

    from tests.lab.sites.node import Node

STATUS = r"^\w+-\w+-\d+ |^  (reason|changes|source) "
SESSIONS = r"^Name|BGP"
LINE = "osl-wan"
TREE = "tree"
HELD_S = 5.0  # what must not happen is waited for so long
ANSWERED_S = 2.0  # a read that is answered takes milliseconds


class Stage(Screen):
    """The two sites, and what operators do to them."""

    def __init__(self, sites: Sites, *, pauses: bool) -> None:
        super().__init__(sites.lab.folder, pauses=pauses, patience_s=60)
        self.sites = sites
        self.here, self.there = (site.nodes[0] for site in sites.sites.values())
        self.fixed = sites.sites["osl"].nodes[1]

    def on(self, host: str, *words: str, keep: str = "") -> int:
        """Show a command on a host."""
        there = shell(self.sites, host)
        argv = there.argv(*words)
        return self.show(words, argv, {**self.env, **there.env}, prompt=f"{host} ", keep=keep)

    def edit(self, node: Node, name: str, prefix: str) -> None:
        """Let a node announce one more network, in the tree of files."""
        document = self.document(node)
        document["announce"][name] = prefix
        key = f"nodes/{node.name}/bgp"
        self.sites.write(key, json.dumps(document, indent=1))
        self.say()
        self.say(f"{TREE}/{key}.yaml", BOLD)
        self.say(f"+ announce.{name}: {prefix}")

    def document(self, node: Node) -> Any:
        """Return a node's document as the tree has it."""
        return json.loads((self.sites.tree / f"nodes/{node.name}/bgp.yaml").read_text())

    def push(self, why: str) -> None:
        """Publish the tree at home."""
        self.on("operator-bgo", "confsync", "push", TREE, "-m", why)

    def link(self, order: str) -> None:
        """Cut or heal the line between the sites."""
        self.say()
        self.say(f"$ scripts/lab {order} {LINE}", BOLD)
        link = self.sites.links[LINE]
        link.heal() if order == "heal" else link.cut_silently()

    def routed(self, node: Node, prefix: str, timeout_s: float = 30) -> bool:
        """Tell whether the gateway of a node's site has, or gets, a route."""
        gateway = self.sites.sites[node.site.name].gateway
        try:
            return wait_until(prefix, lambda: prefix in gateway.routes(4, "bgp"), timeout_s)
        except LabError:
            return False

    def across(self) -> bool:
        """Tell whether home answers a Consul of the other site."""
        kv = self.sites.sites["osl"].consul.servers[0].kv
        token = self.sites.tokens.secret("reader")
        try:
            kv.as_other(token, datacenter="bgo", timeout_s=ANSWERED_S).get("confsync/v1/head")
        except OSError:
            return False
        return True


def opening(stage: Stage) -> None:
    """Tell what stands there."""
    servers = len(stage.sites.home.consul.servers)
    stage.say("confsync: two sites, one tree", BOLD, indent=0)
    stage.say(
        f"bgo (home) and osl, each with {servers} Consul servers (ACLs, TLS, joined over the WAN),"
        " two route reflectors (BIRD and FRR), a gateway, a broker, and hosts with BIRD and an"
        " agent. All of it runs in network namespaces; people push at bgo.",
        DIM,
    )
    stage.on("osl-consul1", "consul", "catalog", "datacenters")
    stage.on(stage.there.name, "confsync", "status", keep=STATUS)
    stage.on(stage.there.name, "birdc", "show", "protocols", keep=SESSIONS)
    everybody = stage.sites.nodes.values()
    stage.check("every host applied change 1", all(_change(one) == 1 for one in everybody))


def travels(stage: Stage) -> None:
    """One push reaches both sites."""
    stage.scene("1  One change for both sites", "Pushed at home; the other site copies it.")
    stage.edit(stage.here, "lab", "198.51.100.0/25")
    stage.edit(stage.there, "lab", "198.51.100.128/25")
    stage.push("a lab at each site")
    stage.check("bgo routes its half", stage.routed(stage.here, "198.51.100.0/25"))
    stage.check("osl routes its half", stage.routed(stage.there, "198.51.100.128/25"))
    stage.there.wait_state("in-sync", change=2)
    stage.on(stage.there.name, "confsync", "status", keep=STATUS)


def cut(stage: Stage) -> None:
    """The other site works on without home."""
    stage.scene(
        "2  The line between the sites loses every packet",
        "Nothing says so: carrier and sessions with the line's ends stay. Home publishes on.",
    )
    before = {node.name: _since(node) for node in stage.sites.nodes.values()}
    stage.link("cut --silent")
    stage.check("home does not answer osl any more", not stage.across())
    stage.edit(stage.there, "news", "203.0.113.0/25")
    stage.edit(stage.fixed, "own", "198.18.99.0/24")
    stage.push("news, while osl is away")
    stage.say()
    stage.say("The agent of a host at osl is killed and started again.", DIM)
    stage.there.ours.kill()
    stage.there.ours.start()
    stage.there.wait_state("in-sync")
    stage.on(stage.there.name, "confsync", "status", keep=STATUS)
    stage.check("it is in sync with what its site has", _change(stage.there) == 2)
    after = {node.name: _since(node) for node in stage.sites.nodes.values()}
    stage.check("no session of any host has moved", before == after)


def emergency(stage: Stage) -> None:
    """Somebody must change a host of the site that is cut off."""
    stage.scene("3  An emergency at the site that is cut off", "Written there, past home.")
    document = stage.document(stage.fixed)
    del document["announce"]["own"]
    document["announce"]["fix"] = "203.0.113.128/25"
    (stage.folder / "fix.json").write_text(json.dumps(document, indent=1))
    key = f"confsync/v1/desired/nodes/{stage.fixed.name}/bgp"
    stage.on("operator-osl", "consul", "kv", "put", key, "@fix.json")
    stage.check("the fix is routed", stage.routed(stage.fixed, "203.0.113.128/25"))
    stage.fixed.wait_state("in-sync")
    stage.on(stage.fixed.name, "confsync", "status", keep=STATUS)


def healed(stage: Stage) -> None:
    """Both sides have written the same document."""
    stage.scene(
        "4  The line is back",
        "What home published meanwhile arrives in one step. The document that both have changed"
        " is kept as it is at osl, until somebody decides.",
    )
    began = time.monotonic()
    stage.link("heal")
    stage.check("osl has the news", stage.routed(stage.there, "203.0.113.0/25"))
    stage.say(f"{time.monotonic() - began:.1f} s after the line was back", DIM)
    stage.on("operator-osl", "consul", "kv", "get", "confsync/v1/conflicts")
    stage.check("the fix is still routed", stage.routed(stage.fixed, "203.0.113.128/25"))
    overwritten = stage.routed(stage.fixed, "198.18.99.0/24", HELD_S)
    stage.check("home's version of that document was not applied over it", not overwritten)
    key = f"osl:nodes/{stage.fixed.name}/bgp"
    stage.say()
    stage.say("Somebody at home decides for the fix.", DIM)
    words = ("confsync", "push", TREE, "-m", "keep the fix of osl", "--take", key)
    stage.on("operator-bgo", *words)
    wait_until("no conflict is left", lambda: stage.fixed.name not in _conflicts(stage))
    stage.on("operator-osl", "consul", "kv", "get", "confsync/v1/conflicts")
    stage.check("the fix is in home's tree", "fix" in stage.document(stage.fixed)["announce"])
    stage.check("and still routed", stage.routed(stage.fixed, "203.0.113.128/25"))


def _conflicts(stage: Stage) -> str:
    kv = stage.sites.sites["osl"].consul.servers[0].kv
    return (kv.get("confsync/v1/conflicts") or b"").decode()


def _change(node: Node) -> Any:
    return (node.status()["applied"] or {}).get("change")


def _since(node: Node) -> dict[str, Any]:
    return {name: session.since for name, session in node.bird.sessions().items()}


def ending(stage: Stage) -> None:
    """Say where to look next."""
    stage.say()
    stage.say("Where to look next", f"{BOLD};{CYAN}", indent=0)
    for place, what in (
        ("scripts/lab up", "the same two sites, to cut and kill yourself"),
        ("config/consul/README.md", "what this Consul was set up with"),
        ("confsync/flow/replicate.py", "how a site copies what home publishes"),
        ("tests/lab/sites/demo.py", "this demo"),
    ):
        stage.say(f"{place:28} {what}")


def play(stage: Stage) -> int:
    """Play all scenes; a scene that cannot go on ends the play."""
    try:
        for act in (opening, travels, cut, emergency, healed):
            act(stage)
    except (LabError, OSError, subprocess.SubprocessError) as error:
        stage.check(str(error), kept=False)
    if not stage.failed:
        ending(stage)
        return 0
    stage.say(f"{stage.failed} promises were not kept. The agents' logs end with:", RED, indent=0)
    for node in stage.sites.nodes.values():
        sys.stdout.write(f"{node.name}\n{node.ours.log[-1500:]}\n")
    return 1


def main() -> int:
    """Raise the sites, play, and remove them, whatever ends the play."""
    parser = argparse.ArgumentParser(prog="scripts/demo --lab", description="Show two sites.")
    parser.add_argument("--lab", action="store_true", help="two sites, as root")
    parser.add_argument("--fast", action="store_true", help="no pauses for reading")
    options = parser.parse_args()
    enter_own_namespace()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        with tempfile.TemporaryDirectory(prefix="confsync-") as folder, Lab(Path(folder)) as lab:
            sys.stdout.write("raising two sites, some seconds ...\n")
            sys.stdout.flush()
            sites = Sites(lab, servers=3, tls=True)
            return play(Stage(sites, pauses=sys.stdout.isatty() and not options.fast))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; all that was started is gone\n")
        return 130


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Leave once; clearing the stage is not interrupted again."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
