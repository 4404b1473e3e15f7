"""`scripts/bench`: all subjects in one run, interleaved, in a network namespace of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.bench import large, sites, startup
from tests.bench.figures import Report
from tests.bench.processes import CountingProxy, cpu_ms, rss_mb
from tests.bench.stages import Trees, profile
from tests.bench.subjects import (
    CONSUL,
    Confsync,
    Floor,
    Subject,
    Template,
    first_text,
    settings_for,
)
from tests.bench.world import Writer, network, publication, speaker, trees
from tests.lab import Lab
from tests.lab.agent import NotifySocket, merged
from tests.lab.bird import BINARY
from tests.lab.consul import consul_binary
from tests.lab.net import enter_own_namespace
from tests.lab.wait import wait_until

GAP_S = 0.05
SETTLE_S = 3.0
PLAN_PEERS = 300
HOUR_S = 3600


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("-n", type=int, default=120, help="changes of each subject (%(default)s)")
    parser.add_argument("--idle-s", type=float, default=130, help="seconds of idle counting")
    parser.add_argument("--starts", type=int, default=10, help="starts of each kind (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="n 20, 5 starts, no idle counting")
    parser.add_argument("--stages", action="store_true", help="only: where a transaction's time is")
    parser.add_argument("--large", action="store_true", help="only: 300 peers, 100,000 routes")
    parser.add_argument("--sites", action="store_true", help="only: two sites, and MQTT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    found = parser.parse_args()
    if found.quick:
        found.n, found.starts, found.idle_s = 20, 5, 0
    return found


def setting() -> dict[str, object]:
    """Return what the figures depend on."""
    told = subprocess.run([consul_binary(), "version"], capture_output=True, text=True, check=True)
    bird = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"[\d.]+", bird.stderr + bird.stdout)
    return {
        "Consul": told.stdout.split()[1],
        "BIRD": version[0] if version else "?",
        "Python": platform.python_version(),
        "processors": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 2),
        "gap ms": round(GAP_S * 1000),
        "hold-down s": 0,
    }


def our_agent(lab: Lab, ear: NotifySocket) -> Confsync:
    """Start our BIRD with ten live sessions, and the agent on a first change."""
    subject = Confsync(lab, speaker(lab, 1), ear)
    Writer().send(publication(trees(1, network(1)), 1, whole=True))
    subject.agent.start()
    settled(subject)
    subject.speaker.near.wait_established()
    return subject


def settled(subject: Confsync) -> None:
    """Wait until the agent has nothing more to do."""
    agent = subject.agent
    wait_until("in sync", lambda: agent.get("/api/v1/node").json["state"] == "in-sync")


def rivals(lab: Lab, writer: Writer) -> list[Template | Floor]:
    """Start consul-template, where there is one, and the floor, each with a BIRD of its own."""
    found: list[Template | Floor] = []
    if program := os.environ.get("CONFSYNC_BENCH_TEMPLATE"):
        template = Template(lab, speaker(lab, 2, lab.namespace("host2"), first_text(2)), program)
        writer.send(template.keys())
        template.start()
        found.append(template)
    floor = Floor(lab, speaker(lab, 3, lab.namespace("host3"), first_text(3)))
    writer.send(floor.keys())
    floor.start()
    for rival in (*found, floor):
        rival.speaker.near.wait_established()
    return [*found, floor]


def changes(subjects: list[Subject], writer: Writer, count: int, report: Report) -> None:
    """Make the changes, one subject after the other in a turning order."""
    runs: dict[str, list[float]] = {one.name: [] for one in subjects}
    done: dict[str, list[float]] = {one.name: [] for one in subjects}
    spent = {one.name: -cpu_ms(one.pid) for one in subjects}
    for turn in range(2, count + 2):
        first = turn % len(subjects)
        for one in subjects[first:] + subjects[:first]:
            time.sleep(GAP_S)
            before = one.control.marker()
            began = writer.send(one.operations(turn))
            runs[one.name].append((one.control.wait_other(before) - began) * 1000)
            if (at := one.finished()) is not None:
                done[one.name].append((at - began) * 1000)
    time.sleep(GAP_S)
    for one in subjects:
        report.add(f"{one.name}: BIRD runs it", runs[one.name])
        report.add(f"{one.name}: verified and journalled", done[one.name])
    for one in subjects:
        report.fact(f"{one.name}: CPU per change, ms", (spent[one.name] + cpu_ms(one.pid)) / count)
        report.fact(f"{one.name}: RSS afterwards, MB", rss_mb(one.pid))
    ours, theirs, least = "confsync", "consul-template", "floor"
    for rival in (theirs, least):
        report.ratio(f"runs: times {rival}", f"{ours}: BIRD runs it", f"{rival}: BIRD runs it")
        report.ratio(
            f"verified: times {rival}", f"{ours}: verified and journalled", f"{rival}: BIRD runs it"
        )


def loop_lag(subject: Confsync, report: Report) -> None:
    """Take over what the agent itself noticed of its event loop's lateness."""
    text = subject.agent.get("/metrics").body.decode()
    counts = re.findall(r'confsync_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    total = max((float(count) for _, count in counts), default=0)
    bound = next((le for le, count in counts if float(count) >= total > 0), "?")
    report.notes.append(
        f"Event loop: {total:.0f} ticks of a second during the changes, none later than {bound} s."
    )


def idle(ours: Confsync, theirs: Template | None, idle_s: float, report: Report) -> None:
    """Count what is asked of Consul while nothing happens."""
    proxies = {ours.name: CountingProxy(CONSUL), Template.name: CountingProxy(CONSUL)}
    consul = proxies[ours.name].address
    ours.agent.settings = merged(ours.agent.settings, settings_for(ours.speaker, consul))
    ours.agent.start()
    settled(ours)
    if theirs:
        theirs.close()
        theirs.start(proxies[theirs.name].address)
    time.sleep(SETTLE_S)
    before = {name: proxy.requests for name, proxy in proxies.items()}
    time.sleep(idle_s)
    for name, watches in ((ours.name, 6), (Template.name, 11)):
        made = proxies[name].requests - before[name]
        if name == ours.name or theirs:
            per_hour = made * HOUR_S / idle_s
            report.fact(f"{name}: idle requests per hour", per_hour)
            report.fact(f"{name}: the same per watch ({watches})", per_hour / watches)
    report.notes.append(f"Idle requests are extrapolated from {idle_s:g} s, through a proxy.")
    ours.close()
    ours.agent.settings = merged(ours.agent.settings, settings_for(ours.speaker))
    for proxy in proxies.values():
        proxy.close()


def compare(lab: Lab, given: argparse.Namespace) -> Report:
    """Run everything."""
    report = Report(setting())
    consul, ear = lab.consul(), lab.notify_socket()
    ours, writer = our_agent(lab, ear), Writer()
    others = rivals(lab, writer)
    theirs = next((one for one in others if isinstance(one, Template)), None)
    if theirs is None:
        report.notes.append("No consul-template here: CONFSYNC_BENCH_TEMPLATE may name one.")
    changes([ours, *others], writer, given.n, report)
    loop_lag(ours, report)
    ours.close()
    if given.idle_s:
        idle(ours, theirs, given.idle_s, report)
    for one in others:
        one.close()
    report.add("start to READY", startup.times_to_ready(ours, ear, given.starts))
    many = startup.times_to_plan(ours, lab.folder / "tree", PLAN_PEERS, given.starts)
    report.add(f"preview of {PLAN_PEERS} new peers", many)
    consul.kill()
    report.add(
        "cold start without Consul to READY", startup.times_to_ready(ours, ear, given.starts)
    )
    return report


def stages(lab: Lab, given: argparse.Namespace) -> None:
    """Print where the time of a transaction goes, and how late the loop is meanwhile."""
    lab.consul()
    ours = our_agent(lab, lab.notify_socket())
    ours.close()

    def change(turn: int) -> Trees:
        return trees(1, network(turn))

    for ticking in (False, True):
        turns = range(2 + given.n * ticking, 3 + given.n * (1 + ticking))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            profiling = profile(ours.agent.config, change, turns, ticking=ticking)
            found = runner.run(profiling)
        sys.stdout.write((found.lag() if ticking else found.text()) + "\n")


def main() -> None:
    """Do what the command line says."""
    given = arguments()
    enter_own_namespace()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, Lab(Path(folder)) as lab:
        if given.stages:
            stages(lab, given)
            return
        if given.large:
            report = large.measured(lab, setting(), given.n)
        elif given.sites:
            report = sites.measured(lab, setting(), given.n)
        else:
            report = compare(lab, given)
    sys.stdout.write(report.text() + "\n")
    if given.json:
        given.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")


if __name__ == "__main__":
    main()
