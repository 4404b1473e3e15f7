"""Adopting configurations that nobody here wrote: each is run, adopted, changed and looked at.

Why separate from the tests: such files are other people's, and stay in a folder outside of the
project. Each is run in a namespace of its own with neighbours that answer. It is owned whole or by
a fragment, or refused with the reason; what must never happen is that something moves.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tests.lab import Lab
from tests.lab.agent import merged
from tests.lab.around import settle, surround
from tests.lab.bird import BINARY, Bird
from tests.lab.net import enter_own_namespace
from tests.lab.standing import Standing, differences, look
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ANNOUNCED = "203.0.113.128/25"
ESTABLISHED_S = 20.0
STEADY_S = 90.0  # OSPF waits 40 s before it is its own designated router
QUIET_LOOKS = 20  # OSPF takes 5 s between two of its own announcements, some sessions longer
MOVED = "FLAP/CHANGED"


class Ending(NamedTuple):
    """How it went with one configuration; `kind` is whole, fragment, refused, not BIRD 2 or MOVED.

    Shape: `sessions` are Established ones with our neighbours, of so many wanted.
    """

    kind: str
    reason: str = ""
    sessions: str = ""
    routes: int = 0


class Moved(Exception):
    """Something moved that must not."""


class Trial:
    """One configuration on a host of its own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        """Copy it, start it among its neighbours, and wait until nothing moves by itself."""
        self.lab = lab
        near = lab.folder / "near"
        shutil.copytree(folder, near)
        text = (near / "bird.conf").read_text(errors="surrogateescape")
        self.bird = Bird(near, text, start=False)
        lab.keep(self.bird)
        self.far = surround(lab, self.bird.config, self._told())
        self.bird.start()
        up = settle(self.bird, self.far, ESTABLISHED_S)
        self.sessions = f"{up} of {len(self.bird.sessions())} sessions up"
        self.first = self._steady()
        self.settings: dict[str, Any] = {
            "enabled": True,
            "config_file": str(self.bird.config),
            "control_socket": str(self.bird.socket),
            "hold_s": 0.5,
        }
        self.tree = lab.folder / "tree"
        self.document = self.tree / "nodes" / "lab-edge-1" / "bgp.yaml"
        self.document.parent.mkdir(parents=True)

    def _told(self) -> dict[str, str]:
        """Run it once to hear what BIRD makes of its sessions, constants and templates."""
        self.bird.start()
        told = {
            name: "\n".join(self.bird.ctl(f"show protocols all '{name}'"))
            for name in self.bird.sessions()
        }
        self.bird.ctl("down")
        self.bird.running.wait()
        return told

    def _steady(self) -> Standing:
        seen: list[Standing] = []

        def quiet() -> bool:
            seen[:] = [*seen[-QUIET_LOOKS:], look(self.bird, self.far, ANNOUNCED)]
            waiting = any(
                "Waiting" in line and "stub" not in line
                for line in self.bird.ctl("show ospf interface")
            )
            return not waiting and len(seen) > QUIET_LOOKS and all(one == seen[0] for one in seen)

        wait_until("nothing moves by itself", quiet, STEADY_S, every_s=1.0)
        return seen[-1]

    def run(self, *words: str) -> tuple[int, Any]:
        """Run one command of ours; what it answers, and that nothing moved. Raises Moved."""
        source = {"kind": "directory", "path": str(self.tree), "quiet_min_s": 0.1}
        settings = {"source": source, "drivers": {"bird": self.settings}}
        agent = self.lab.agent(settings, start=False)
        agent.write_settings()
        argv = [*agent.command(*words), "--config", str(agent.config), "--json"]
        done = subprocess.run(
            argv, env=agent.env, capture_output=True, text=True, timeout=120, check=False
        )
        try:
            told = json.loads(done.stdout)
        except ValueError:
            raise Moved(f"{words} crashed: {done.stderr[-2000:]}") from None
        failed = f" ended with {done.returncode}, {_why(told)}" if done.returncode else ""
        self.compare(" ".join(words) + failed)
        return done.returncode, told

    def compare(self, step: str) -> None:
        """Look whether all stands as at first. Raises Moved."""
        last: list[str] = []

        def same() -> bool:
            last[:] = differences(self.first, look(self.bird, self.far, ANNOUNCED))
            return not last

        try:
            wait_until("all stands as at first", same, timeout_s=3, every_s=0.3)
        except LabError:
            raise Moved(f"{step}: {'; '.join(last)}") from None

    def own_whole(self) -> str:
        """Adopt it by our own draft; return why that is refused, empty = it is ours."""
        code, told = self.run("adopt", "bird", "--draft")
        if code:
            return _why(told)
        self.document.write_text(told["data"]["draft"])
        return self._adopted()

    def own_fragment(self) -> str:
        """Let the main file draw in an empty fragment, as an operator would, and adopt that."""
        fragment = self.bird.config.parent / "confsync.conf"
        fragment.write_text("")
        text = self.bird.config.read_text(errors="surrogateescape")
        told = self.bird.configure(f'{text}\ninclude "{fragment}";\n')
        self.compare(f"an include of an empty fragment ({told[-1]})")
        self.settings = merged(
            self.settings, {"ownership": "fragment", "fragment_file": str(fragment)}
        )
        document = {"router_id": self._router_id(), "local_as": 64999}
        self.document.write_text(yaml.safe_dump(document))
        return self._adopted()

    def _router_id(self) -> str:
        said = " ".join(self.bird.ctl("show status"))
        return said.partition("Router ID is ")[2].split()[0]

    def _adopted(self) -> str:
        for words in (("--plan",), ()):
            code, told = self.run("adopt", "bird", *words)
            if code not in (0, 2):
                return _why(told)
        return ""

    def first_change(self) -> None:
        """Announce one prefix; nothing else may move. Raises Moved."""
        document = yaml.safe_load(self.document.read_text())
        document["announce"] = {**(document.get("announce") or {}), "trial": ANNOUNCED}
        self.document.write_text(yaml.safe_dump(document))
        code, told = self.run("apply", "--once")
        if code:
            raise Moved(f"apply --once: {code}, {_why(told)}")
        if not any(ANNOUNCED in line for line in self.bird.ctl("show route table all")):
            raise Moved("apply --once announced nothing")


