"""Beside calico/node's own BIRD nothing is planned and nothing written; the way back stays open.

It is started as calico/node does: the host's network and process ids, files of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from confsync.drivers.bird.driver import BirdDriver, BirdSettings
from confsync.model.errors import HostBusy
from confsync.model.section import Ownership
from confsync.ports import Position
from tests.drivers.bird.driven import Driven
from tests.lab import HERE
from tests.lab.bird import BINARY
from tests.lab.process import Process
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

ONE = {"announce": {"one": "192.0.2.0/24"}}
SMALL = "router id 10.9.1.9;\nprotocol device {}\n"
INSTEAD = ": change Calico's resources instead (section calico), or disable [drivers.bird]"
STARTED = """
mount -t tmpfs none /etc && mount -t tmpfs none /run || exit
mkdir -p /etc/calico/confd/config /run/calico
echo 'router id 10.9.1.9; protocol device {}' >/etc/calico/confd/config/NAME.cfg
exec PROGRAM -R -s /var/run/calico/NAME.ctl -d -c /etc/calico/confd/config/NAME.cfg
"""
UNIT = Path(__file__).parents[3] / "systemd" / "confsync.service"
ASK = """
from confsync.drivers.bird.calico import require_alone
require_alone("/etc/bird/bird.conf")
"""


class CalicoBird:
    """BIRD as calico/node runs it, without its container."""

    def __init__(self, lab, name="bird", host=HERE):
        program = lab.folder / name
        program.write_bytes(Path(BINARY).read_bytes())
        program.chmod(0o755)
        script = STARTED.replace("NAME", name).replace("PROGRAM", str(program))
        argv = host.argv("unshare", "--mount", "sh", "-c", script)
        self.process = Process(argv, lab.folder / "calico.log")
        lab.keep(self)
        socket = Path(f"/proc/{self.process.pid}/root/run/calico/{name}.ctl")
        wait_until("Calico's BIRD listens", socket.is_socket, timeout_s=10)
        self.sign = f"process {self.process.pid}: /var/run/calico/{name}.ctl"

    def close(self):
        self.process.kill()


@pytest.fixture
def host(lab):
    driven = Driven(lab)
    yield driven
    driven.driver.close()


def refused(sign):
    beside = f"calico/node runs its own BIRD on this host ({sign}), and there is one port 179"
    return beside + INSTEAD


def refused_path(path):
    return f"{path} belongs to calico/node, which overwrites it{INSTEAD}"


async def standing(host):
    found = await host.driver.observe()
    return found.ownership, found.problem


@pytest.mark.parametrize("name", ["bird", "bird6"])
async def test_nothing_is_planned_beside_it_until_it_has_ended(lab, host, name):
    theirs = CalicoBird(lab, name)
    text = host.bird.config.read_text()
    assert (Ownership.ABSENT, refused(theirs.sign)) == await standing(host)
    survey = await host.driver.survey(None)
    assert (None, refused(theirs.sign)) == (survey.record, survey.problem)
    assert text == host.bird.config.read_text()
    theirs.close()
    assert (Ownership.OWNED, "") == await standing(host)


async def test_check_refuses_when_it_came_after_the_plan(lab, host):
    step = await host.plan(**ONE)
    theirs = CalicoBird(lab)
    with pytest.raises(HostBusy) as caught:
        await host.driver.check(step)
    assert refused(theirs.sign) == str(caught.value)
    assert [] == host.leftovers()
    theirs.close()
    await host.driver.check(step)


async def test_the_way_back_is_open_beside_it(lab, host):
    text = host.bird.config.read_text()
    step, saved = await host.applied(**ONE)
    CalicoBird(lab)
    await host.another_process().undo(step, saved)
    assert Position.OLD is await host.driver.position(step, saved)
    assert (text, "9001", []) == (
        host.bird.config.read_text(), host.marker()[:4], host.leftovers()
    )  # fmt: skip


async def test_what_is_past_the_pivot_is_finished_beside_it(lab, host):
    step, saved = await host.applied(**ONE)
    CalicoBird(lab)
    await host.another_process().commit(step, saved)
    assert Position.NEW is await host.driver.position(step, saved)


async def test_others_that_name_its_files_are_not_it(lab):
    """Calico on OpenStack has the host's own BIRD; Felix, confd and their logs are no BIRD."""
    driven = Driven(lab, "# not /etc/calico/confd/config/bird.cfg\nprotocol device {}\n")
    other = Process(["tail", "-F", "/etc/calico/confd/config/bird.cfg"], lab.folder / "tail.log")
    try:
        wait_until("tail runs", lambda: "tail" in Path(f"/proc/{other.pid}/comm").read_text(), 5)
        whose, problem = await standing(driven)
    finally:
        other.kill()
        driven.driver.close()
    assert Ownership.FOREIGN == whose
    assert problem.startswith("the configuration file was not written by confsync")


