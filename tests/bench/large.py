"""A host at the bound of what we promise: 300 peers, of which ten are there, and 100,000 routes.

Measured are the pure work on so much, a whole preview, whole transactions, and how long the event
loop serves nobody else meanwhile; on uvloop, as the agent runs, and on asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import uvloop

from confsync.flow.transact import Room
from confsync.host.journal import SqliteJournal
from confsync.host.logs import LogReporter, configure
from confsync.host.state import private_dir
from confsync.settings import load
from confsync.wiring import wire
from tests.bench.figures import Report
from tests.bench.processes import rss_mb
from tests.bench.stages import Mark, Profile, Trees, Watch, blocked_s, interpose, lag, profile
from tests.bench.subjects import Confsync
from tests.bench.world import (
    FAR_ASN,
    LAYERS,
    NEAR_ASN,
    Speaker,
    Writer,
    network,
    publication,
    trees,
)
from tests.lab import HERE, Lab
from tests.lab.agent import Agent
from tests.lab.bird import far_config
from tests.lab.wait import wait_until

PEERS, LIVE, ROUTES = 300, 10, 100_000
NUMBER, PER_NET = 1, 250
TRANSACTIONS = 10
START_S = 120.0
LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def far_addresses() -> list[str]:
    """Return where the neighbours are."""
    return [f"10.10.{one // PER_NET}.{one % PER_NET + 1}" for one in range(PEERS)]


def source(index: int) -> str:
    """Return our own end of a session; each live one has its own, so that the far end can tell."""
    return f"10.10.255.{min(index, LIVE - 1) + 1}"


def speaker(lab: Lab) -> Speaker:
    """Start both ends; the first neighbour brings the routes, the other live ones one each."""
    host, theirs = lab.namespace("far"), far_addresses()[:LIVE]
    lab.cable(
        HERE,
        "conf1",
        host,
        "eth0",
        near_addresses=tuple(f"{source(index)}/16" for index in range(LIVE)),
        far_addresses=tuple(f"{address}/16" for address in theirs),
    )
    sessions = "ipv4 table many;\nprotocol static { ipv4 { table many; };\n"
    sessions += "".join(f"route {prefix} blackhole;\n" for prefix in prefixes()) + "}\n"
    sessions += "".join(
        f"protocol bgp p{index} {{ local {address} as {FAR_ASN}; passive;"
        f" neighbor {source(index)} as {NEAR_ASN}; direct; ipv4 {{ import none; next hop self;"
        f" {'' if index else 'table many; '} export where source = RTS_STATIC; }}; }}\n"
        for index, address in enumerate(theirs)
    )
    text = far_config(theirs[0], FAR_ASN, sessions, originate=("198.19.1.0/24",))
    return Speaker(NUMBER, lab.bird("near"), lab.bird("far", text, host))


def prefixes() -> Iterator[str]:
    """Yield what the first neighbour brings."""
    for one in range(ROUTES):
        yield f"{20 + one // 65536}.{one // 256 % 256}.{one % 256}.0/24"


def change(turn: int) -> Trees:
    """Return the documents of one turn: all peers, and one announced prefix that moves."""
    found = trees(NUMBER, network(turn))
    ours = {"prefix": "198.18.0.0/16", "le": 24, "action": "permit"}
    found[LAYERS[0]]["export"] = {"ipv4": {"rules": [ours], "default": "deny"}}
    found[LAYERS[3]]["peers"] = {
        f"p{index}": {"ipv4": address, "source": source(index), "required": index < LIVE}
        for index, address in enumerate(far_addresses())
    }
    return found


def measured(lab: Lab, setting: dict[str, object], count: int) -> Report:
    """Run everything."""
    report = Report({**setting, "peers": PEERS, "routes": ROUTES})
    lab.consul()
    subject = Confsync(lab, speaker(lab), lab.notify_socket())
    Writer().send(publication(change(1), 1, whole=True))
    began_s = time.monotonic()
    subject.agent.start(timeout_s=START_S)
    wait_until("in sync", lambda: _state(subject.agent) == "in-sync", timeout_s=START_S)
    live = [f"cs_p{index}_ipv4" for index in range(LIVE)]
    subject.speaker.near.wait_established(*live, timeout_s=START_S)
    wait_until("all routes", lambda: _routes_in_kernel() >= ROUTES, timeout_s=START_S)
    report.fact("from the agent's start to all in the kernel, s", time.monotonic() - began_s)
    turn = _live_agent(subject, 2, report)
    subject.agent.terminate()
    gc.freeze()  # as the agent does
    for loop, factory in LOOPS.items():
        with asyncio.Runner(loop_factory=factory) as runner:
            found = runner.run(_previews(subject.agent.config, turn, count))
            _tell(report, f"{loop}: preview", found)
            turns = range(turn, turn + TRANSACTIONS + 1)
            turn = turns.stop
            found = runner.run(profile(subject.agent.config, change, turns, ticking=True))
            _tell(report, f"{loop}: change", found)
    report.setting["load at the end"] = round(os.getloadavg()[0], 2)
    return report


def _state(agent: Agent) -> str:
    return str(agent.get("/api/v1/node").json["state"])


def _routes_in_kernel() -> int:
    return HERE.run("ip", "route", "show", "proto", "bird").count("\n")


def _live_agent(subject: Confsync, turn: int, report: Report) -> int:
    """Change a running agent's host, and ask it all the while whether it lives."""
    writer, done, silent = Writer(), [], []
    for number in range(turn, turn + TRANSACTIONS):
        time.sleep(1.0)
        subject._read_bytes = subject.agent.running.log.stat().st_size
        with _asking(subject.agent) as answers:
            began = writer.send(publication(change(number), number))
            ended = subject.finished()
            time.sleep(0.5)  # what follows the commit
        assert ended is not None
        done.append((ended - began) * 1000)
        silent.append(max(answers) * 1000)
    report.add("agent: verified and journalled", done)
    report.add("agent: longest answer of /livez meanwhile", silent)
    report.fact("agent: RSS at its peak, MB", rss_mb(subject.agent.pid, peak=True))
    return turn + TRANSACTIONS


