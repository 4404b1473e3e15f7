"""A disk that fails under a transaction: old or new, never mixed, and never a false "committed".

The agent may end (a write of the journal whose fate is unknown ends it; the service manager starts
it again), but the host may not be left between two configurations.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab import Lab
from tests.lab.site import Site
from tests.lab.strace import Injection, Tracer
from tests.lab.sweep import Sweep
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

FULL = bool(os.environ.get("CONFSYNC_TEST_FULL"))
# The journal's and the disk's writes; of the journal's pages some, or all of them.
CALLS = {"fdatasync": 1, "fsync": 1, "renameat": 1, "pwrite64": 1 if FULL else 5}


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("call", CALLS)
def test_a_failing_write_ends_on_exactly_one_side(lab: Lab, call: str, error: str) -> None:
    sweep, number = begin(lab), 1
    while fails(sweep, Injection(call, str(number), f"error={error}")):
        number += CALLS[call]
    sweep.show()
    assert sweep.points
    assert sweep.since == sweep.site.since(), "no session was reset on the whole way"


@pytest.mark.parametrize("call", ["fsync", "renameat"])
def test_a_memory_that_cannot_be_written_changes_nothing_else(lab: Lab, call: str) -> None:
    sweep = begin(lab)
    injection = Injection(call, "1", "error=EIO", paths=sweep.memory_paths)
    with Tracer(lab.folder, sweep.site.agent.pid, injection) as tracer:
        sweep.want()
        wait_until("it failed", lambda: tracer.struck)
        sweep.arrive()
    assert sweep.site.agent.running.exit_code is None
    assert sweep.at_rest() == "old", "the next way starts here"


def begin(lab: Lab) -> Sweep:
    settings = {"drivers": {"bird": {"hold_s": 0.0}}, "source": {"quiet_min_s": 0.0}}
    return Sweep(Site(lab, consul=False, bfd=False, settings=settings))


def fails(sweep: Sweep, injection: Injection) -> bool:
    """Go to the other configuration while one write fails; False = no write was left to fail."""
    agent = sweep.site.agent
    with Tracer(sweep.site.lab.folder, agent.pid, injection) as tracer:
        sweep.want()
        wait_until("an end or a rest", lambda: agent.running.exit_code is not None or rests(sweep))
        struck = tracer.struck
    if not struck:
        sweep.arrive()
        return False
    sweep.struck(injection)
    if agent.running.exit_code is None:
        ended = sweep.at_rest()
    else:
        sweep.require(agent.running.exit_code > 0, f"it ended by itself, {agent.running.exit_code}")
        ended = sweep.recovered()
        sweep.site.source_back()
    sweep.points[-1] = sweep.points[-1]._replace(ended=ended)
    sweep.site.run("agent", "retry")
    sweep.arrive()
    return True


def rests(sweep: Sweep) -> bool:
    return sweep.site.status()["state"] != "applying"


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Lab]:
    """Give a lab where the agent's state lies on a file system of 8 MiB."""
    state = lab.folder / "agent" / "state"
    state.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(state)], check=True
    )
    yield lab
    lab.close()
    subprocess.run(["umount", str(state)], check=True)


def test_a_full_state_folder_refuses_before_the_first_step(small_disk: Lab) -> None:
    site = Site(small_disk, consul=False)
    before = site.near.config.read_bytes()
    site.write(site.document())
    site.agent.start(wait=False)
    site.agent.wait_for("/api/v1/node")
    wait_until("it is told", lambda: "bytes free" in site.status()["reason"])
    assert site.status()["state"] == "pending"
    assert site.near.config.read_bytes() == before
    assert not list(site.near.config.parent.glob("*.confsync-*"))
    assert site.status()["last_transaction"] is None
    site.agent.send(signal.SIGTERM)
    assert site.agent.running.wait() == 0
