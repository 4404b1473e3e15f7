"""From a push at home to a verified change on a host of another site, and what a broker costs.

Why the clock starts when `push` has written the last of it: what a push itself takes is told apart.
The floor is a bare blocking query across the same line, in the same run.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.publish import Record, publish
from confsync.edge.transport import Client
from confsync.model.ids import LayerPath, canonical
from tests.bench.figures import Report
from tests.bench.subjects import Confsync, settings_for
from tests.bench.world import LAYERS, PREFIX, network, speaker, trees
from tests.lab.agent import merged
from tests.lab.mosquitto import PORT, Mosquitto
from tests.lab.pair import AWAY, HOME, Pair
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab import Lab
    from tests.lab.consul import ConsulServer

MANY = 10_000
PER_LAYER = 100
RECORD = Record(by="bench", at="2026-11-22T10:00:00Z", why="a measurement")
Tree = dict[LayerPath, dict[str, bytes]]


class Watch:
    """Waits for one key by bare blocking queries, from a server, for a datacenter."""

    def __init__(self, server: ConsulServer, key: str, datacenter: str) -> None:
        self._connection = http.client.HTTPConnection(server.address, 8500, timeout=70)
        self._path = f"/v1/kv/{PREFIX}/{key}?dc={datacenter}&raw"
        self._index = "0"

    def change(self) -> int:
        """Return the change that the key tells of, waiting for the next one."""
        self._connection.request("GET", f"{self._path}&index={self._index}&wait=60s")
        reply = self._connection.getresponse()
        self._index = reply.headers["X-Consul-Index"]
        return int(json.loads(reply.read() or b"{}").get("change", 0))


class Seen:
    """Notes, in a thread of its own, when a key first told of each change."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.at: dict[int, float] = {}
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        with suppress(http.client.HTTPException, OSError, ValueError):  # the server ends first
            while True:
                self.at.setdefault(self._watch.change(), time.time())

    def wait(self, change: int) -> float:
        """Return when a change was there."""
        return wait_until("it is there", lambda: self.at.get(change), every_s=0.0005)


def push(server: ConsulServer, tree: Tree) -> tuple[int, float]:
    """Publish; return the change and the moment after."""

    async def pushed() -> int:
        client = Client(Endpoint.parse(server.url), Token(None))
        try:
            return (await publish(client, PREFIX, tree, RECORD)).change
        finally:
            await client.close()

    return asyncio.run(pushed()), time.time()


def documents(turn: int, more: Tree) -> Tree:
    """Return the host's documents in one of its turns, and the fleet's."""
    ours = {layer: {"bgp": canonical(tree)} for layer, tree in trees(1, network(turn)).items()}
    return {**ours, **more}


def fleet(turn: int = 0) -> Tree:
    """Return ten thousand documents of other nodes; a turn changes one of them."""
    return {
        LayerPath(f"nodes/other-{number}"): {
            f"d{one}": canonical({"n": number, "one": one, "turn": turn * (not number and not one)})
            for one in range(PER_LAYER)
        }
        for number in range(MANY // PER_LAYER)
    }


def settings(subject: Confsync, pair: Pair, **more: Mapping[str, Any]) -> None:
    """Let the host be one of osl, which copies for its site."""
    ours = settings_for(subject.speaker, f"{pair.away.address}:8500")
    site = {
        "site": AWAY,
        "node": "lab-edge-1",
        "hierarchy": [*map(str, LAYERS[:-1]), "nodes/{node}"],
        "source": {"consul": {"home_datacenter": HOME}},
        "replicate": {"enabled": True},
    }
    subject.agent.settings = merged(subject.agent.settings, merged(merged(ours, site), more))


def measured(lab: Lab, setting: dict[str, object], count: int) -> Report:
    """Measure all of it."""
    report, ear = Report(setting), lab.notify_socket()
    pair = lab.keep(Pair(lab.folder / "pair"))
    push(pair.home, documents(1, {}))
    subject = Confsync(lab, speaker(lab, 1), ear)
    settings(subject, pair)
    subject.agent.start()
    settled(subject)
    subject.speaker.near.wait_established()
    head = Seen(Watch(pair.away, "head", HOME))
    mirror = Seen(Watch(pair.away, "mirror", AWAY))
    travels(subject, pair, (head, mirror), count, report)
    copies(pair, mirror, count, report)
    brokers(lab, subject, pair, count, report)
    subject.close()
    return report


def settled(subject: Confsync) -> None:
    """Wait until the agent has nothing more to do."""
    agent = subject.agent
    wait_until("in sync", lambda: agent.get("/api/v1/node").json["state"] == "in-sync")


def travels(
    subject: Confsync, pair: Pair, seen: tuple[Seen, Seen], count: int, report: Report
) -> None:
    """Push changes of the host's own document."""
    floor, copied, done = [], [], []
    for turn in range(2, count + 2):
        subject.operations(turn)
        change, at = push(pair.home, documents(turn, {}))
        done.append(((subject.finished() or 0) - at) * 1000)
        floor.append((seen[0].wait(change) - at) * 1000)
        copied.append((seen[1].wait(change) - at) * 1000)
        time.sleep(0.05)
    report.add("floor: head is seen across the line", floor)
    report.add("confsync: copied to the other site", copied)
    report.add("confsync: verified on a host there", done)


def copies(pair: Pair, mirror: Seen, count: int, report: Report) -> None:
    """Push changes of one document among ten thousand."""
    began = time.time()
    change, at = push(pair.home, documents(count + 1, fleet()))
    report.fact(f"push of {MANY} documents, s", at - began)
    report.fact(f"first copy of {MANY} documents, s", mirror.wait(change) - at)
    one = []
    for turn in range(1, min(count, 20) + 1):
        change, at = push(pair.home, documents(count + 1, fleet(turn)))
        one.append((mirror.wait(change) - at) * 1000)
    report.add(f"copy of 1 document among {MANY}", one)
    push(pair.home, documents(count + 1, {}))


def brokers(lab: Lab, subject: Confsync, pair: Pair, count: int, report: Report) -> None:
    """Push changes while a broker listens, hangs and is gone, in turn."""
    broker = lab.keep(Mosquitto(lab.folder / "broker"))
    subject.agent.terminate()
    settings(subject, pair, mqtt={"url": f"mqtt://127.0.0.1:{PORT}"})
    subject.agent.start()
    settled(subject)
    agent = subject.agent
    turn = 2 * count
    for word, act in (("listens", None), ("hangs", broker.process.stop), ("gone", broker.close)):
        if act is None:
            wait_until("it listens", lambda: agent.get("/api/v1/node").json["broker"] == "")
        else:
            act()
        done = []
        for _ in range(count):
            turn += 1
            subject.operations(turn)
            _, at = push(pair.home, documents(turn, {}))
            done.append(((subject.finished() or 0) - at) * 1000)
            time.sleep(0.05)
        report.add(f"verified, the broker {word}", done)
