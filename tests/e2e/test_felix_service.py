"""Felix and the shipped agent as units of real systemd: one file, one restart, the way back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.agent import ROOT, Agent, toml
from tests.lab.calico import Felix
from tests.lab.guest import Guest
from tests.lab.haste import haste
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

FELIX = "calico-felix"
CONFIG = "/etc/calico/felix.cfg"
OWNER = "daemon:nogroup 640"
DENIED = re.compile(r"EPERM|EROFS|SIGSYS|permitted|denied|read-only", re.IGNORECASE)
SHIPPED = (ROOT / "systemd/felix.conf").read_text()
DROP_IN = "/etc/systemd/system/confsync.service.d/test.conf"
LAB = "/srv/lab"
FOLDER = "/srv/felix"
SYSTEMCTL = "/srv/systemctl"
STRIKE = "/etc/calico/strike"  # where the agent, and what it starts, may write
NOW = {
    "DatastoreType": "etcdv3",
    "EtcdEndpoints": "http://127.0.0.1:2379",
    "HealthEnabled": True,
    "HealthHost": "127.0.0.1",
    "VXLANPort": 4789,
}
PORT = 31439
HAND = "[global]\n# by hand\n" + "".join(f"{name} = {value}\n" for name, value in NOW.items())
UNITS = {
    "etcd": "Type=exec\nExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 2379\n",
    FELIX: f"ExecStart={FOLDER}/calico-felix\nRestart=always\nRestartSec=0.1\n",
}
# As systemctl; at a word that the test names, it kills the agent that has started it, once.
STRIKING = f"""#!/bin/sh
if [ "$1" = "$(cat {STRIKE} 2>/dev/null)" ]; then
    rm {STRIKE} || exit
    [ "$1" != restart ] || systemctl "$@"
    kill -9 $PPID
    exit
