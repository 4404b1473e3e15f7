"""The scenes of storage on a stage of their own: routing and volumes in one transaction.

Why in a guest: a demo must not touch this machine's own volume groups, nor ask for device-mapper.
On the host it boots the guest and shows what is written there; in the guest it plays.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.lab import Lab
from tests.lab.net import enter_own_namespace
from tests.lab.screen import BOLD, DIM, RED
from tests.lab.site import Site
from tests.lab.stage import Stage
from tests.lab.wait import LabError
from tests.vm.guest import Guest

WITHIN = "--within"
PATIENT_S = 120.0  # this kernel is an ordinary process, and slow
PLAY_S = 600.0
SHOWN = "shown"
SHOWN_EVERY_S = 0.2
VOLUMES = ("lvs", "-o", "lv_name,lv_size,lv_tags", "vg_ext")
PROTOCOLS = ("birdc", "-s", "near/bird.ctl", "show", "protocols")
SESSIONS = r"^Name|BGP"
STORAGE = """\
volume_groups:
  vg_ext:
    devices: [/dev/ubda]
    volumes:
      scratch: {size: 20MiB, fs: ext4}
"""


def opening(stage: Stage) -> None:
    """Bring up a host with one peer and one volume."""
    stage.say("confsync: routing and storage in one transaction", BOLD, indent=0)
    stage.say(
        "A kernel of its own (User Mode Linux) with real device-mapper and a blank disk; in it two"
        " hosts with a real BIRD each, a real Consul, and the agent.",
        DIM,
    )
    stage.run("cat", str(stage.storage.relative_to(stage.site.lab.folder)))
    stage.publish("first configuration")
    stage.site.agent.start(wait=False)
    stage.say()
    stage.say("$ confsync agent run &", BOLD)
    stage.wait("in-sync")
    stage.site.near.wait_established("cs_far_ipv4", "cs_far_ipv6")
    stage.run(*VOLUMES)
    stage.check("group, volume and file system are made", "scratch" in volumes())


def both(stage: Stage) -> None:
    """A change of both that works."""
    stage.scene("1  A peer and a volume in one change", "Planned, published, applied, verified.")
    known = stage.site.status()
    stage.edit("  far:", '  second: {ipv4: 10.9.2.2, ipv6: "fd00:9:2::2", asn: 65002}\n  far:')
    stage.edit(
        "      scratch", "      images: {size: 64MiB, fs: ext4}\n      scratch", stage.storage
    )
    stage.plan()
    stage.publish("a second peer, and room for images (CHG-90)")
    stage.wait_ended(known, "committed")
    stage.wait("in-sync")
    stage.run(*VOLUMES)
    stage.run(*PROTOCOLS, keep=SESSIONS)
    stage.check("the volume is there", "images" in volumes())
    stage.check("the peer is Established", established(stage, "cs_second_ipv4"))


def undone(stage: Stage) -> None:
    """A change of both whose peer fails."""
    stage.scene(
        "2  The peer fails, so the volume is gone again",
        "The neighbour has another AS than the document says. The volume was made without a fault,"
        " and goes all the same: a change happens whole, or not at all.",
    )
    known, stood = stage.site.status(), (volumes(), stage.host())
    stage.edit("  far:", "  third: {ipv4: 10.9.3.2, asn: 65033}\n  far:")
    stage.edit("      scratch", "      more: {size: 32MiB, fs: ext4}\n      scratch", stage.storage)
    stage.plan()
    stage.publish("a third peer, and more room (CHG-91)")
    ended = stage.wait_ended(known, "rolled-back")
    stage.status()
    stage.run(*VOLUMES)
    stage.check("the reason names the peer", "third" in ended["reason"])
    stage.check(
        "volumes, file and running configuration are as before", stood == (volumes(), stage.host())
    )
    stage.check("the other sessions are up", established(stage, "cs_far_ipv4", "cs_second_ipv4"))


def volumes() -> list[str]:
    """Return the names of the volumes that there are."""
    argv = ["lvs", "--noheadings", "-o", "lv_name", "vg_ext"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.split()


def established(stage: Stage, *names: str) -> bool:
    """Tell whether these sessions are up."""
    found = stage.site.near.sessions()
    return all(found[name].info == "Established" for name in names)


def play() -> int:
    """Play all scenes, in the guest."""
    enter_own_namespace()
    storage = {"lvm": {"enabled": True, "volume_groups": ["vg_ext"]}}
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab:
        site = Site(lab, settings={"drivers": storage})
        for number in (2, 3):
            lab.far_end(number, bfd=True)
        stage = Stage(site, pauses=False, patience_s=PATIENT_S)
        stage.storage.write_text(STORAGE)
        try:
            for act in (opening, both, undone):
                act(stage)
        except (LabError, OSError, subprocess.SubprocessError) as error:
            stage.check(str(error), kept=False)
        if stage.failed:
            stage.say(f"{stage.failed} promises were not kept.", RED, indent=0)
            sys.stdout.write(site.agent.log[-3000:] + "\n")
        return int(stage.failed > 0)


def show() -> int:
    """Boot the guest and show what is played in it, as it comes."""
    with tempfile.TemporaryDirectory(prefix="confsync-") as folder, Guest(Path(folder)) as guest:
        shown = Path(folder) / SHOWN
        shown.touch()
        playing = guest.start(
            f"python -B -m tests.vm.demo {WITHIN} >/guest/{SHOWN} 2>&1", timeout_s=PLAY_S
        )
        with shown.open() as lines:
            while (done := playing.done) is None:
                sys.stdout.write(lines.read())
                sys.stdout.flush()
                if not guest.alive:
                    raise guest.error("the guest ended in the play")
                time.sleep(SHOWN_EVERY_S)
            sys.stdout.write(lines.read())
        return done.rc


if __name__ == "__main__":
    sys.exit(play() if WITHIN in sys.argv else show())
