"""A test that ran in the guest is reported here as it would be there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.sender import Sender, shared_guest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

OUTCOMES = {
    "test_passes": ["passed", "passed", "passed"],
    "test_passes_as_a_coroutine": ["passed", "passed", "passed"],
    "test_fails": ["passed", "failed", "passed"],
    "test_is_skipped": ["passed", "skipped", "passed"],
    "test_breaks_at_its_end": ["passed", "passed", "failed"],
}


@pytest.fixture
def sender(pytestconfig: pytest.Config) -> Iterator[Sender]:
    guest = shared_guest(pytestconfig)
    guest.cut()  # one session at a time in a guest
    yield Sender(pytestconfig, Path(__file__).with_name("outcomes.py"))
    guest.cut()


def test_reports_come_out_of_the_guest_as_they_are(sender: Sender):
    told = {name: sender.run(f"tests/vm/outcomes.py::{name}") for name in OUTCOMES}
    assert OUTCOMES == {name: [one.outcome for one in reports] for name, reports in told.items()}
    failed = told["test_fails"][1]
    assert "assert 1 == 3" in failed.longreprtext
    assert "said before\n" == failed.capstdout