fi
exec systemctl "$@"
"""
MAKE = f"from pathlib import Path; from tests.lab.calico import Felix; Felix(Path('{FOLDER}'))"


class Node:
    """A booted guest with a Felix on a file made by hand, and confsync installed for it."""

    def __init__(self, folder: Path) -> None:
        """Boot it, and bring in what Calico would."""
        self.guest = Guest(folder / "guest")
        self._agent = Agent(folder / "agent", {})
        self._agent.socket = self.guest.path("/run/confsync/agent.sock")
        self.put(f"{LAB}/tests/__init__.py", "")
        self.put(f"{LAB}/tests/lab/__init__.py", "")
        for module in (ROOT / "tests/lab/calico").glob("*.py"):
            self.put(f"{LAB}/tests/lab/calico/{module.name}", module.read_text())
        self.felix = Felix(self.guest.path(FOLDER))
        # The program names Python and its own place: those of the guest.
        self.guest.run("env", f"PYTHONPATH={LAB}", "python3", "-c", MAKE)
        self.put(SYSTEMCTL, STRIKING).chmod(0o755)
        haste(self.guest.path("/usr/lib/confsync"), FELIX_VERIFY_S=3.0, FELIX_HOLD_S=0.3)
        for name, text in UNITS.items():
            self.put(f"/etc/systemd/system/{name}.service", f"[Service]\n{text}")

    def put(self, path: str, text: str) -> Path:
        """Write a file of the guest."""
        place = self.guest.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def fresh(self) -> None:
        """Take everything back that a test did: a host before its first agent."""
        self.ctl("stop", "confsync", FELIX)
        for folder in ("confsync.service.d", f"{FELIX}.service.d"):
            self.guest.run("rm", "-rf", f"/etc/systemd/system/{folder}")
        self.guest.run("rm", "-rf", "/var/lib/confsync", STRIKE)
        since = self.guest.run("date", "+%s.%N").strip()
        self._since = f"--since=@{since}"
        self.drop_in("confsync", SHIPPED)
        self.settings()
        self.want()
        self.felix.behave(retry_s=0.05)
        self.put(CONFIG, HAND)
        self.guest.run("chown", "daemon:nogroup", CONFIG)
        self.guest.run("chmod", "640", CONFIG)
        self.ctl("reset-failed")
        self.ctl("start", "etcd", FELIX)
        self.wait_ready()

    def settings(self, **felix: Any) -> None:
        """Write the agent's settings, those that the host has by default but for what is told."""
        drivers = {"felix": {"enabled": True, "calico_version": "3.26", **felix}}
        settings = {
            "site": "lab",
            "node": "lab-node-1",
            "source": {"kind": "directory", "path": "/etc/confsync/tree", "quiet_min_s": 0.1},
            "pace": {"splay_s": 0},
            "drivers": drivers,
        }
        self.put("/etc/confsync/agent.toml", toml(settings))

    def want(self, **more: Any) -> None:
        """Write what Felix shall read."""
        document = {"parameters": {**NOW, **more}}
        self.put("/etc/confsync/tree/nodes/lab-node-1/felix.yaml", json.dumps(document))

    def drop_in(self, unit: str, text: str) -> None:
        """Add to a unit."""
        self.put(f"/etc/systemd/system/{unit}.service.d/test.conf", text)
        self.ctl("daemon-reload")

    def start(self) -> None:
        """Start an agent that owns the file, which is written anew for that."""
        self.ctl("start", "confsync")
        self.guest.run("confsync", "adopt", "felix")
        self.wait_state("in-sync")

    def ctl(self, *words: str) -> str:
        """Run the real systemctl."""
        return self.guest.run("systemctl", *words)

    def led_back(self, old: str) -> None:
        """Take the change back while the agent is dead; after its restart the host must be."""
        self.want()
        restarts = self.show("NRestarts", "confsync")
        wait_until("it is back", lambda: self.show("NRestarts", "confsync") != restarts)
        self.wait_state("in-sync")
        assert '"recovered": true' in self.log
        assert (old, OWNER) == (self.file, self.owner)
        self.wait_ready()
        assert NOW["VXLANPort"] == self.port

    # --- what is there

    def show(self, name: str, unit: str = FELIX) -> str:
        """Return a property of a unit."""
        return self.ctl("show", "--value", f"--property={name}", unit).strip()

    @property
    def pid(self) -> str:
        """The process of Felix."""
        return self.show("MainPID")

    @property
    def starts(self) -> int:
        """How often Felix was started in this test."""
        argv = ("journalctl", f"--unit={FELIX}", "--output=cat", self._since)
        return self.guest.run(*argv).count(f"Started {FELIX}.service")

    @property
    def file(self) -> str:
        """What stands in the file of Felix."""
        return self.guest.path(CONFIG).read_text()

    @property
    def owner(self) -> str:
        """Whose the file of Felix is, and its mode."""
        return self.guest.run("stat", "--format=%U:%G %a", CONFIG).strip()

    @property
    def port(self) -> Any:
        """The port with which Felix runs."""
        return (self.felix.effective or {})["VXLANPort"]["value"]

    @property
    def log(self) -> str:
        """All that the agent has logged in this test."""
        return self.guest.run("journalctl", "--unit=confsync", "--output=cat", self._since)

    def status(self) -> Any:
        """Return the agent's status."""
        return self._agent.get("/api/v1/node").json

    def wait_ready(self) -> None:
        """Wait until Felix is."""
        ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:9099/readiness')"
        argv = ("sh", "-c", f'python3 -c "{ask}" 2>/dev/null && echo ready')
        wait_until("Felix is ready", lambda: self.guest.run(*argv, check=False))

    def wait_state(self, state: str, reason: str = "") -> Any:
        """Wait until the agent is in a state, for a reason; return its status."""
        seen: list[Any] = [None]

        def there() -> bool:
            seen[0] = self.status()
            return seen[0]["state"] == state and reason in seen[0]["reason"]

        try:
            wait_until(state, there)
        except LabError as error:
            error.add_note(f"{json.dumps(seen[0])}\n{self.log[-4000:]}")
            raise
        return seen[0]


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("felix"))
    try:
        yield node
    finally:
        node.guest.close()


@pytest.fixture
def node(booted: Node) -> Node:
    booted.fresh()
    return booted


def test_a_file_made_by_hand_is_taken_over_and_changed_with_one_restart(node: Node) -> None:
    pid = node.pid
    node.ctl("start", "confsync")
    node.wait_state("observing")
    node.guest.run("confsync", "adopt", "felix")
    node.wait_state("in-sync")
    assert pid == node.pid, "what Felix reads is the same"
    node.want(VXLANPort=PORT)
    wait_until("the change is there", lambda: str(PORT) in node.file)
    status = node.wait_state("in-sync")
    assert "committed" == status["last_transaction"]["outcome"]
    assert (PORT, OWNER) == (node.port, node.owner)
    assert (True, "0") == (node.pid != pid, node.show("NRestarts"))
    assert 2 == node.starts, "by the host, and once by us"
    assert [] == DENIED.findall(node.log)


