"""A pytest plugin in the guest: the session stays, and runs one test whenever the host names it.

Why a session that stays: pytest takes 5 s to start in there, and a small test takes 50 ms.
Shape: a line with a node id on one pipe, its reports as a line of JSON on the other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ASK = Path("/run/test.ask")
ANSWER = Path("/run/test.answer")
_reports: list[pytest.TestReport] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep it for the host."""
    _reports.append(report)


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Serve until the guest ends."""
    items = {item.nodeid: item for item in session.items}
    config = session.config
    os.mkfifo(ANSWER)
    os.mkfifo(ASK)
    while True:
        item = items[ASK.read_text().rstrip("\n")]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        told = [
            config.hook.pytest_report_to_serializable(config=config, report=report)
            for report in _reports
        ]
        _reports.clear()
        ANSWER.write_text(json.dumps(told))
