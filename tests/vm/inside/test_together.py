"""BIRD and LVM in one transaction: all of it, or none, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.agent import merged
from tests.lab.site import Site
from tests.lab.strace import Injection, Tracer
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import FarEnd, Lab
    from tests.lab.agent import Settings

pytestmark = pytest.mark.timeout(400)  # an agent of this kernel takes its time

VG = "vg_ext"
LVM_KEY = "nodes/lab-edge-1/lvm"
PATIENT_S = 90.0
NEWS = "198.18.200.0/24"
# Calls of the agent itself on the way, with how often a change has them at most.
CALLS = {"fsync": 6, "rename": 2, "pwrite64": 30, "sendto": 12, "vfork": 12}
POINTS = tuple((call, number) for call, most in CALLS.items() for number in range(1, most + 1))
SAMPLES = int(os.environ.get("CONFSYNC_TEST_POINTS", "1"))  # 0 = all of them, one after the other
SEED = int(os.environ.get("CONFSYNC_TEST_SEED", random.randrange(1 << 32)))
Document = dict[str, Any]


class Host:
    """A host of ours with two far ends and a blank disk; `far` is its peer from the beginning."""

    def __init__(self, lab: Lab, disk: str, settings: Settings | None = None) -> None:
        lvm = {"drivers": {"lvm": {"enabled": True, "volume_groups": [VG]}}}
        self.site = Site(lab, settings=merged(lvm, settings or {}))
        self.other = lab.far_end(2, bfd=True)
        self.disk = disk

    def begin(self) -> None:
        """Publish the first documents and start the agent on them."""
        self.store({"kept": {"size": "20MiB"}})
        self.site.push(self.site.document())
        self.site.agent.start(timeout_s=PATIENT_S)
        self.site.near.wait_established("cs_far_ipv4", "cs_far_ipv6")
        self.kept = self.volumes()

    def store(self, volumes: Document) -> None:
        """Write the node's `lvm` document into the tree."""
        groups = {VG: {"devices": [self.disk], "volumes": volumes}}
        self.site.write({"volume_groups": groups}, LVM_KEY)

    def both(self, asn: int) -> Document:
        """Write one more volume, and return the `bgp` document with one more peer."""
        more = {"size": "40MiB", "fs": "ext4"}
        self.store({"kept": {"size": "28MiB"}, "images": more})
        document = self.site.document()
        other: FarEnd = self.other
        ends = {"ipv4": other.far4, "ipv6": other.far6}
        document["peers"]["other"] = {**ends, "asn": asn, "bfd": True, "error_wait_max_s": 2}
        return document

    def publish(self, document: Document) -> int:
        """Push both documents as one change."""
        return self.site.push(document)

    def attempted(self) -> int | None:
        """Return the change that was tried last."""
        return (self.site.status()["attempted"] or {}).get("change")

    def ended(self, change: int) -> Any:
        """Wait until a transaction on a change has ended; return its record."""

        def there() -> Any:
            return self.site.status()["last_transaction"] if self.attempted() == change else None

        try:
            return wait_until("the transaction ends", there, PATIENT_S)
        except Exception as error:
            error.add_note(self.site.agent.log[-3000:])
            raise

    @staticmethod
    def volumes() -> dict[str, tuple[str, int]]:
        """Return each volume's UUID and size in bytes."""
        argv = ["lvs", "--reportformat", "json", "--units", "b", "--nosuffix"]
        told = subprocess.run(
            [*argv, "-o", "lv_name,lv_uuid,lv_size", VG], capture_output=True, text=True, check=True
        )
        (report,) = json.loads(told.stdout)["report"]
        return {one["lv_name"]: (one["lv_uuid"], int(one["lv_size"])) for one in report["lv"]}

    @staticmethod
    def suspended() -> str:
        """Return the devices whose input and output stands still."""
        told = subprocess.run(
            ["dmsetup", "info", "-c", "--noheadings", "-o", "name,suspended"],
            capture_output=True,
            text=True,
            check=True,
        )
        return "\n".join(line for line in told.stdout.splitlines() if line.endswith(":Suspended"))

    def runs_its_file(self) -> bool:
        """Tell whether BIRD runs what the disk holds."""
        return self.site.render().strip('"').encode() in self.site.near.config.read_bytes()


