"""Connections to Consul that are refused for a while: told, healed, and none is left behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.site import Site
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

OUTAGE_S = 15


def descriptors(site: Site) -> int:
    return len(list(Path(f"/proc/{site.agent.pid}/fd").iterdir()))


def test_an_outage_leaves_no_descriptor_behind_and_is_over_soon_after_its_end(lab: Lab) -> None:
    site = Site(lab, bfd=False)
    site.start()
    assert site.consul
    before = descriptors(site)
    site.consul.kill()
    wait_until("it is told", lambda: site.status()["source"]["problem"])
    time.sleep(OUTAGE_S)
    assert descriptors(site) <= before
    site.consul.restart()
    site.consul.wait_leader()
    change = site.push(site.document(announce={"two": "198.51.100.0/24"}))
    site.wait_state("in-sync", change=change)
    wait_until("as many as before", lambda: descriptors(site) <= before + 2)
