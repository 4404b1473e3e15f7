"""One configuration at a time: our own tasks, a killed agent's window, and BIRD's recovery."""

from __future__ import annotations

import asyncio

import pytest

from confsync.host.files import in_thread
from confsync.model.errors import HostBusy
from confsync.ports import Position, Verdict
from tests.drivers.bird.driven import REVERT_S, Driven
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

ONE = {"announce": {"one": "192.0.2.0/24"}}
TWO = {"announce": {"one": "192.0.2.0/24", "two": "198.51.100.0/24"}}
WAITS_FOR_A_PEER = """\
router id 10.9.1.1;
graceful restart wait 3;
protocol device {}
protocol bgp gone {
  local as 64512; neighbor 10.9.9.9 as 65001; multihop; graceful restart on;
  ipv4 { import all; export none; };
}
"""


@pytest.fixture
def host(lab):
    driven = Driven(lab)
    yield driven
    driven.driver.close()


async def test_a_second_change_never_opens_a_window_inside_the_first(host):
    """BIRD would undo only the last of two, and land on an unconfirmed one."""
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    with pytest.raises(HostBusy, match="unconfirmed configuration"):
        await host.driver.apply(step, saved, REVERT_S)
    assert "undo in" in " ".join(host.bird.ctl("configure status"))
    host.bird.ctl("configure undo")
    assert f"0023 {saved['running_render']}" == host.marker()


async def test_of_changes_at_once_one_is_applied_and_the_others_are_refused(host):
    await host.committed(**ONE)
    step, saved = await host.prepare(**TWO)
    host.bird.stop()
    works = [asyncio.ensure_future(host.driver.apply(step, saved, REVERT_S)) for _ in range(3)]
    await asyncio.sleep(0)
    await in_thread(int)  # the disk's thread is behind them: all of them wait for BIRD
    host.bird.cont()
    results = await asyncio.gather(*works, return_exceptions=True)
    assert [None, HostBusy, HostBusy] == [one and type(one) for one in results]
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)


async def test_another_process_stays_out_of_the_window(host):
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    other = host.another_process()
    with pytest.raises(HostBusy, match="unconfirmed configuration"):
        await other.check(step)
    await other.undo(step, saved)
    assert Position.OLD == await other.position(step, saved)


async def test_a_window_that_ran_out_without_an_agent_is_found_undone(host):
    await host.committed(**ONE)
    step, saved = await host.prepare(**TWO)
    await host.driver.apply(step, saved, 0.4)
    driver = host.another_process()
    old = f"0023 {saved['running_render']}"
    wait_until("BIRD's timer", lambda: old == host.marker(), timeout_s=5)
    assert host.leftovers()
    step = driver.decode(step.as_json())
    assert Position.OLD == await driver.position(step, saved)
    await driver.undo(step, saved)
    assert Position.OLD == await driver.position(step, saved)
    assert [] == host.leftovers()


async def test_a_bird_in_recovery_is_left_in_peace_until_it_ends(lab):
    host = Driven(lab, WAITS_FOR_A_PEER, options=("-R",))
    await host.adopt(**ONE)
    step = await host.plan(**ONE)
    with pytest.raises(HostBusy, match="graceful restart recovery"):
        await host.driver.check(step)
    (probe,) = host.driver.probes(step)
    seen = await probe.sample()
    assert seen["recovering"]
    assert Verdict.OK is not probe.judge(seen, (seen,)).verdict
    wait_until("it ends", lambda: "0024" not in " ".join(host.bird.ctl("show status")))
    await host.driver.check(step)
    host.driver.close()
