"""Who still reports, in a real Consul: what a change of the site is judged by."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from confsync.edge.alive import LiveReports
from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.lease import ConsulLease
from confsync.edge.transport import Client
from confsync.model import limits
from confsync.ports import Verdict
from tests.lab.consul import ConsulServer

pytestmark = pytest.mark.root

PREFIX = "confsync/v1"
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SITE_SETTLE_S", 0.3)
    monkeypatch.setattr(limits, "SITE_LOOK_S", 0.4)


def tell(server: ConsulServer, node: str, age_s: float = 5.0, site: str = "bgo") -> None:
    """Report as a node, so long ago by its own clock; never the same, which Consul passes over."""
    at = (NOW - timedelta(seconds=age_s)).isoformat()
    server.kv.put(
        f"{PREFIX}/report/{site}/{node}", json.dumps({"at": at, "token": secrets.token_hex(4)})
    )


@asynccontextmanager
async def probing(server: ConsulServer, node: str = "n1") -> AsyncIterator[LiveReports]:
    client = Client(Endpoint.parse(server.url), Token(None))
    try:
        async with ConsulLease(client, PREFIX, node).hold("site") as fence:
            yield LiveReports(client, PREFIX, "bgo", fence, NOW.isoformat)
    finally:
        await client.close()


async def seen(probe: LiveReports, baseline: Any) -> Any:
    sample = await probe.sample()
    return probe.judge(baseline, (sample,))


async def counting(probe: LiveReports) -> Any:
    """Take the baseline, and wait until reports count; returns the baseline."""
    baseline = await probe.sample()
    await probe.sample()  # the change is made, and has its time from here
    await asyncio.sleep(limits.SITE_SETTLE_S + 0.05)
    await probe.sample()  # what stands there now is of before
    return baseline


async def test_each_node_that_was_there_has_to_report_again(consul_server: ConsulServer) -> None:
    tell(consul_server, "n1")
    tell(consul_server, "n2")
    tell(consul_server, "m1", site="osl")
    async with probing(consul_server) as probe:
        baseline = await counting(probe)
        assert ["n1", "n2"] == baseline["live"]
        told = await seen(probe, baseline)
        assert told.verdict is Verdict.WAIT
        assert "no report since the change from n1, n2" == told.reason
        tell(consul_server, "n1")
        await asyncio.sleep(limits.SITE_LOOK_S + 0.05)
        assert "no report since the change from n2" == (await seen(probe, baseline)).reason
        tell(consul_server, "n2")
        await asyncio.sleep(limits.SITE_LOOK_S + 0.05)
        assert (await seen(probe, baseline)).verdict is Verdict.OK


async def test_a_report_before_the_change_had_its_time_does_not_count(
    consul_server: ConsulServer,
) -> None:
    tell(consul_server, "n1")
    async with probing(consul_server) as probe:
        baseline = await probe.sample()
        await probe.sample()
        await probe.sample()
        tell(consul_server, "n1")
        await asyncio.sleep(limits.SITE_SETTLE_S + limits.SITE_LOOK_S)
        await probe.sample()
        assert (await seen(probe, baseline)).verdict is Verdict.WAIT


@pytest.mark.parametrize("age_s", [3600.0, 70.1, -70.1, -3600.0])
async def test_a_report_of_another_time_is_of_no_node_that_lives(
    consul_server: ConsulServer, age_s: float
) -> None:
    """One with the clock of next year would hold every change up when its node is gone."""
    tell(consul_server, "n1")
    tell(consul_server, "n2", age_s)
    tell(consul_server, "n3", 69.0)
    async with probing(consul_server) as probe:
        assert ["n1", "n3"] == (await probe.sample())["live"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"at": 5}', '{"at": "2026-11-28"}', "{}"])
async def test_a_report_that_cannot_be_read_is_nobodys(
    consul_server: ConsulServer, text: str
) -> None:
    consul_server.kv.put(f"{PREFIX}/report/bgo/n2", text)
    async with probing(consul_server) as probe:
        baseline = await counting(probe)
        assert [] == baseline["live"]
        assert (await seen(probe, baseline)).verdict is Verdict.OK


async def test_the_last_holder_is_no_judge_before_it_reports_anew(
    consul_server: ConsulServer,
) -> None:
    async with probing(consul_server, "n2"):
        tell(consul_server, "n2")
    async with probing(consul_server, "n1") as probe:
        assert [] == (await probe.sample())["live"]
    async with probing(consul_server, "n2"):
        pass
    async with probing(consul_server, "n1") as probe:
        tell(consul_server, "n2")
        assert ["n2"] == (await probe.sample())["live"]


async def test_of_many_silent_nodes_some_are_named(consul_server: ConsulServer) -> None:
    for number in range(8):
        tell(consul_server, f"n{number}")
    async with probing(consul_server) as probe:
        told = await seen(probe, await counting(probe))
    assert "no report since the change from n0, n1, n2, n3, n4 and 3 more" == told.reason


async def test_the_reports_are_not_read_at_every_look(consul_server: ConsulServer) -> None:
    tell(consul_server, "n1")
    async with probing(consul_server) as probe:
        baseline = await counting(probe)
        tell(consul_server, "n1")
        assert (await seen(probe, baseline)).verdict is Verdict.WAIT
        await asyncio.sleep(limits.SITE_LOOK_S + 0.05)
        assert (await seen(probe, baseline)).verdict is Verdict.OK