async def test_one_in_another_network_is_not_beside_ours(lab, host):
    CalicoBird(lab, host=lab.namespace("kind"))
    assert (Ownership.OWNED, "") == await standing(host)


async def test_where_its_process_is_not_seen_its_socket_tells(lab, host, monkeypatch):
    theirs = lab.bird("calico", SMALL, lab.namespace("unseen"))
    monkeypatch.setattr("confsync.drivers.bird.calico.SOCKETS", (str(theirs.socket),))
    assert (Ownership.ABSENT, refused(f"{theirs.socket} answers")) == await standing(host)
    theirs.running.kill()
    assert theirs.socket.is_socket()
    assert (Ownership.OWNED, "") == await standing(host)


@pytest.mark.parametrize(
    "paths",
    [
        {"config_file": "/etc/calico/confd/config/bird.cfg"},
        {"config_file": "/etc/bird/../calico/confd/config/bird.cfg"},
        {"control_socket": "/var/run/calico/bird.ctl"},
        {"control_socket": "/run/calico/bird6.ctl"},
        {"ownership": "fragment", "fragment_file": "/etc/calico/confd/config/cs.conf"},
        {"config_file": "LINK"},
    ],
)
async def test_paths_of_calico_are_never_ours(tmp_path, paths):
    link = tmp_path / "bird.conf"
    link.symlink_to("/etc/calico/confd/config/bird.cfg")
    paths = {key: value.replace("LINK", str(link)) for key, value in paths.items()}
    own = {"config_file": str(tmp_path / "own.conf"), "control_socket": str(tmp_path / "ctl")}
    driver = BirdDriver(BirdSettings(enabled=True, **{**own, **paths}))
    found = await driver.observe()
    driver.close()
    expected = refused_path(list(paths.values())[-1])
    assert (Ownership.ABSENT, expected) == (found.ownership, found.problem)


async def test_a_file_of_calico_that_bird_names_is_not_remembered(lab, monkeypatch):
    bird = lab.bird("unseen", SMALL, lab.namespace("unseen"))
    monkeypatch.setattr("confsync.drivers.bird.calico.FOLDERS", (str(bird.config),))
    usual = (str(bird.config.with_name("none.conf")), str(bird.socket))
    monkeypatch.setattr("confsync.drivers.bird.observe._PLACES", (usual,))
    driver = BirdDriver(BirdSettings(enabled=True))
    found = await driver.observe()
    assert (Ownership.ABSENT, refused_path(bird.config)) == (found.ownership, found.problem)
    bird.running.kill()
    bird.config = bird.config.with_name("own.conf")
    bird.config.write_text(SMALL)
    bird.start()
    found = await driver.observe()
    driver.close()
    assert Ownership.FOREIGN == found.ownership, found
    assert str(bird.config) == found.detail["config_file"]


@pytest.mark.parametrize("near", [True, False])
def test_it_is_seen_with_what_the_unit_leaves_the_agent(lab, near):
    theirs = CalicoBird(lab, host=HERE if near else lab.namespace("kind"))
    (left,) = re.findall(r"^CapabilityBoundingSet=(.+)$", UNIT.read_text(), re.MULTILINE)
    bound = ",+".join(["-all", *left.lower().replace("cap_", "").split()])
    argv = ["setpriv", "--bounding-set", bound, "--", sys.executable, "-c", ASK]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert near is (refused(theirs.sign) in done.stderr)
    assert done.returncode == near, done.stderr
