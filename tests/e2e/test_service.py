"""The unit under real systemd: what `systemctl` says and does, and that BIRD never feels it."""

from __future__ import annotations

import http.server
import json
import re
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.agent import Agent, merged, toml
from tests.lab.bird import Bird, Since
from tests.lab.guest import UNIT, Guest
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Lab

pytestmark = pytest.mark.root

DENIED = re.compile(r"EPERM|EROFS|SIGSYS|permitted|denied|read-only file system", re.IGNORECASE)
RENDER = re.compile(r'cs_render = "([^"]*)"')
NO_CONSUL = {"kind": "consul", "consul": {"address": "unix:///run/consul.sock"}}


class Service:
    """confsync as a service of a guest, with a folder of documents as its source."""

    def __init__(self, lab: Lab, guest: Guest) -> None:
        self.guest = guest
        self.bird = Bird(lab.folder / "bird", start=False)  # systemd has started it
        self.bird.config = guest.path("/etc/bird/bird.conf")
        self.bird.socket = guest.path("/run/bird/bird.ctl")
        self._agent = Agent(lab.folder / "agent", {})
        self._agent.socket = guest.path("/run/confsync/agent.sock")
        self._settings: dict[str, Any] = {}
        self.set(
            site="lab",
            node="lab-edge-1",
            source={"kind": "directory", "path": "/etc/confsync/tree"},
            drivers={"bird": {"enabled": True, "hold_s": 0.1}},
        )
        self.write()
        self.life = self.life_of_bird()

    # --- what the operator writes and orders

    def set(self, **changes: Any) -> None:
        self._settings = merged(self._settings, changes)
        self.guest.path("/etc/confsync/agent.toml").write_text(toml(self._settings))

    def write(self, **announce: str) -> None:
        permit = {"ipv4": {"default": "permit"}}
        document = {
            "router_id": "192.0.2.1",
            "local_as": 64512,
            "peers": {"far": {"ipv4": "192.0.2.2", "asn": 65001, "required": False}},
            "import": permit,
            "export": permit,
            "announce": announce or {"one": "198.51.100.0/24"},
        }
        path = self.guest.path("/etc/confsync/tree/nodes/lab-edge-1/bgp.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    def drop_in(self, text: str) -> None:
        folder = self.guest.path("/etc/systemd/system/confsync.service.d")
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(f"[Service]\n{text}\n")
        self.ctl("daemon-reload")

    def ctl(self, *words: str) -> str:
        return self.guest.run("systemctl", *words)

    def send(self, number: str) -> None:
        self.ctl("kill", "--kill-whom=main", f"--signal={number}", "confsync")

    # --- what systemd, the agent and BIRD say

    def show(self, name: str, unit: str = "confsync") -> str:
        return self.ctl("show", "--value", f"--property={name}", unit).strip()

    @property
    def log(self) -> str:
        return self.guest.run("journalctl", "--unit=confsync", "--output=cat")

    def status(self) -> Any:
        return self._agent.get("/api/v1/node").json

    def wait_show(self, timeout_s: float = 20, **wanted: str) -> None:
        """Wait until the unit's properties are these."""
        try:
            wait_until(
                str(wanted),
                lambda: all(self.show(name) == value for name, value in wanted.items()),
                timeout_s,
            )
        except LabError as error:
            error.add_note(f"{self.ctl('show', 'confsync')}\n{self.log[-4000:]}")
            raise

    def wait_state(self, state: str) -> None:
        try:
            wait_until(state, lambda: self.status()["state"] == state)
        except LabError as error:
            error.add_note(self.log[-4000:])
            raise

    def runs(self) -> str:
        """Return the id of the configuration that BIRD runs, empty on the example."""
        code, _, value = self.bird.ctl("eval cs_render")[-1].partition(" ")
        return value.strip('"') if code == "0023" else ""

    def on_disk(self) -> str:
        found = RENDER.search(self.bird.config.read_text())
        return found[1] if found else ""

    def since(self) -> dict[str, str]:
        """Return since when each of BIRD's sessions is as it is."""
        return {name: session.since for name, session in self.bird.sessions().items()}

    def life_of_bird(self) -> tuple[str, list[Since]]:
        """Return what a restart of BIRD would change."""
        said = [line.partition("Last reboot on ")[2] for line in self.bird.ctl("show status")]
        return self.show("MainPID", "bird"), [Since(moment) for moment in said if moment]

    def wait_fed(self, times: int) -> None:
        """Wait until the watchdog was fed so many times."""
        feeds: set[str] = set()

        def fed() -> bool:
            feeds.add(self.show("WatchdogTimestampMonotonic"))
            return len(feeds) > times

        wait_until("the watchdog is fed", fed)

    # --- courses of events

    def verify_for_long(self) -> str:
        """Start, leave the agent in the middle of a change; return the id of what was before."""
        self.ctl("start", "confsync")
        old = self.runs()
        self.set(drivers={"bird": {"hold_s": 60.0}})
        self.ctl("reload", "confsync")
        self.write(two="203.0.113.0/24")
        wait_until("the candidate runs", lambda: self.runs() != old)
        assert old == self.on_disk()
        return old


@pytest.fixture
def service(lab: Lab) -> Iterator[Service]:
    """Give a freshly booted host; whatever was done to the agent, its BIRD went on running."""
    guest = Guest(lab.folder / "guest")
    try:
        made = Service(lab, guest)
        yield made
        assert made.life == made.life_of_bird()
    finally:
        guest.close()


def test_the_hardened_unit_does_the_main_job_on_an_untouched_host(service: Service) -> None:
    service.ctl("start", "confsync")
    status = service.status()
    assert ("in-sync", "owned") == (status["state"], status["drivers"]["bird"]["ownership"])
    assert 'Status: "in-sync"' in service.ctl("status", "--no-pager", "confsync")
    assert service.runs()
    assert service.runs() == service.on_disk()
    stat = ("stat", "--format=%U:%G %a", "/etc/bird/bird.conf", "/run/confsync/agent.sock")
    assert ["bird:bird 640", "root:confsync-admin 660"] == service.guest.run(*stat).splitlines()
    assert [] == DENIED.findall(service.log)
    assert "" == service.guest.run("systemd-analyze", "verify", "--man=no", UNIT)


def test_a_bird_that_is_started_after_the_agent_is_served(service: Service) -> None:
    """Its folder below /run does not exist when systemd makes the agent's view of the host."""
    service.ctl("stop", "bird")
    service.bird.socket.unlink(missing_ok=True)
    service.bird.socket.parent.rmdir()
    service.ctl("start", "confsync")
    assert "in-sync" != service.status()["state"]
    service.ctl("start", "bird")
    service.life = wait_until("BIRD answers", service.life_of_bird)
    service.wait_state("in-sync")
    assert service.runs() == service.on_disk() != ""


def test_start_returns_at_ready_from_last_known_good_while_consul_is_down(service: Service) -> None:
    service.ctl("start", "confsync")
    runs = service.runs()
    service.set(source=NO_CONSUL)
    service.ctl("restart", "confsync")
    assert "in-sync" == service.status()["state"]
    wait_until("the outage is known", lambda: service.status()["source"]["problem"])
    assert (runs, runs) == (service.runs(), service.on_disk())


def test_a_reload_takes_good_settings_and_fails_on_bad_ones(service: Service) -> None:
    service.ctl("start", "confsync")
    pid = service.show("MainPID")
    service.set(log={"level": "debug"})
    service.ctl("reload", "confsync")
    assert '"reconcile.done"' in service.log

    service.set(log={"level": "verbose"})
    with pytest.raises(LabError, match="failed"):
        service.ctl("reload", "confsync")
    assert "[log] level: must be" in service.log
    assert ("active", pid) == (service.show("ActiveState"), service.show("MainPID"))
    assert "in-sync" == service.status()["state"]


def test_bad_settings_end_the_start_with_78_and_no_restart(service: Service) -> None:
    service.set(sight="lab")
    with pytest.raises(LabError):
        service.ctl("start", "confsync")
    service.wait_show(ActiveState="failed", ExecMainStatus="78", NRestarts="0")
    assert "did you mean site" in service.log


def test_an_agent_killed_in_mid_transaction_is_restarted_into_recovery(service: Service) -> None:
    old = service.verify_for_long()
    service.set(drivers={"bird": {"hold_s": 0.1}})
    service.send("SIGKILL")
    service.wait_show(NRestarts="1", ActiveState="active")
    service.wait_state("in-sync")
    assert '"recovered": true' in service.log
    assert service.runs() == service.on_disk() != old


def test_a_stop_while_verifying_undoes_the_change(service: Service) -> None:
    old = service.verify_for_long()
    service.ctl("stop", "confsync")
    assert ("inactive", "success") == (service.show("ActiveState"), service.show("Result"))
    assert (old, old) == (service.runs(), service.on_disk())


def test_a_hanging_agent_is_ended_by_the_watchdog_and_restarted(service: Service) -> None:
    service.drop_in("WatchdogSec=1")
    service.ctl("start", "confsync")
    pid = service.show("MainPID")
    service.wait_fed(6)
    assert ("0", pid) == (service.show("NRestarts"), service.show("MainPID"))
    service.send("SIGSTOP")
    service.wait_show(NRestarts="1", ActiveState="active")
    assert "Watchdog timeout" in service.log
    assert "(most recent call first)" in service.log, "it says where it hung"
    service.wait_state("in-sync")


def test_an_upgrade_restarts_the_agent_alone(service: Service) -> None:
    service.ctl("start", "confsync")
    runs, since = service.runs(), service.since()
    service.drop_in("Environment=UPGRADED=1")
    service.ctl("restart", "confsync")
    service.wait_state("in-sync")
    service.ctl("stop", "confsync")
    assert (runs, runs) == (service.runs(), service.on_disk())
    assert since == service.since()


def test_a_second_agent_is_refused_and_the_first_goes_on(service: Service) -> None:
    service.ctl("start", "confsync")
    with pytest.raises(LabError, match="another confsync holds"):
        service.guest.run("confsync", "agent", "run")
    assert "in-sync" == service.status()["state"]


def test_an_agent_that_dies_at_every_start_is_given_up_until_a_human_comes(
    service: Service,
) -> None:
    service.drop_in("RestartSec=50ms")
    service.ctl("start", "confsync")
    for times in range(1, 5):
        service.send("SIGKILL")
        service.wait_show(NRestarts=str(times), ActiveState="active")
    service.send("SIGKILL")
    service.wait_show(ActiveState="failed")
    assert "Start request repeated too quickly" in service.log
    service.ctl("reset-failed", "confsync")
    service.ctl("start", "confsync")
    service.wait_state("in-sync")


def test_the_token_is_read_from_a_credential(service: Service) -> None:
    tokens: list[str | None] = []

    class Denying(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers["X-Consul-Token"])
            self.send_error(403)

        def do_PUT(self) -> None:
            self.do_GET()

        def address_string(self) -> str:
            return ""

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    address = str(service.guest.path("/run/consul.sock"))
    with socketserver.ThreadingUnixStreamServer(address, Denying) as consul:
        threading.Thread(target=consul.serve_forever, daemon=True).start()
        service.guest.path("/etc/confsync/consul-token").write_text("its-secret\n")
        service.drop_in("LoadCredential=consul-token:/etc/confsync/consul-token")
        service.set(source=NO_CONSUL)
        service.ctl("start", "--no-block", "confsync")
        wait_until("a request", lambda: tokens)
        consul.shutdown()
    assert {"its-secret"} == set(tokens)
    assert "its-secret" not in service.log
