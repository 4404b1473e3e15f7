"""Adopting by command on a host without an agent: a record, and nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import HERE, Lab
from tests.lab.adoption import Trial
from tests.lab.bird import Since
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

EDGE = Path(__file__).parents[1] / "drivers" / "bird" / "importer" / "golden" / "edge"
HAND_MADE = """\
router id 10.9.1.1;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol static offices { ipv4; route 192.0.2.0/25 unreachable; }
protocol bgp upstream {
  local as 64512; neighbor 10.9.1.2 as 65001; connect delay time 1;
  ipv4 { import all; export where proto = "offices"; };
}
"""


class Place:
    """A host with one session that somebody configured, and a document for it."""

    def __init__(self, lab: Lab) -> None:
        self.far = lab.far_end(1, originate=("198.18.1.0/24",))
        self.near = lab.bird("near", HAND_MADE)
        self.near.wait_established("upstream")
        wait_until("the far network is reachable", HERE.routes)
        tree = lab.folder / "tree"
        self.document = tree / "nodes" / "lab-edge-1" / "bgp.yaml"
        self.document.parent.mkdir(parents=True)
        bird = {
            "enabled": True,
            "config_file": str(self.near.config),
            "control_socket": str(self.near.socket),
        }
        source = {"kind": "directory", "path": str(tree), "quiet_min_s": 0.1}
        self.agent = lab.agent({"source": source, "drivers": {"bird": bird}}, start=False)
        self.agent.write_settings()
        # What runs, by a name of the author's own for the neighbour.
        document = yaml.safe_load(self.run("adopt", "bird", "--draft")[1]["data"]["draft"])
        document["peers"] = {"far": document["peers"].pop("upstream")}
        self.publish(**document)

    def publish(self, **document: Any) -> None:
        self.document.write_text(yaml.safe_dump(document))

    def run(self, *words: str) -> tuple[int, Any]:
        argv = [*self.agent.command(*words), "--config", str(self.agent.config), "--json"]
        done = subprocess.run(
            argv, env=self.agent.env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, json.loads(done.stdout)

    def standing(self) -> Any:
        """Return what must not move: bytes and times of the file, sessions, kernel routes."""
        found = self.near.config.stat()
        since = {name: one.since for name, one in self.near.sessions().items()}
        said = [line for line in self.near.ctl("show status") if "Last" in line]
        told = [
            (what, Since(moment)) for what, _, moment in (one.partition(" on ") for one in said)
        ]
        stat = (found.st_mtime_ns, found.st_ino, found.st_mode, found.st_uid)
        return self.near.config.read_bytes(), stat, since, told, HERE.routes()


@pytest.fixture
def place(lab: Lab) -> Place:
    return Place(lab)


def test_looking_and_adopting_touch_nothing(place: Place) -> None:
    before = place.standing()
    code, shown = place.run("adopt", "bird", "--plan", "--allow", "lost:bird")
    assert code in (0, 2), shown
    assert {"upstream", "offices"} <= {*shown["data"]["names"].values()}
    assert [] == shown["data"]["lost"]
    assert before == place.standing()
    assert 75 == place.run("apply", "--once")[0]
    code, told = place.run("adopt", "bird", "--allow", "lost:bird")
    assert 0 == code, told
    assert before == place.standing()


def test_what_would_be_lost_must_be_allowed_by_name(place: Place) -> None:
    place.near.configure(f"{HAND_MADE}protocol rip {{ ipv4; }}\n")
    code, told = place.run("adopt", "bird")
    assert 75 == code
    assert any("--allow lost:bird" in one for one in told["data"]["refusals"])


def test_a_file_that_does_not_parse_is_refused(place: Place) -> None:
    place.near.config.write_text(f"{HAND_MADE}protocol bgp {{\n")
    code, told = place.run("adopt", "bird")
    assert 75 == code
    assert "syntax error" in told["errors"][0]["msg"]


@pytest.mark.timeout(300)
def test_a_running_host_is_taken_over_by_its_draft_and_nothing_moves(lab: Lab) -> None:
    trial = Trial(lab, EDGE)
    assert "3 of 4 sessions up" == trial.sessions
    assert trial.first.routes["neighbour far1"]
    assert "" == trial.own_whole()
    trial.first_change()
    assert trial.bird.sessions()["later"].state == "down"
    assert "# Written by confsync" in trial.bird.config.read_text()