def _why(told: Any) -> str:
    reasons = [*(told["data"] or {}).get("refusals", ())] if isinstance(told["data"], dict) else []
    reasons = reasons or [error["msg"] for error in told["errors"]]
    return "; ".join(reasons)


def attempt(folder: Path) -> Ending:
    """Adopt one configuration, whole where that is possible, and make one change."""
    parsed = subprocess.run(
        [BINARY, "-p", "-c", "bird.conf"], cwd=folder, capture_output=True, text=True, check=False
    )
    if parsed.returncode:
        return Ending("not BIRD 2", parsed.stderr.strip())
    enter_own_namespace()
    with tempfile.TemporaryDirectory(prefix="adopt-") as made, Lab(Path(made)) as lab:
        trial = Trial(lab, folder)
        routes = len(trial.first.routes["BIRD"])
        kind, reason = MOVED, ""
        try:
            reason = trial.own_whole()
            kind = "whole"
            if reason and (against := trial.own_fragment()):
                kind, reason = "refused", f"{reason}; as a fragment: {against}"
            elif reason:
                kind = "fragment"
            if kind != "refused":
                trial.first_change()
        except Moved as moved:
            kind, reason = MOVED, str(moved)
        return Ending(kind, reason, trial.sessions, routes)


def endings(folders: Sequence[Path]) -> Iterator[tuple[Path, Ending]]:
    """Try each; one that the laboratory cannot run is an error of ours."""
    for folder in folders:
        try:
            yield folder, attempt(folder)
        except (LabError, OSError, subprocess.SubprocessError) as error:
            notes = " ".join(getattr(error, "__notes__", ()))
            yield folder, Ending("NOT RUN", f"{error} {notes}")


def main() -> int:
    """Try folders, tell how each ended, and sum up; 1 if anything moved or could not be run."""
    parser = argparse.ArgumentParser(
        prog="scripts/try-adoption",
        description="Adopt BIRD configurations, each in a network namespace of its own.",
    )
    parser.add_argument("folders", nargs="+", type=Path, help="with a bird.conf and its includes")
    parser.add_argument("--json", action="store_true", help="one JSON object for each")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for folder, ending in endings(options.folders):
        counts[ending.kind] += 1
        if options.json:
            line = json.dumps({"name": folder.name, **ending._asdict()})
        else:
            line = f"{ending.kind:12} {folder.name}   {ending.sessions}, {ending.routes} routes"
            line += f"\n             {ending.reason}" if ending.reason else ""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    (sys.stderr if options.json else sys.stdout).write(f"{sum(counts.values())} files: {told}\n")
    return int(bool(counts[MOVED] or counts["NOT RUN"]))


if __name__ == "__main__":
    sys.exit(main())
