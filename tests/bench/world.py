"""What every subject of the bench works on: a BIRD with ten live neighbours, and one small change.

The change replaces the one announced static prefix, which resets nothing. It is written as KV
operations of one transaction; the clock starts just before they are sent.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from typing import Any, NamedTuple

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.render import render
from confsync.drivers.bird.section import BgpSection
from confsync.model.ids import LayerPath, canonical, digest
from confsync.model.layers import merge
from confsync.model.snapshot import (
    Head,
    Layer,
    Manifest,
    Phase,
    Snapshot,
    document_key,
    manifest_key,
)
from tests.lab import HERE, Lab
from tests.lab.bird import Bird, far_config
from tests.lab.consul import HTTP_PORT
from tests.lab.net import Host

PEERS = 10
NEAR_ASN, FAR_ASN = 64512, 65001
PREFIX = "confsync/v1"
LAYERS = tuple(
    LayerPath(path)
    for path in (
        "common",
        "roles/edge",
        "sites/lab/common",
        "sites/lab/roles/edge",
        "nodes/lab-edge-1",
    )
)
POLL_S = 0.0002  # between two questions to BIRD: the figures are late by this much at most
CHANGE_S = 10.0  # a change that takes longer than this ends the bench
Operation = dict[str, Any]


class Speaker(NamedTuple):
    """A BIRD and the far end of its ten sessions; `number` is the third octet of its net."""

    number: int
    near: Bird
    far: Bird


def speaker(lab: Lab, number: int, host: Host = HERE, text: str | None = None) -> Speaker:
    """Start both ends; the near one on a text, or on the distribution's example."""
    far_host = lab.namespace(f"far{number}")
    theirs = [f"10.9.{number}.{last}" for last in range(2, 2 + PEERS)]
    lab.cable(
        host,
        f"conf{number}",
        far_host,
        "eth0",
        near_addresses=tuple(f"10.9.{number}.{101 + one}/24" for one in range(PEERS)),
        far_addresses=tuple(f"{address}/24" for address in theirs),
    )
    sessions = "".join(
        f"protocol bgp p{index} {{ local {address} as {FAR_ASN}; passive;"
        f" neighbor 10.9.{number}.{101 + index} as {NEAR_ASN}; direct;"
        " ipv4 { import all; export where source = RTS_STATIC; next hop self; }; }\n"
        for index, address in enumerate(theirs)
    )
    config = far_config(theirs[0], FAR_ASN, sessions, originate=(f"198.19.{number}.0/24",))
    far = lab.bird(f"far{number}", config, far_host)
    return Speaker(number, lab.bird(f"near{number}", text, host), far)


def network(turn: int) -> str:
    """Return the prefix that is announced from this turn on."""
    return f"198.18.{turn % 250}.0/24"


def trees(number: int, prefix: str) -> dict[LayerPath, dict[str, Any]]:
    """Return the `bgp` document of each layer."""
    permit = {"ipv4": {"default": "permit"}}
    peers = {
        f"p{one}": {"ipv4": f"10.9.{number}.{2 + one}", "source": f"10.9.{number}.{101 + one}"}
        for one in range(PEERS)
    }
    parts: tuple[dict[str, Any], ...] = (
        {"import": permit, "export": permit},
        {"peer_defaults": {"asn": FAR_ASN, "connect_retry_s": 1}},
        {"local_as": NEAR_ASN},
        {"peers": peers},
        {"router_id": f"10.9.{number}.101", "announce": {"bench": prefix}},
    )
    return dict(zip(LAYERS, parts, strict=True))


def publication(
    found: dict[LayerPath, dict[str, Any]], turn: int, *, whole: bool = False
) -> list[Operation]:
    """Return the writes of one published change: documents, their manifests, the head."""
    operations = []
    for layer in LAYERS if whole else LAYERS[-1:]:
        raw = canonical(found[layer])
        manifest = Manifest(turn, {"bgp": digest(raw)})
        operations += [
            assignment(f"{PREFIX}/{document_key(layer, 'bgp')}", raw),
            assignment(f"{PREFIX}/{manifest_key(layer)}", canonical(manifest.as_json())),
        ]
    head = Head(Phase.COMPLETE, turn, by="bench", why="a measurement")
    return [*operations, assignment(f"{PREFIX}/head", canonical(head.as_json()))]


def assignment(key: str, value: bytes) -> Operation:
    """Return the operation that writes one key."""
    text = base64.b64encode(value).decode()
    return {"KV": {"Verb": "set", "Key": key, "Value": text}}


def rendered(number: int, prefix: str) -> str:
    """Return the very file that our renderer makes of the documents."""
    layers = tuple(
        Layer(path, {"bgp": canonical(tree)}) for path, tree in trees(number, prefix).items()
    )
    value = BgpSection().parse(merge(Snapshot(layers), LAYERS, {}).tree["bgp"])
    assert isinstance(value, Bgp)
    return render(value)


class Writer:
    """Sends transactions to Consul over one kept connection."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=10)

    def send(self, operations: list[Operation]) -> float:
        """Write, and return the wall clock of the moment before."""
        body = json.dumps(operations).encode()
        at = time.time()
        self._connection.request("PUT", "/v1/txn", body)
        reply = self._connection.getresponse()
        data = reply.read()
        assert reply.status == 200, data
        return at


class Control:
    """A kept connection to BIRD that asks one thing: which file runs."""

    def __init__(self, bird: Bird) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(CHANGE_S)
        self._socket.connect(str(bird.socket))
        self._socket.recv(4096)

    def marker(self) -> bytes:
        """Return the id of the file that runs."""
        self._socket.sendall(b"eval cs_render\n")
        data = b""
        while not data.endswith(b"\n"):
            data += self._socket.recv(4096)
        return data

    def wait_other(self, before: bytes) -> float:
        """Return the wall clock of the moment in which another file is seen to run."""
        deadline = time.monotonic() + CHANGE_S
        while self.marker() == before:
            assert time.monotonic() < deadline, "BIRD does not run the change"
            time.sleep(POLL_S)
        return time.time()