def test_a_felix_that_never_gets_ready_runs_on_its_old_file_again(node: Node) -> None:
    node.start()
    old, pid = node.file, node.pid
    node.felix.behave(retry_s=0.05, never_ready=True)
    node.want(VXLANPort=PORT)
    wait_until("Felix has read the new file", lambda: node.port == PORT)
    node.felix.behave(retry_s=0.05)
    status = node.wait_state("rolled-back")
    assert "9099/readiness answers 503: it is not ready" in status["reason"]
    assert (old, OWNER) == (node.file, node.owner)
    node.wait_ready()
    assert NOW["VXLANPort"] == node.port
    assert ("0", True) == (node.show("NRestarts"), node.pid != pid)
    assert 3 == node.starts, "by the host, and by us once there and once back"


def test_a_felix_that_used_up_its_starts_is_started_on_its_old_file(node: Node) -> None:
    node.drop_in(FELIX, "[Unit]\nStartLimitBurst=2\n")
    node.start()
    old = node.file
    node.felix.behave(die_after_s=0.0)
    node.want(VXLANPort=PORT)
    wait_until("systemd gives it up", lambda: node.show("ActiveState") == "failed")
    node.felix.behave(retry_s=0.05)
    node.wait_state("rolled-back")
    assert old == node.file
    node.wait_ready()


def test_a_variable_of_the_unit_is_told_to_hide_a_parameter(node: Node) -> None:
    node.drop_in(FELIX, "[Service]\nEnvironment=FELIX_VXLANPORT=4790 OTHER=x\n")
    node.ctl("restart", FELIX)
    node.ctl("start", "confsync")
    told = json.dumps(node.status()["drivers"]["felix"]["notes"])
    assert "VXLANPort has no effect: the environment has FELIX_VXLANPORT" in told
    shown = json.loads(node.guest.run("confsync", "plan", "--json", check=False))
    assert [True] == ["VXLANPort has no effect on this host" in one for one in shown["warnings"]]


def test_without_its_drop_in_the_agent_says_what_it_lacks_and_touches_nothing(node: Node) -> None:
    node.guest.path(DROP_IN).unlink()
    node.ctl("daemon-reload")
    node.ctl("start", "confsync")
    node.guest.run("confsync", "adopt", "felix")
    status = node.wait_state("pending", "read-only")
    assert "/etc/calico is read-only here: put systemd/felix.conf into" in status["reason"]
    (unknown,) = status["drivers"]["felix"]["notes"]
    assert "whether the environment of calico-felix.service hides parameters is unknown" == unknown
    assert (HAND, None) == (node.file, status["last_transaction"])
    node.drop_in("confsync", SHIPPED)
    node.ctl("restart", "confsync")
    assert [] == node.wait_state("in-sync")["drivers"]["felix"]["notes"]


@pytest.mark.parametrize("word", ["reset-failed", "restart"])
def test_an_agent_that_dies_around_the_restart_leads_back(node: Node, word: str) -> None:
    """It dies after the file was written: before Felix is restarted, or as soon as it is."""
    node.settings(systemctl=SYSTEMCTL)
    node.start()
    old, pid = node.file, node.pid
    node.drop_in("confsync", f"{SHIPPED}RestartSec=2\n")
    node.put(STRIKE, word)
    node.want(VXLANPort=PORT)
    wait_until("it is dead", lambda: node.show("SubState", "confsync") == "auto-restart")
    assert str(PORT) in node.file
    restarted = node.pid != pid
    assert restarted == (word == "restart")
    node.led_back(old)
    assert restarted == (node.pid != pid), "nothing is restarted that has read no other file"


def test_an_agent_that_dies_while_it_waits_for_felix_leads_back(node: Node) -> None:
    node.start()
    old = node.file
    node.drop_in("confsync", f"{SHIPPED}RestartSec=2\n")
    node.felix.behave(never_ready=True)
    node.want(VXLANPort=PORT)
    wait_until("Felix has read the new file", lambda: node.port == PORT)
    node.ctl("kill", "--kill-whom=main", "--signal=SIGKILL", "confsync")
    node.felix.behave(retry_s=0.05)
    assert str(PORT) in node.file
    node.led_back(old)
