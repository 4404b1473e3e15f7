"""The main job on a stage: real Consul, two real BIRDs, the agent between them, four scenes.

Why separate from the tests: it is made to be watched. Each scene ends with what it promised, looked
up on the daemons and not in our own words.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import Lab
from tests.lab.bird import BINARY
from tests.lab.consul import consul_binary
from tests.lab.net import enter_own_namespace
from tests.lab.screen import BOLD, CYAN, DIM, RED
from tests.lab.site import NODE_KEY, PREFIX, Site
from tests.lab.stage import Stage
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from types import FrameType

VERIFY_S = 2.0  # sessions must stay up this long; long enough to be killed in it
SESSIONS = r"^Name|BGP"


def opening(stage: Stage) -> None:
    """Bring up what every scene needs."""
    site = stage.site
    bird = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=False)
    source = "a directory of YAML files"
    if not stage.embedded:
        told = subprocess.run(
            [consul_binary(), "version"], capture_output=True, text=True, check=False
        )
        source = told.stdout.split("\n")[0]
    stage.say("confsync: from one document to a verified BIRD, or back", BOLD, indent=0)
    stage.say(
        f"Two hosts in network namespaces, each with a real {bird.stderr.strip() or 'BIRD'}: `near`"
        f" (AS 64512), where the agent runs, and `far` (AS 65001). The source is {source}.",
        DIM,
    )
    stage.run("cat", str(stage.document.relative_to(site.lab.folder)))
    stage.publish("first configuration")
    site.agent.start(wait=False)
    stage.say()
    stage.say("$ confsync agent run &", BOLD)
    stage.wait("in-sync")
    site.near.wait_established("cs_far_ipv4", "cs_far_ipv6")
    stage.run("birdc", "-s", "near/bird.ctl", "show", "protocols", keep=SESSIONS)
    stage.check(
        "BIRD was taken over, because it ran the distribution's untouched example",
        site.status()["drivers"]["bird"]["ownership"] == "owned",
    )


def good(stage: Stage) -> None:
    """A change that works."""
    site = stage.site
    stage.scene("1  A good change", "One more prefix: planned, published, applied, verified.")
    before, known = site.since(), site.status()
    stage.edit("  office6", "  lab: 198.51.100.0/24\n  office6")
    planned = stage.plan()
    stage.publish("announce the lab (CHG-88)")
    stage.wait_ended(known, "committed")
    stage.wait("in-sync")
    stage.status()
    stage.run("birdc", "-s", "far1/bird.ctl", "show", "route", "protocol", "v4", keep=r"/\d+ |via")
    running, held = stage.host()
    stage.check("the plan said so before, and changed nothing (exit 2)", planned == 2)
    stage.check("the far end learnt 198.51.100.0/24 from us", stage.learnt("198.51.100.0/24"))
    stage.check("both sessions are up since the same moment as before", before == site.since())
    stage.check("BIRD runs what its file holds", running == held)


def refused(stage: Stage) -> None:
    """A change that is wrong in itself."""
    site = stage.site
    stage.scene(
        "2  A change that is refused",
        "A typing error. The tree is refused before it is published; then somebody writes it past"
        " that, and the agent refuses it too. BIRD never hears of it.",
    )
    before, stood = site.since(), (stage.host(), site.near.config.stat().st_mtime_ns)
    stage.edit("asn: 65001", "ans: 65001")
    code = stage.run("confsync", "validate", stage.tree.name)
    if stage.embedded:
        stage.publish("")
    else:
        key = f"{PREFIX}/desired/{NODE_KEY}"
        stage.run("consul", "kv", "put", key, f"@tree/{NODE_KEY}.yaml")
    told = stage.wait("rejected")
    stage.status()
    stage.run("birdc", "-s", "near/bird.ctl", "show", "protocols", keep=SESSIONS)
    stage.check("refused as invalid data (exit 65)", code == 65)
    stage.check(
        "the message has line, column and the key that was meant",
        re.search(r":4:\d+ .*did you mean asn", told["reason"]),
    )
    stage.check("both sessions are up since the same moment as before", before == site.since())
    stage.check(
        "file and running configuration are as before",
        stood == (stage.host(), site.near.config.stat().st_mtime_ns),
    )
    stage.edit("ans: 65001", "asn: 65001")
    if not stage.embedded:
        stage.run("consul", "kv", "put", key, f"@tree/{NODE_KEY}.yaml")
    stage.publish("take over what was written by hand")
    stage.wait("in-sync")


def undone(stage: Stage) -> None:
    """A change that is valid, and wrong for the network."""
    site = stage.site
    stage.scene(
        "3  A change that breaks the session",
        "A valid document with the wrong AS. A guard stops it, because every session would be"
        " reset at once. Allowed by name, it is tried, not verified, and undone by the agent.",
    )
    stood = stage.host()
    stage.edit("asn: 65001", "asn: 65002")
    stage.plan()
    stage.publish("the neighbour has a new AS")
    told = stage.wait("rejected")
    stage.check(
        "the guard kept it from the host",
        "--allow all_sessions:" in told["reason"] and stood == stage.host(),
    )
    stage.publish("the neighbour has a new AS, window CHG-89", "all_sessions:*")
    ended = stage.wait_ended(told, "rolled-back")
    if not stage.embedded:
        stage.status()
    site.near.wait_established("cs_far_ipv4", "cs_far_ipv6")
    stage.run("birdc", "-s", "near/bird.ctl", "show", "protocols", keep=SESSIONS)
    stage.check("the reason names the peer", "far" in ended["reason"])
    stage.check("file and running configuration are as before", stood == stage.host())
    stage.check("both sessions are Established again", _established(site))
    stage.check("our route is at the far end again", stage.learnt("198.51.100.0/24"))
    stage.edit("asn: 65002", "asn: 65001")
    stage.publish("back to AS 65001")
    stage.wait("in-sync")


def _established(site: Site) -> bool:
    return all(one.info == "Established" for one in site.near.sessions().values())


def killed(stage: Stage) -> None:
    """The agent dies while the new configuration runs on trial."""
    site = stage.site
    stage.scene(
        "4  The agent is killed in the middle of a change",
        "BIRD already runs the new configuration, on trial; its file still holds the old one. The"
        " next agent finds the open transaction in its journal and undoes it. We pause that agent"
        " beforehand, so that it writes nothing more and one can look.",
    )
    old, known = stage.host(), site.status()
    stage.edit("  office6", "  guests: 203.0.113.0/24\n  office6")
    stage.publish("announce the guests")
    wait_until("the candidate runs", lambda: site.render().strip('"') != old[0])
    site.agent.kill()
    stage.say()
    stage.say(f"$ kill -9 {site.agent.running.pid}", BOLD)
    stage.run("birdc", "-s", "near/bird.ctl", "configure", "status", keep="^Conf")
    running, held = stage.host()
    stage.check(
        "BIRD runs the new configuration, the file holds the old one",
        running != old[0] and held == old[1],
    )
    stage.run("confsync", "agent", "pause", "--reason", "look first")
    stage.say()
    stage.say("$ confsync agent run &", BOLD)
    site.agent.start()
    ended = stage.wait_ended(known, "rolled-back")
    stage.wait("frozen")
    stage.status()
    stage.check("BIRD and its file are both on exactly the old configuration", stage.host() == old)
    stage.check("the journal says: rolled back, interrupted", "the agent ended" in ended["reason"])
    stage.run("confsync", "agent", "resume", keep="resumed")
    stage.wait_ended({"last_transaction": ended}, "committed")
    stage.check("nobody blames the change: it goes through now", stage.learnt("203.0.113.0/24"))
    running, held = stage.host()
    stage.check("BIRD runs what its file holds", running == held)


def ending(stage: Stage) -> None:
    """Say where to look next."""
    stage.say()
    stage.say("Where to look next", f"{BOLD};{CYAN}", indent=0)
    for place, what in (
        ("README.md", "how a change travels, and what happens when something dies"),
        ("confsync/flow/transact.py", "the transaction that was just shown, in one module"),
        ("config/", "the agent's settings and a sample tree for two sites"),
        ("tests/lab/demo.py", "this demo"),
        ("scripts/test", "the same promises, kept under every fault that we could think of"),
    ):
        stage.say(f"{place:26} {what}")


def play(site: Site, *, pauses: bool) -> int:
    """Play all scenes; a scene that cannot go on ends the play."""
    stage = Stage(site, pauses=pauses)
    try:
        for act in (opening, good, refused, undone, killed):
            act(stage)
    except (LabError, OSError, subprocess.SubprocessError) as error:
        stage.check(str(error), kept=False)
    if stage.failed:
        stage.say(
            f"{stage.failed} promises were not kept. The agent's log ends with:", RED, indent=0
        )
        log = site.agent.log if site.agent.process else "(it was not started)"
        sys.stdout.write(log[-3000:] + "\n")
        return 1
    ending(stage)
    return 0


def main() -> int:
    """Set the stage, play, and clear it, whatever ends the play."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Show the main job.")
    parser.add_argument("--embedded", action="store_true", help="from YAML files, no Consul")
    parser.add_argument("--fast", action="store_true", help="no pauses for reading")
    options = parser.parse_args()
    enter_own_namespace()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    settings = {"drivers": {"bird": {"hold_s": VERIFY_S}}}
    try:
        with tempfile.TemporaryDirectory(prefix="confsync-") as folder, Lab(Path(folder)) as lab:
            site = Site(lab, consul=not options.embedded, settings=settings)
            return play(site, pauses=sys.stdout.isatty() and not options.fast)
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
