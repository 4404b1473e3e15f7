"""LVM, Felix and BIRD in one transaction: all of it, or none, always in the same order."""

from __future__ import annotations

import json
import socket
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.agent import ROOT
from tests.lab.calico import Felix
from tests.lab.calico.manager import Units
from tests.lab.haste import haste
from tests.lab.wait import wait_until
from tests.vm.inside.test_together import PATIENT_S, Host, mib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Lab

pytestmark = pytest.mark.timeout(400)  # an agent of this kernel takes its time

UNIT = "calico-felix.service"
FELIX_KEY = "nodes/lab-edge-1/felix"
HEALTH_PORT = 9099
OLD, NEW, NEWER = 4789, 31439, 31440
THERE = ["apply lvm", "apply felix", "apply bird"]


class Three(Host):
    """A host that has a Felix as well, under a supervisor that is no systemd."""

    def __init__(self, lab: Lab, disk: str, etcd: int) -> None:
        """Start Felix without a file, and an agent that writes it one."""
        self.etcd = etcd
        self.felix = Felix(lab.folder / "felix", retry_s=0.2)
        self.units = lab.keep(Units(lab.folder / "units"))
        service = self.units.add(UNIT, self.felix.argv)
        self.units.supervisor.do(service.start)
        felix = {
            "enabled": True,
            "calico_version": "3.26",
            "config_file": str(self.felix.config),
            "service": UNIT,
            "health_url": f"http://127.0.0.1:{HEALTH_PORT}/readiness",
            "systemctl": str(self.units.program),
        }
        super().__init__(lab, disk, {"drivers": {"felix": felix}, "log": {"level": "debug"}})
        path = haste(lab.folder / "haste", FELIX_VERIFY_S=10.0)
        self.site.agent.env["PYTHONPATH"] = f"{path}:{ROOT}"
        self.port(OLD)
        self.begin()
        self.wait_port(OLD)

    def port(self, number: int) -> None:
        """Write the node's `felix` document into the tree."""
        parameters = {
            "DatastoreType": "etcdv3",
            "EtcdEndpoints": f"http://127.0.0.1:{self.etcd}",
            "HealthEnabled": True,
            "HealthHost": "127.0.0.1",
            "VXLANPort": number,
        }
        self.site.write({"parameters": parameters}, FELIX_KEY)

    def all_three(self, asn: int, port: int = NEW) -> int:
        """Publish a volume, a parameter and a peer as one change."""
        self.port(port)
        return self.publish(self.both(asn))

    def wait_port(self, number: int) -> None:
        """Wait until Felix runs with a port."""

        def there() -> bool:
            return (self.felix.effective or {}).get("VXLANPort", {}).get("value") == number

        wait_until(f"Felix runs with {number}", there, PATIENT_S)
        assert "active" == self.units.properties(UNIT)["ActiveState"]

    def stands(self) -> Any:
        """Return what a change that fails must leave as it was."""
        near = self.site.near
        files = near.config.read_bytes(), self.felix.config.read_bytes()
        return self.volumes(), files, self.site.render(), self.site.since()

    def acts(self, begun: int) -> list[str]:
        """Return whose turn it was since so many characters of the agent's log, in its order."""
        lines = [line for line in self.site.agent.log[begun:].splitlines() if "step.done" in line]
        done = (f"{one['op']} {one['driver']}" for one in map(json.loads, lines))
        return [turn for turn, _ in groupby(done)]  # two volumes are two steps


@pytest.fixture
def etcd() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def host(lab: Lab, disks: list[str], etcd: int) -> Three:
    return Three(lab, disks[0], etcd)


def test_none_of_the_three_stands_without_the_others(host: Three) -> None:
    """Three changes of one host, since an agent takes 25 s to begin here."""
    stood = host.stands()

    # a peer that fails takes volume and parameter with it
    begun = len(host.site.agent.log)
    told = host.ended(host.all_three(host.other.asn + 7))
    assert ("rolled-back", True) == (told["outcome"], "other" in told["reason"])
    assert [*THERE, "undo bird", "undo felix", "undo lvm"] == host.acts(begun)
    assert stood == host.stands()
    host.wait_port(OLD)

    # a Felix that never gets ready takes volume and peer with it
    host.felix.behave(never_ready=True)
    begun = len(host.site.agent.log)
    change = host.all_three(host.other.asn)
    host.wait_port(NEW)
    host.felix.behave(retry_s=0.2)
    told = host.ended(change)
    assert ("rolled-back", True) == (told["outcome"], "it is not ready" in told["reason"])
    assert [*THERE, "undo bird", "undo felix", "undo lvm"] == host.acts(begun)
    assert stood == host.stands()
    host.wait_port(OLD)

    # what can be whole is
    begun = len(host.site.agent.log)
    told = host.ended(host.all_three(host.other.asn, NEWER))
    assert "committed" == told["outcome"], told
    assert THERE == host.acts(begun)[:3]
    sizes = {name: size for name, (_, size) in host.volumes().items()}
    assert {"kept": mib(28), "images": mib(40)} == sizes
    host.wait_port(NEWER)
    host.site.near.wait_established("cs_other_ipv4", "cs_other_ipv6", "cs_far_ipv4")
    assert host.runs_its_file()