@pytest.fixture
def host(lab: Lab, disks: list[str]) -> Host:
    made = Host(lab, disks[0])
    made.begin()
    return made


def mib(size: int) -> int:
    return size << 20


def test_neither_half_stands_without_the_other(host: Host):
    """Three changes of one host, since an agent takes 25 s to begin here."""
    stood, since = host.volumes(), host.site.since()
    text, render = host.site.near.config.read_bytes(), host.site.render()

    # a volume that has no room keeps the peer out
    document = host.both(host.other.asn)
    host.store({"kept": {"size": "20MiB"}, "images": {"size": "40GiB"}})
    host.publish(document)
    told = host.site.wait_state("rejected", timeout_s=PATIENT_S)
    assert "images" in told["reason"]
    assert (stood, text) == (host.volumes(), host.site.near.config.read_bytes())
    assert (render, since) == (host.site.render(), host.site.since())

    # a peer that fails takes the volume with it
    told = host.ended(host.publish(host.both(host.other.asn + 7)))
    assert "rolled-back" == told["outcome"]
    assert "other" in told["reason"]
    assert (stood, text) == (host.volumes(), host.site.near.config.read_bytes())
    assert (render, since) == (host.site.render(), host.site.since())

    # what can be whole adds a peer and a volume, and grows another
    assert "committed" == host.ended(host.publish(host.both(host.other.asn)))["outcome"]
    sizes = {name: size for name, (_, size) in host.volumes().items()}
    assert {"kept": mib(28), "images": mib(40)} == sizes
    host.site.near.wait_established("cs_other_ipv4", "cs_other_ipv6", "cs_far_ipv4")
    assert host.runs_its_file()
    host.site.wait_state("in-sync")


@pytest.mark.parametrize("sample", range(SAMPLES or len(POINTS)))
def test_an_agent_killed_on_the_way_leaves_old_or_new_on_both(host: Host, sample: int):
    call, number = random.Random(SEED + sample).choice(POINTS) if SAMPLES else POINTS[sample]
    where = f"CONFSYNC_TEST_SEED={SEED}: {call} {number}"
    side = _struck(host, Injection(call, str(number)))
    assert side in ("old", "new", "unharmed"), where
    sys.stdout.write(f"{where}: {side}\n")
    host.site.wait_state("in-sync", timeout_s=PATIENT_S)
    assert {"kept", "more"} == host.volumes().keys(), where


def _struck(host: Host, injection: Injection) -> str:
    """Publish a volume and a prefix, kill the agent at a call, and tell where recovery has led.

    The agent that recovers is paused, so that it does no more than that.
    """
    site, agent = host.site, host.site.agent
    before = host.volumes()
    host.store({"kept": {"size": "24MiB"}, "more": {"size": "8MiB"}})
    with Tracer(site.lab.folder, agent.pid, injection):
        change = host.publish(site.document(announce={"one": NEWS}))

        def over() -> bool:
            return agent.running.exit_code is not None or host.attempted() == change

        wait_until("the agent is done, or dead", over, PATIENT_S)
    if agent.running.exit_code is None:
        return "unharmed"
    site.run("agent", "pause", "--reason", "look first")
    agent.start()
    wait_until("it knows the host", lambda: site.status()["state"] not in ("starting", "pending"))
    found = host.volumes()
    side = "new" if "more" in found else "old"
    routed = NEWS.encode() in site.near.config.read_bytes()
    whole = routed == (side == "new") and host.runs_its_file() and not host.suspended()
    kept = side == "new" or found == before
    site.run("agent", "resume")
    return side if whole and kept else f"mixed: {found}, {routed}, {host.suspended()}"
