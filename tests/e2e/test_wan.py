"""A line between two sites that swallows everything for a while, and what comes after it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from confsync.cli.tree import check
from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.publish import Record, publish
from confsync.edge.transport import Client
from confsync.model.ids import LayerPath, canonical
from confsync.settings import load_for_tree
from tests.lab import Lab
from tests.lab.sites import Sites
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sites.node import Node

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

CHANGES = 500
PREFIX = "confsync/v1"


def push_many(cloud: Sites, node: Node, count: int) -> int:
    """Publish so many changes of one host's document, one after the other; return the last."""
    operator = cloud.operators[cloud.home.name]
    settings = load_for_tree(operator.config, {})
    tree = {**check(cloud.tree, settings).canonical()}
    layer = LayerPath(f"nodes/{node.name}")
    record = Record(by="ann", at="2026-11-22T10:00:00Z", why="once more")

    async def pushed() -> int:
        endpoint = Endpoint.parse(cloud.home.consul.servers[0].url)
        client = Client(endpoint, Token(cloud.tokens.file("publisher")))
        change = 0
        try:
            for number in range(count):
                document = node.document()
                document["announce"]["more"] = f"198.51.{number % 250}.0/24"
                tree[layer] = {**tree[layer], "bgp": canonical(document)}
                change = (await publish(client, PREFIX, tree, record)).change
        finally:
            await client.close()
        return change

    return asyncio.run(pushed())


def edit(cloud: Sites, node: Node) -> None:
    """Write a document at its site, as an operator does whose line to home is cut."""
    document = node.document()
    document["announce"]["emergency"] = "203.0.113.0/24"
    server = cloud.sites[node.site.name].consul.servers[0]
    server.kv.put(f"{PREFIX}/desired/nodes/{node.name}/bgp", json.dumps(document))
    wait_until(
        "the edit runs", lambda: b"203.0.113.0/24" in node.bird.config.read_bytes(), timeout_s=30
    )


def copier(nodes: list[Node]) -> Any:
    """Return what the host that copies for its site says of the copy."""
    mirrors = (node.status()["mirror"] for node in nodes)
    return next((one for one in mirrors if one and one["holds"]), None)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield Sites(lab)


@pytest.fixture
def cloud(sites: Sites) -> Sites:
    """Give the sites at rest: what was published before is copied and applied everywhere."""
    head = sites.home.consul.servers[0].kv.get(f"{PREFIX}/head")
    assert head
    change = json.loads(head)["change"]
    copied = {"change": change, "behind": 0, "problem": ""}
    for site in sites.others:
        wait_until(
            f"{site.name} has copied {change}",
            lambda nodes=site.nodes: copied.items() <= (copier(nodes) or {}).items(),
            timeout_s=60,
        )
    for node in sites.nodes.values():
        node.wait_state("in-sync", change=change)
    return sites


def test_a_line_that_is_slow_and_loses_much_is_enough(cloud: Sites) -> None:
    line = cloud.links["osl-wan"]
    node = cloud.sites["osl"].nodes[0]
    before = node.status()["last_transaction"]["id"]
    line.delay(50, 30, 64)
    change = push_many(cloud, node, 3)
    node.wait_state("in-sync", change=change, timeout_s=180)
    line.heal()
    assert 1 <= node.status()["last_transaction"]["id"] - before <= 3


def test_a_holder_of_the_lease_that_stood_still_copies_nothing_when_it_goes_on(
    cloud: Sites,
) -> None:
    osl = cloud.sites["osl"].nodes
    slow = next(node for node in osl if (node.status()["mirror"] or {}).get("holds"))
    quick = next(node for node in osl if node is not slow)
    slow.ours.send(signal.SIGSTOP)
    try:
        change = push_many(cloud, quick, 1)
        wait_until("another one holds it", lambda: copier([quick]), timeout_s=90)
        quick.wait_state("in-sync", change=change)
        copied = slow.ours.log.count("mirror.copied")
    finally:
        slow.ours.send(signal.SIGCONT)
    wait_until("it knows", lambda: not slow.status()["mirror"]["holds"], timeout_s=30)
    assert copier([quick])
    assert copied == slow.ours.log.count("mirror.copied") > 0, "what it copied before, and no more"
    assert '"lease.lost"' in slow.ours.log


def test_after_a_cut_the_last_state_is_applied_once_and_an_edit_is_kept(cloud: Sites) -> None:
    changed, edited = osl = cloud.sites["osl"].nodes
    before = {node.name: node.status()["last_transaction"]["id"] for node in osl}
    since = {node.name: node.bird.sessions() for node in osl}
    file = changed.bird.config.read_bytes()
    cloud.links["osl-wan"].cut_silently()
    edit(cloud, edited)
    change = push_many(cloud, changed, CHANGES)
    assert file == changed.bird.config.read_bytes()

    cloud.links["osl-wan"].heal()
    changed.wait_state("in-sync", change=change)
    assert f"198.51.{(CHANGES - 1) % 250}.0/24".encode() in changed.bird.config.read_bytes()
    assert before[changed.name] + 1 == changed.status()["last_transaction"]["id"]
    assert b"203.0.113.0/24" in edited.bird.config.read_bytes()
    assert before[edited.name] + 1 == edited.status()["last_transaction"]["id"]
    kept = [f"desired/nodes/{edited.name}/bgp"]
    wait_until("it is shown there", lambda: copier(osl)["conflicts"] == kept, timeout_s=30)
    operator = cloud.operators["bgo"]
    argv = [*operator.command("status", "--sites"), "--config", str(operator.config)]
    told = subprocess.run(argv, env=operator.env, capture_output=True, text=True, check=False)
    assert f"--take osl:nodes/{edited.name}/bgp" in told.stdout, told
    for node in osl:
        for name, session in node.bird.sessions().items():
            assert since[node.name][name].since == session.since, "no session was reset"
