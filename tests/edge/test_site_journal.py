"""The journal of a site, in a real Consul: what one agent began another one ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.lease import ConsulFence, ConsulLease
from confsync.edge.site_journal import ConsulJournal
from confsync.edge.transport import Client
from confsync.flow.recover import recover
from confsync.flow.transact import transact
from confsync.host.journal import now
from confsync.model import limits
from confsync.model.errors import HostRefused, JournalDamaged, JournalLost, JournalTooNew, LeaseLost
from confsync.model.ids import canonical, digest
from confsync.model.machine import State
from confsync.ports import Applied
from tests.flow.model_host import (
    CRASHES,
    NEW,
    OLD,
    Crash,
    Faults,
    ModelHost,
    Strike,
    plan_of,
    room_of,
    target_of,
)
from tests.lab.consul import ConsulServer

pytestmark = pytest.mark.root

PREFIX = "confsync/v1"
TARGETS = ("calico/sets", "calico/policies", "calico/endpoints")
PLAN = plan_of(TARGETS)


async def nobody() -> None:
    return None


@asynccontextmanager
async def leasing(server: ConsulServer, node: str) -> AsyncIterator[ConsulFence]:
    """Hold the lease of the site."""
    client = Client(Endpoint.parse(server.url), Token(None))
    try:
        async with ConsulLease(client, PREFIX, node).hold("site") as fence:
            yield fence
    finally:
        await client.close()


@asynccontextmanager
async def holding(server: ConsulServer, node: str) -> AsyncIterator[ConsulJournal]:
    """Be the one agent of the site, and read what was left."""
    client = Client(Endpoint.parse(server.url), Token(None))
    try:
        async with ConsulLease(client, PREFIX, node).hold("site") as fence:
            journal = ConsulJournal(client, PREFIX, fence, nobody, now)
            await journal.read()
            yield journal
    finally:
        await client.close()


def rows(server: ConsulServer) -> dict[str, object]:
    root = f"{PREFIX}/site/journal/"
    return {key.removeprefix(root): server.kv.get(key) for key in server.kv.keys(root)}


async def test_the_next_agent_finds_what_the_last_one_wrote(consul_server: ConsulServer) -> None:
    async with holding(consul_server, "n1") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {"reports": {"live": ["n1"]}})
        await journal.save(txn, 0, {"object": {"spec": {"nets": []}}})
        await journal.save(txn, 1, {"object": None})
    async with holding(consul_server, "n2") as journal:
        found = await journal.open_txn()
        assert found is not None
        assert (State.APPLYING, False, 1) == (found.state, found.pivoted, found.txn)
        assert {0: {"object": {"spec": {"nets": []}}}, 1: {"object": None}} == found.saved
        assert list(TARGETS) == [step["target"] for step in found.steps]
        await journal.enter(found.txn, State.COMMITTING)
        await journal.close(found.txn, State.COMMITTED, "", final=False)
    async with holding(consul_server, "n1") as journal:
        assert await journal.open_txn() is None
        assert target_of(PLAN) == await journal.applied()
        last = await journal.last()
        assert last is not None
        assert (1, State.COMMITTED) == (last.txn, last.state)
        assert 2 == await journal.begin(PLAN, target_of(PLAN), {}), "numbers go on"
    assert {"applied", "last", "open"} == rows(consul_server).keys()


async def test_a_failed_revision_is_known_to_every_agent(consul_server: ConsulServer) -> None:
    for tries in (1, 2, 3):
        async with holding(consul_server, f"n{tries}") as journal:
            txn = await journal.begin(PLAN, target_of(PLAN), {})
            await journal.close(txn, State.ROLLED_BACK, "datastore away", final=False)
            known = await journal.quarantined(PLAN.revision)
            assert known is not None
            assert (tries, tries == 3) == (known.tries, known.final)
    async with holding(consul_server, "n4") as journal:
        await journal.retry()
        assert await journal.quarantined(PLAN.revision) is None
    async with holding(consul_server, "n5") as journal:
        assert await journal.quarantined(PLAN.revision) is None


async def test_nothing_is_written_once_another_agent_holds_the_lease(
    consul_server: ConsulServer,
) -> None:
    async with holding(consul_server, "n1") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        before = rows(consul_server)
        lock = consul_server.kv.entry(f"{PREFIX}/lease/site")
        consul_server.kv.call("PUT", f"session/destroy/{lock['Session']}")
        with pytest.raises(JournalLost, match="the journal of the site cannot be written"):
            await journal.save(txn, 0, {"object": None})
        with pytest.raises(JournalLost):
            await journal.settle(Applied(PLAN.revision, 1, {}, {}))
    assert before == rows(consul_server)


async def test_without_a_lease_it_is_only_looked_at(consul_server: ConsulServer) -> None:
    async with holding(consul_server, "n1") as journal:
        await journal.settle(target_of(PLAN))
    before = rows(consul_server)
    client = Client(Endpoint.parse(consul_server.url), Token(None))
    looked = ConsulJournal(client, PREFIX, None, nobody, now)
    await looked.read()
    found = await looked.applied()
    assert found is not None
    assert PLAN.revision == found.revision
    for write in (looked.settle(found), looked.begin(PLAN, target_of(PLAN), {}), looked.accept()):
        with pytest.raises(JournalLost, match="only looked at"):
            await write
    await client.close()
    assert before == rows(consul_server)


@pytest.mark.parametrize("raw", [b"not json", b"{}", b'{"digest":"x","row":{"txn":1}}', b"null"])
async def test_a_row_that_is_not_what_was_written_is_never_believed(
    consul_server: ConsulServer, raw: bytes
) -> None:
    async with holding(consul_server, "n1") as journal:
        await journal.begin(PLAN, target_of(PLAN), {})
    consul_server.kv.put(f"{PREFIX}/site/journal/open", raw)
    with pytest.raises(JournalDamaged, match="site/journal/open"):
        async with holding(consul_server, "n2"):
            pass
    client = Client(Endpoint.parse(consul_server.url), Token(None))
    async with ConsulLease(client, PREFIX, "n3").hold("site") as fence:
        journal = ConsulJournal(client, PREFIX, fence, nobody, now)
        await journal.accept()
        await journal.read()
        assert await journal.open_txn() is None
    await client.close()
    assert {} == rows(consul_server)


async def test_a_change_too_large_for_its_record_is_refused_before_it_begins(
    consul_server: ConsulServer,
) -> None:
    async with holding(consul_server, "n1") as journal:
        large = Applied(PLAN.revision, 1, {}, {"calico": "x" * limits.TXN_BYTES})
        with pytest.raises(HostRefused, match="publish it in parts"):
            await journal.begin(PLAN, large, {})
    assert {} == rows(consul_server)


async def test_only_a_halted_transaction_is_resumed(consul_server: ConsulServer) -> None:
    async with holding(consul_server, "n1") as journal:
        await journal.resume()
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.enter(txn, State.HALTED, "look at it")
    async with holding(consul_server, "n2") as journal:
        found = await journal.open_txn()
        assert found is not None
        assert (State.HALTED, "look at it") == (found.state, found.reason)
        await journal.resume()
        found = await journal.open_txn()
        assert found is not None
        assert State.RESUMED is found.state


@pytest.mark.parametrize("strike", CRASHES)
async def test_an_agent_that_dies_at_any_call_leaves_all_or_nothing(
    consul_server: ConsulServer, strike: Strike
) -> None:
    """One agent dies at each call in turn; another one ends what it left."""
    ends = set()
    for at in range(100):
        consul_server.kv.call("DELETE", f"kv/{PREFIX}/?recurse")
        host, faults = ModelHost(TARGETS), Faults(at, strike)
        struck = False
        try:
            async with holding(consul_server, "n1") as journal:
                room = room_of(host, journal, faults)  # type: ignore[arg-type]
                await transact(PLAN, target_of(PLAN), room, way_home=None)
        except Crash:
            struck = True
        async with holding(consul_server, "n2") as journal:
            await recover(room_of(host, journal, Faults()))  # type: ignore[arg-type]
            assert await journal.open_txn() is None
            applied = await journal.applied()
        assert 1 == len(host.states), f"{faults.calls[-1]}: half of it stands"
        assert (host.states == {NEW}) == (applied is not None), faults.calls[-1]
        ends |= host.states
        if not struck:
            break
    assert {OLD, NEW} == ends
    assert at > 15, "every call was struck once"
    assert "last" in json.dumps(sorted(rows(consul_server)))


async def test_a_lease_that_was_given_up_permits_nothing_more(
    consul_server: ConsulServer,
) -> None:
    async with leasing(consul_server, "n1") as fence:
        await fence.check()
    with pytest.raises(LeaseLost, match="given up"):
        await fence.check()


async def test_quarantines_of_months_are_lifted_in_one_transaction(
    consul_server: ConsulServer,
) -> None:
    async with holding(consul_server, "n1") as journal:
        revisions = [digest(str(number).encode()) for number in range(limits.TXN_OPS)]
        for revision in revisions:
            await journal.quarantine(revision, "refused", final=True)
        await journal.retry()
        assert await journal.quarantined(revisions[0]) is None
    assert {} == rows(consul_server)


async def test_a_checkpoint_that_does_not_fit_beside_the_record_loses_no_journal(
    consul_server: ConsulServer,
) -> None:
    async with holding(consul_server, "n1") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        with pytest.raises(HostRefused, match="publish it in parts"):
            await journal.save(txn, 0, {"object": "x" * limits.TXN_BYTES})
        await journal.close(txn, State.ROLLED_BACK, "too large", final=True)
        assert await journal.quarantined(PLAN.revision)
        assert await journal.open_txn() is None


@pytest.mark.parametrize("name", ["open", "applied", "last", f"quarantine/{PLAN.revision}"])
async def test_a_row_of_a_newer_confsync_halts_the_site_and_ends_no_agent(
    consul_server: ConsulServer, name: str
) -> None:
    """Agents are upgraded one after the other, and each of them may take the lease."""
    async with holding(consul_server, "n1") as journal:
        await journal.settle(target_of(PLAN))
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.save(txn, 0, {})
        await journal.close(txn, State.ROLLED_BACK, "refused", final=False)
        await journal.begin(PLAN, target_of(PLAN), {})
    key = f"{PREFIX}/site/journal/{name}"
    row = json.loads(consul_server.kv.get(key) or b"")["row"]
    newer = {**row, "state": "pondering", "revision2": 1}
    text = canonical({"digest": digest(canonical(newer)), "row": newer})
    consul_server.kv.put(key, text)
    with pytest.raises(JournalTooNew, match="newer confsync"):
        async with holding(consul_server, "n2"):
            pass


async def test_what_was_accepted_is_forgotten_at_once(consul_server: ConsulServer) -> None:
    async with holding(consul_server, "n1") as journal:
        await journal.settle(target_of(PLAN))
        await journal.quarantine(PLAN.revision, "refused", final=True)
        await journal.begin(PLAN, target_of(PLAN), {})
        await journal.accept()
        assert (None, None, None) == (
            await journal.applied(),
            await journal.open_txn(),
            await journal.quarantined(PLAN.revision),
        )


async def test_what_was_committed_after_all_is_blamed_no_more(consul_server: ConsulServer) -> None:
    async with holding(consul_server, "n1") as journal:
        await journal.quarantine(PLAN.revision, "busy", final=False)
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.save(txn, 0, {})
        await journal.enter(txn, State.COMMITTING)
        await journal.close(txn, State.COMMITTED, "", final=False)
        assert await journal.quarantined(PLAN.revision) is None
    assert {"applied", "last"} == rows(consul_server).keys()


async def test_a_journal_is_not_written_once_the_time_of_the_lease_is_over(
    consul_server: ConsulServer,
) -> None:
    """Its session may live on for a while: Consul ends it late."""
    async with leasing(consul_server, "n1") as fence:
        client = Client(Endpoint.parse(consul_server.url), Token(None))
        journal = ConsulJournal(client, PREFIX, fence, nobody, now)
        fence.good_until_s = 0.0
        with pytest.raises(JournalLost, match="could not be renewed"):
            await journal.settle(target_of(PLAN))
        await client.close()
    assert {} == rows(consul_server)
