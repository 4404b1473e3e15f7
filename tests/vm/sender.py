"""The host's side of tests that run in the guest, and the one guest that they share."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.lab.wait import wait_until
from tests.vm.guest import Guest
from tests.vm.root import ROOT
from tests.vm.within import ANSWER, ASK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.guest import Call

GUESTS = pytest.StashKey[dict[bool, Guest]]()
PYTEST = "exec python -B -m pytest -p tests.vm.within -p no:cacheprovider -p no:xdist"
START_S = 60
LIMIT_S = 120  # pytest's own, of a test that has no other
GRACE_S = 30


def shared_guest(config: pytest.Config, *, systemd: bool = False) -> Guest:
    """Return the guest of this test process, as the test before left it."""
    guests = config.stash.setdefault(GUESTS, {})
    if systemd not in guests:
        guests[systemd] = Guest(config._tmp_path_factory.mktemp("vm"), systemd=systemd)
        config.add_cleanup(guests[systemd].close)
    return guests[systemd]


class Sender:
    """Has tests of one file or folder run by a pytest session in the guest."""

    def __init__(self, config: pytest.Config, tests: Path) -> None:
        """Start nothing yet: a session is started in every life of the guest."""
        self._config = config
        self._command = f"{PYTEST} {tests.relative_to(ROOT)}"
        self._session: tuple[int, Call] | None = None

    def run(self, nodeid: str, limit_s: float = LIMIT_S) -> list[pytest.TestReport]:
        """Run one test with a time limit of its own. Raises LabError when there is no answer."""
        guest = shared_guest(self._config)
        if not guest.usable or self._session is None or self._session[0] != guest.life:
            guest.renew()
            session = guest.start(self._command)
            self._session = guest.life, session
            wait_until(
                "pytest runs in the guest",
                lambda: session.done or not guest.run(f"[ -p {ASK} ]").rc,
                START_S,
            )
        if ended := self._session[1].done:
            raise guest.error(f"pytest in the guest ended\n{ended.stdout}{ended.stderr}")
        try:
            told = guest.must(
                f"echo {shlex.quote(nodeid)} >{ASK} && cat {ANSWER}", limit_s + GRACE_S
            )
        except BaseException:
            guest.cut()  # what still runs must not meet the next test
            raise
        hook = self._config.hook
        return [
            hook.pytest_report_from_serializable(config=self._config, data=data)
            for data in json.loads(told)
        ]
