"""More than any configuration is: refused by its size, told, and over when it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.site import PREFIX, Site
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Lab

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

COMMON = f"{PREFIX}/desired/common"
KEYS = 100_000
MORE_MB = 100


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    made = Site(lab, bfd=False, settings={"drift": {"interval_s": 2.0}})
    made.start()
    before = made.near.config.read_bytes(), made.since()
    yield made
    assert made.consul
    made.consul.kv.delete_tree(f"{COMMON}/flood")
    wait_until("it is over", lambda: not made.status()["source"]["problem"], 60)
    made.wait_state("in-sync")
    assert before == (made.near.config.read_bytes(), made.since())


def rss_mb(site: Site) -> float:
    lines = Path(f"/proc/{site.agent.pid}/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def refused(site: Site) -> Any:
    """Wait until it is told that the source is too large; return the reason."""
    return wait_until(
        "it is told",
        lambda: "larger than" in site.status()["source"]["problem"] and site.status()["source"],
        60,
    )


def test_a_hundred_thousand_keys_are_refused_before_they_are_read_whole(site: Site) -> None:
    assert site.consul
    before_mb = rss_mb(site)
    for first in range(0, KEYS, 64):
        site.consul.kv.put_all({f"{COMMON}/flood/k{n}": "{}" for n in range(first, first + 64)})
    refused(site)
    assert rss_mb(site) - before_mb < MORE_MB
    assert site.agent.get("/livez").status == 200


def test_more_than_four_megabytes_in_few_keys_are_refused(site: Site) -> None:
    assert site.consul
    for number in range(9):
        site.consul.kv.put(f"{COMMON}/flood/k{number}", b"#" * 524_288)
    refused(site)


def test_one_value_of_the_size_that_consul_takes_is_named(site: Site) -> None:
    assert site.consul
    site.consul.kv.put(f"{COMMON}/flood", json.dumps({"x": "y" * 500_000}))
    status = site.wait_state("rejected")
    assert "common/flood" in status["reason"]
