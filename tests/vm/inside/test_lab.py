"""The whole laboratory runs in the guest too: agent, Consul, and BIRDs in network namespaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.site import Site

if TYPE_CHECKING:
    from tests.lab import Lab


def test_this_kernel_is_the_guests():
    assert "User Mode Linux" in Path("/proc/cpuinfo").read_text()


def test_a_change_is_committed_with_its_bgp_sessions(lab: Lab):
    status = Site(lab).start()
    assert "committed" == status["last_transaction"]["outcome"]
