"""On the host: send each test of this folder into the guest. In the guest: blank disks for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.vm.layouts import BLANK
from tests.vm.sender import LIMIT_S, Sender

HERE = Path(__file__).parent
WITHIN = "CONFSYNC_TEST_GUEST" in os.environ
SENDER = pytest.StashKey[Sender]()


def pytest_itemcollected(item: pytest.Item) -> None:
    """They are no part of the quick loop."""
    if HERE in item.path.parents:
        item.add_marker(pytest.mark.root)
        if not WITHIN:  # the time limit is the guest's own, and the sender's
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Run a test of this folder in the guest, and report what was reported there."""
    if WITHIN or HERE not in item.path.parents:
        return None
    own = [marker.args[0] for marker in item.iter_markers("timeout")]
    limit_s = max(LIMIT_S, *own)
    sender = item.config.stash.setdefault(SENDER, Sender(item.config, HERE))
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    call = pytest.CallInfo.from_call(lambda: sender.run(item.nodeid, limit_s), when="call")
    failed = call.excinfo is not None
    reports = [pytest.TestReport.from_item_and_call(item, call)] if failed else call.result
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def blank() -> list[str]:
    """Unmount and unmap everything, suspended or not, and discard every disk; return the disks."""
    done = subprocess.run(["sh", "-c", BLANK], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.startswith("/dev/")]


@pytest.fixture
def disks() -> list[str]:
    """Give the guest's disks, blank."""
    return blank()