@contextlib.contextmanager
def _asking(agent: Agent) -> Iterator[list[float]]:
    """Ask again and again how long an answer takes that needs nothing but the event loop."""
    ended, answers = threading.Event(), [0.0]

    def ask() -> None:
        while not ended.wait(0.002):
            began_s = time.perf_counter()
            agent.get("/livez")
            answers.append(time.perf_counter() - began_s)

    thread = threading.Thread(target=ask)
    thread.start()
    yield answers
    ended.set()
    thread.join()


async def _previews(config: Path, turn: int, count: int) -> Profile:
    """Preview one published change, again and again."""
    settings = load(config)
    configure("error")
    journal = SqliteJournal(private_dir(settings.state_dir) / "journal.db")
    wired = wire(settings, Room({}, journal, LogReporter(lambda _: None)))
    watch, found = Watch(), Profile([], [])
    flow = interpose(wired, watch)
    async with lag() as late:
        for number in range(turn, turn + count):
            Writer().send(publication(change(number), number))
            await asyncio.sleep(0.1)
            watch.clear()
            late.clear()
            answer = await flow.preview()
            assert answer.plan, answer
            assert answer.plan.steps, answer
            await asyncio.sleep(0.005)
            found.turns.append(watch.clear())
            found.late.append(late.copy())
    await wired.close()
    await journal.aclose()
    return found


def _tell(report: Report, name: str, found: Profile) -> None:
    """Add what each stage took, and for how long it held the event loop."""
    takes: defaultdict[str, list[float]] = defaultdict(list)
    blocks: defaultdict[str, list[float]] = defaultdict(list)
    for marks, late in zip(found.turns, found.late, strict=True):
        for mark in (*marks, _whole(marks)):
            takes[mark.name].append((mark.ended_s - mark.began_s) * 1000)
            blocks[mark.name].append(blocked_s(mark, late) * 1000)
    for stage, values in takes.items():
        if 2 * len(values) >= len(found.turns) and max(values) >= 1:
            report.add(f"{name}: {stage}", values)
            report.add(f"{name}: {stage}, loop blocked", blocks[stage])


def _whole(marks: Iterable[Mark]) -> Mark:
    found = list(marks)
    return Mark("everything", min(m.began_s for m in found), max(m.ended_s for m in found))
