"""In the guest: a host whose agent changes routing and storage without end, and a look at it later.

`begin FOLDER` sets it up on a disk that outlives a cut and goes on changing; `look FOLDER` starts
what starts at a boot, lets the agent recover and no more, and tells on which side each half is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.lab import Lab
from tests.lab.agent import Agent
from tests.lab.bird import Bird
from tests.lab.net import enter_own_namespace
from tests.lab.site import Site
from tests.lab.storage import sh
from tests.lab.wait import wait_until

VG, DISK = "vg_ext", "/dev/ubda"
PATIENT_S = 120.0
BASE_MIB, STEP_MIB = 20, 4
GUEST = Path("/guest")
ANNOUNCED = re.compile(r"198\.51\.(\d+)\.0/24")
SETTINGS = {"drivers": {"lvm": {"enabled": True, "volume_groups": [VG]}}}
DATA = f"head -c 1048576 /dev/{VG}/kept | sha256sum"


def begin(folder: Path) -> None:
    """Change a peer's routes and a volume's size together, until the power is cut."""
    with Lab(folder) as lab:
        site = Site(lab, consul=False, bfd=False, settings=SETTINGS)
        (folder / "settings.json").write_text(json.dumps(site.agent.settings))
        want(site, 0)
        site.agent.start(timeout_s=PATIENT_S)
        site.wait_state("in-sync", timeout_s=PATIENT_S)
        site.near.wait_established("cs_far_ipv4", "cs_far_ipv6")
        sh(f"head -c 1048576 /dev/urandom >/dev/{VG}/kept && sync")
        (GUEST / "data").write_text(sh(DATA))
        os.sync()
        for turn in range(1, 60):
            want(site, turn)
            (GUEST / "turn").write_text(str(turn))
            wait_until("it is done", lambda t=turn: turns(site.near.config) == {t}, PATIENT_S)


def want(site: Site, turn: int) -> None:
    """Write both documents of a turn, the one that is read last at last."""
    volumes = {"kept": {"size": f"{BASE_MIB + STEP_MIB * turn}MiB"}}
    groups = {VG: {"devices": [DISK], "volumes": volumes}}
    site.write({"volume_groups": groups}, "nodes/lab-edge-1/lvm")
    site.write(site.document(announce={"turn": f"198.51.{turn}.0/24"}))


def turns(config: Path) -> set[int]:
    """Return the turns that a configuration of BIRD announces."""
    return {int(number) for number in ANNOUNCED.findall(config.read_text())}


def look(folder: Path) -> None:
    """Tell, as JSON, where the host stands after the agent has recovered, and that it goes on."""
    bird = Bird(folder / "near", (folder / "near" / "bird.conf").read_text())
    settings = json.loads((folder / "settings.json").read_text())
    agent = Agent(folder / "agent", settings)
    argv = [*agent.command("agent", "pause", "--reason", "look"), "--config", str(agent.config)]
    subprocess.run(argv, env=agent.env, check=True)
    agent.start(timeout_s=PATIENT_S)
    wait_until("it knows the host", lambda: status(agent)["state"] == "frozen", PATIENT_S)
    size = int(sh(f"lvs --noheadings --nosuffix --units m -o lv_size {VG}/kept").split(".")[0])
    render = bird.ctl("eval cs_render")[-1].removeprefix("0023 ")
    found = {
        "routing": sorted(turns(bird.config)),
        "storage": (size - BASE_MIB) / STEP_MIB,
        "runs": render.strip('"') in bird.config.read_text(),
        "suspended": sh("dmsetup info -c --noheadings -o name,suspended | grep Suspended || true"),
        "data": sh(DATA),
        "volumes": sh(f"lvs --noheadings -o lv_name {VG}").split(),
    }
    agent.request("POST", "/v1/resume", {"accept": False}, timeout_s=PATIENT_S)
    (GUEST / "found").write_text(json.dumps(found))
    agent.terminate()
    bird.close()


def status(agent: Agent) -> dict[str, str]:
    """Return the agent's status."""
    found: dict[str, str] = agent.get("/api/v1/node").json
    return found


if __name__ == "__main__":
    enter_own_namespace()
    {"begin": begin, "look": look}[sys.argv[1]](Path(sys.argv[2]))
