"""The keeper of a site over a real Consul, with the stand-in for calicoctl."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from confsync.flow.site import SiteKeeper
from confsync.flow.transact import Room
from confsync.host.journal import now
from confsync.model import limits
from confsync.model.errors import Held, JournalLost
from confsync.model.status import SiteStatus
from confsync.settings import Settings
from confsync.wiring import keeper_of
from tests.flow.model_host import Silent, process
from tests.lab import Lab
from tests.lab.calico import Calico
from tests.lab.consul import ConsulServer

pytestmark = pytest.mark.root

PREFIX = "confsync/v1"
KEY = f"{PREFIX}/desired/common/calico"
SETS = {"globalnetworksets": {"ula": {"nets": ["fd00::/8"]}, "lan": {"nets": ["10.0.0.0/8"]}}}
OTHER = {"globalnetworksets": {"ula": {"nets": ["fd00::/8"]}, "lan": {"nets": ["10.0.0.0/9"]}}}


@pytest.fixture
def calico(tmp_path: Path) -> Calico:
    return Calico(tmp_path / "calico")


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SITE_RETRY_S", 0.3)
    monkeypatch.setattr(limits, "CALICO_UNDO_S", 0.0)


def settings_of(folder: Path, server: ConsulServer, calico: Calico, **consul: str) -> Settings:
    drivers = {"calico": {"enabled": True, "calicoctl": str(calico.program), "config_file": ""}}
    source = {"kind": "consul", "quiet_min_s": 0.0, "quiet_max_s": 0.1}
    return Settings.model_validate(
        {
            "site": "bgo",
            "node": "bgo-compute-1",
            "state_dir": str(folder / "state"),
            "source": {**source, "consul": {"address": server.url, **consul}},
            "drivers": drivers,
        }
    )


@asynccontextmanager
async def made(settings: Settings) -> AsyncIterator[SiteKeeper]:
    """Make the keeper of a site, which does not run yet."""
    settings.state_dir.mkdir(exist_ok=True)
    async with process(settings.state_dir / "journal") as journal:
        keeper = keeper_of(settings, Room({}, journal, Silent()))
        assert keeper is not None
        try:
            yield keeper
        finally:
            await keeper.close()


@asynccontextmanager
async def keeping(settings: Settings) -> AsyncIterator[SiteKeeper]:
    """Run the keeper of a site, as an agent does."""
    async with made(settings) as keeper:
        running = asyncio.create_task(keeper.run())
        try:
            yield keeper
        finally:
            over = running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert not over, "a keeper ends by being cancelled only"


async def until(keeper: SiteKeeper, good: Callable[[SiteStatus], bool]) -> SiteStatus:
    """Wait until the keeper says something of the site."""
    try:
        async with asyncio.timeout(20):
            while not good(keeper.status()):
                await asyncio.sleep(0.05)
    except TimeoutError as fault:
        raise AssertionError(keeper.status()) from fault
    return keeper.status()


async def in_state(keeper: SiteKeeper, state: str) -> SiteStatus:
    return await until(keeper, lambda status: status.state == state)


def lan(calico: Calico) -> Any:
    found = calico.get("GlobalNetworkSet", "lan")
    return found and found["spec"]["nets"]


async def halted(keeper: SiteKeeper, server: ConsulServer, calico: Calico) -> None:
    """Let a change fail so that its way back fails, too."""
    server.kv.put(KEY, json.dumps(SETS))
    await in_state(keeper, "in-sync")
    calico.faults(die_before_write=2)  # and so at the way back, too
    more = {"globalnetworksets": {**OTHER["globalnetworksets"], "dmz": {"nets": ["192.0.2.0/24"]}}}
    server.kv.put(KEY, json.dumps(more))
    await in_state(keeper, "halted")


async def test_a_halted_site_is_tried_again_when_an_operator_says_so(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        await halted(keeper, consul_server, calico)
        with pytest.raises(Held, match="the site is halted"):
            await keeper.apply(())
        calico.faults()
        await keeper.resume(accept=False)
        await until(keeper, lambda status: status.state != "halted")
    assert lan(calico) in (["10.0.0.0/8"], ["10.0.0.0/9"])


async def test_a_halted_site_is_taken_as_it_is_when_an_operator_says_so(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        await halted(keeper, consul_server, calico)
        calico.faults()
        await keeper.resume(accept=True)
        await until(keeper, lambda status: "lan is there already and differs" in status.reason)
        assert calico.get("GlobalNetworkSet", "dmz"), "nothing is taken back"
        await keeper.apply(["foreign:globalnetworksets/lan"])
        await in_state(keeper, "in-sync")
    assert ["10.0.0.0/9"] == lan(calico)


async def test_a_damaged_journal_halts_until_it_is_mended(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    row = f"{PREFIX}/site/journal/applied"
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        consul_server.kv.put(KEY, json.dumps(SETS))
        await in_state(keeper, "in-sync")
        whole = consul_server.kv.get(row)
        assert whole
    consul_server.kv.put(row, whole.replace(b"10.0.0.0", b"10.1.0.0"))
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        assert "is not what was written" in (await in_state(keeper, "halted")).reason
        await keeper.resume(accept=False)
        await in_state(keeper, "halted")
        consul_server.kv.put(row, whole)
        await keeper.resume(accept=False)
        await in_state(keeper, "in-sync")


async def test_a_journal_that_a_request_lost_ends_the_tenure(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_RENEW_S", 12.0)  # the loss shows at a write first
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        asking = await drifting(keeper, consul_server, calico)
        (session,) = consul_server.kv.json("GET", "session/list")
        consul_server.kv.json("PUT", f"session/destroy/{session['ID']}")
        with pytest.raises(JournalLost):
            await asking
        calico.faults()
        consul_server.kv.put(KEY, json.dumps(OTHER))
        await until(keeper, lambda status: status.holds and lan(calico) == ["10.0.0.0/9"])
        await in_state(keeper, "in-sync")


def taken(server: ConsulServer) -> int:
    """Return how often the lease was taken."""
    found = (
        server.kv.json("GET", f"kv/{PREFIX}/lease/site")
        if server.kv.keys("confsync/v1/lease/")
        else []
    )
    return sum(entry["LockIndex"] for entry in found)


READS = """
key_prefix "confsync/v1/desired/" { policy = "read" }
key_prefix "confsync/v1/manifest/" { policy = "read" }
key_prefix "confsync/v1/head" { policy = "read" }
key_prefix "confsync/v1/mirror" { policy = "read" }
key_prefix "confsync/v1/report/" { policy = "read" }
"""
LEADS = """
key_prefix "confsync/v1/lease/" { policy = "write" }
session_prefix "" { policy = "write" }
node_prefix "" { policy = "read" }
"""


@pytest.mark.parametrize(
    ("rules", "told"),
    [(READS, "the lease of site cannot be asked for"), (READS + LEADS, "cannot be written")],
    ids=["no lease", "no journal"],
)
async def test_what_an_agent_may_not_do_for_its_site_is_told_and_not_tried_without_rest(
    tmp_path: Path,
    lab: Lab,
    calico: Calico,
    rules: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SITE_RETRY_S", 2.0)
    server = lab.consul(acl=True)
    token = tmp_path / "token"
    token.write_text(server.kv.new_token("some", rules))
    token.chmod(0o600)
    server.kv.put(KEY, json.dumps(SETS))
    async with keeping(settings_of(tmp_path, server, calico, token_file=str(token))) as keeper:
        status = await until(keeper, lambda status: told in status.reason)
        assert "ermission denied" in status.reason
        before = taken(server)
        await asyncio.sleep(4)
        assert taken(server) - before <= 2, "it rests in between"
        assert told in (await until(keeper, lambda status: not status.holds)).reason
    assert [] == calico.writes


async def drifting(keeper: SiteKeeper, server: ConsulServer, calico: Calico) -> asyncio.Task[Any]:
    """Let a request mend what another hand did, and wait until it writes."""
    server.kv.put(KEY, json.dumps(SETS))
    await in_state(keeper, "in-sync")
    item = calico.get("GlobalNetworkSet", "lan")
    assert item
    calico.put({**item, "spec": {"nets": ["10.9.0.0/16"]}})
    calico.faults(verbs=["replace"], latency_s=1.5)
    asking = asyncio.create_task(keeper.apply(["drift:calico"]))
    async with asyncio.timeout(10):
        while not any(call.argv[0] == "replace" for call in calico.calls):
            await asyncio.sleep(0.05)
    return asking


async def test_what_a_request_began_ends_before_the_lease_is_given_up(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    """As when the settings are read anew meanwhile."""
    async with made(settings_of(tmp_path, consul_server, calico)) as keeper:
        running = asyncio.create_task(keeper.run())
        asking = await drifting(keeper, consul_server, calico)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert asking.done(), "nothing of it is left when the keeper has ended"
        found = await asking
        assert str(found.outcome.state) == "committed"
    assert ["10.0.0.0/8"] == lan(calico)
    assert not consul_server.kv.keys(f"{PREFIX}/site/journal/open")


async def test_a_request_that_waited_for_a_tenure_that_ended_is_told_that_nobody_acts(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    async with made(settings_of(tmp_path, consul_server, calico)) as keeper:
        running = asyncio.create_task(keeper.run())
        asking = await drifting(keeper, consul_server, calico)
        running.cancel()
        await asyncio.sleep(0.3)
        waiting = asyncio.create_task(keeper.apply(()))
        await asyncio.gather(running, asking, return_exceptions=True)
        assert await waiting is None


async def test_a_transaction_goes_back_when_the_agent_is_to_stop(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    settings = settings_of(tmp_path, consul_server, calico)
    settings.state_dir.mkdir()
    silent = {"at": now()}
    consul_server.kv.put(f"{PREFIX}/report/bgo/n2", json.dumps(silent))
    async with process(settings.state_dir / "journal") as journal:
        keeper = keeper_of(settings, Room({}, journal, Silent()))
        assert keeper is not None
        running = asyncio.create_task(keeper.run())
        consul_server.kv.put(KEY, json.dumps(SETS))
        async with asyncio.timeout(20):
            while len(calico.writes) < 2:
                await asyncio.sleep(0.05)
        keeper.wind_up()
        running.cancel()
        async with asyncio.timeout(20):
            await asyncio.gather(running, return_exceptions=True)
        await keeper.close()
    assert [] == calico.names("GlobalNetworkSet")
    assert not consul_server.kv.keys(f"{PREFIX}/site/journal/open")


async def test_a_change_that_failed_is_tried_again_when_an_operator_says_so(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    calico.faults(reject={"lan": "error with field nets"})
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        consul_server.kv.put(KEY, json.dumps(SETS))
        status = await in_state(keeper, "rolled-back")
        assert "error with field nets" in status.reason
        before = len(calico.writes)
        calico.faults()
        await asyncio.sleep(1)
        assert before == len(calico.writes), "it is quarantined"
        await keeper.retry()
        await in_state(keeper, "in-sync")
    assert ["10.0.0.0/8"] == lan(calico)


async def test_a_node_that_reports_no_more_takes_the_change_back(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SITE_VERIFY_S", 1.0)
    consul_server.kv.put(f"{PREFIX}/report/bgo/n2", json.dumps({"at": now()}))
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        consul_server.kv.put(KEY, json.dumps(SETS))
        status = await in_state(keeper, "rolled-back")
        assert "no report since the change from n2" in status.reason
    assert [] == calico.names("GlobalNetworkSet")


async def test_a_datastore_that_comes_back_is_found_soon(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico
) -> None:
    calico.faults(unreachable=True)
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        consul_server.kv.put(KEY, json.dumps(SETS))
        assert "calicoctl cannot list" in (
            await until(keeper, lambda status: bool(status.reason))
        ).reason  # fmt: skip
        calico.faults()
        await in_state(keeper, "in-sync")
    assert calico.writes


async def test_a_journal_that_cannot_be_read_is_told_and_asked_for_again(
    tmp_path: Path, consul_server: ConsulServer, calico: Calico, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        consul_server.kv.put(KEY, json.dumps(SETS))
        await in_state(keeper, "in-sync")
    whole = limits.CONSUL_TREE_BYTES
    monkeypatch.setattr(limits, "CONSUL_TREE_BYTES", 10)
    async with keeping(settings_of(tmp_path, consul_server, calico)) as keeper:
        status = await until(keeper, lambda status: bool(status.reason))
        assert (False, True) == (status.holds, "10 bytes" in status.reason), status
        monkeypatch.setattr(limits, "CONSUL_TREE_BYTES", whole)
        assert "" == (await in_state(keeper, "in-sync")).reason
