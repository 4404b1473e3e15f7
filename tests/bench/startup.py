"""How long the agent takes to be ready, with its source and without, and to plan for many peers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import uvloop

from confsync.cli.alone import opened
from confsync.edge.directory import DirectorySettings, DirectorySource
from confsync.host.logs import LogReporter, configure
from confsync.model.ids import canonical
from confsync.settings import load
from tests.bench.subjects import Confsync
from tests.bench.world import FAR_ASN, network, trees
from tests.lab.agent import NotifySocket


def times_to_ready(subject: Confsync, ear: NotifySocket, count: int) -> list[float]:
    """Start and end the agent; return from the start of the process to its READY, in ms."""
    found = []
    for _ in range(count):
        ear.notices.clear()
        began_s = time.monotonic()
        subject.agent.start(wait=False)
        found.append((ear.wait("READY").at - began_s) * 1000)
        subject.agent.terminate()
    return found


def times_to_plan(subject: Confsync, folder: Path, peers: int, count: int) -> list[float]:
    """Return how long a whole preview for a tree of files takes: merge to plan, host included."""
    number = subject.speaker.number
    many = {
        f"q{one}": {"ipv4": f"10.{one // 250 + 20}.{one % 250}.2", "asn": FAR_ASN}
        for one in range(peers)
    }
    for layer, tree in trees(number, network(0)).items():
        tree["peers"] = {**tree.get("peers", {}), **(many if layer.startswith("nodes/") else {})}
        path = folder / layer / "bgp.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes(canonical(tree))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_plans(subject.agent.config, folder, count))


async def _plans(config: Path, folder: Path, count: int) -> list[float]:
    settings = load(config)
    configure("error")
    found = []
    async with opened(settings, LogReporter(lambda _: None)) as wired:
        source = DirectorySource(DirectorySettings(path=str(folder)))
        snapshot = await source.snapshot(wired.reconciler.layers)
        for _ in range(count):
            began_s = time.perf_counter()
            answer = await wired.reconciler.preview(snapshot)
            found.append((time.perf_counter() - began_s) * 1000)
            assert answer.plan, answer
            assert answer.plan.steps, answer
    return found
