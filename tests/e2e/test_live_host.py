"""A host that carries traffic: what an operator does from the first install to the removal.

Between a BIRD and an FRR stands our host, whose BIRD somebody configured by hand; packets flow
through it all the time. Nothing may be lost, and no session reset, that a plan did not name.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lab import HERE, Lab
from tests.lab.agent import Agent
from tests.lab.bird import Bird
from tests.lab.frr import Frr
from tests.lab.traffic import Traffic
from tests.lab.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

HAND_MADE = """\
# Managed by puppet once, by hand since.
log syslog all;
router id 10.9.1.1;

protocol device { scan time 10; }
protocol direct { interface "lo"; ipv4; }
protocol kernel {
  persist;
  scan time 20;
  ipv4 { import none; export filter { krt_prefsrc = 10.9.1.1; accept; }; };
}
protocol kernel { ipv6 { import none; export all; }; }

define OWN = 64512;
filter out_all {
  if net = 0.0.0.0/0 then reject;
  accept;
}
template bgp edge {
  local as OWN;
  hold time 9; keepalive time 3;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export filter out_all; next hop self; };
}
protocol bgp upstream from edge { neighbor 10.9.1.2 as 65001; }
protocol bgp 'second-vendor' from edge {
  description "the FRR";
  neighbor 10.9.7.2 as 65007;
}
protocol static offices { ipv4; route 192.0.2.0/25 unreachable; }
"""
FRR = """\
frr defaults traditional
router bgp 65007
 bgp router-id 10.9.7.2
 no bgp ebgp-requires-policy
 timers bgp 3 9
 neighbor 10.9.7.1 remote-as 64512
 neighbor 10.9.7.1 timers connect 1
 address-family ipv4 unicast
  network 198.18.77.0/24
"""
SESSIONS = ("upstream", "second-vendor")


class Live:
    """The host, both its neighbours, the traffic, and an agent that is not installed yet."""

    def __init__(self, lab: Lab, *, fragment: bool) -> None:
        self.lab = lab
        self.far = lab.far_end(1, originate=("198.18.1.0/24",))
        self.far.host.add_address("lo", "198.18.1.1/24")
        frr = lab.namespace("frr")
        ends = {"near_addresses": ("10.9.7.1/24",), "far_addresses": ("10.9.7.2/24",)}
        lab.cable(HERE, "frr0", frr, "eth0", **ends)
        frr.add_address("lo", "198.18.77.1/24")
        HERE.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        text, drivers = HAND_MADE, {}
        self.fragment = lab.folder / "near" / "confsync.conf"
        if fragment:
            self.fragment.parent.mkdir()
            self.fragment.write_text("")
            text += f'include "{self.fragment}";\n'
            drivers = {"ownership": "fragment", "fragment_file": str(self.fragment)}
        self.near: Bird = lab.bird("near", text)
        self.frr = lab.keep(Frr(lab.folder / "frr", FRR, frr))
        self.near.wait_established(*SESSIONS)
        self.frr.wait_established("10.9.7.1")
        wait_until("both networks are reachable", lambda: len(HERE.routes()) >= 2)
        self.tree = lab.folder / "tree"
        self.tree.mkdir()
        settings = {
            "source": {"kind": "directory", "path": str(self.tree), "quiet_min_s": 0.2},
            "drivers": {
                "bird": {
                    "enabled": True,
                    "config_file": str(self.near.config),
                    "control_socket": str(self.near.socket),
                    "hold_s": 0.5,
                    **drivers,
                }
            },
            "http": {"listen": ""},
        }
        self.agent: Agent = lab.agent(settings, start=False)
        self.agent.write_settings()
        self.document: dict[str, Any] = {}
        args = (self.far.host, "198.18.1.1", frr, "198.18.77.1")
        self.traffic = lab.keep(Traffic(lab.folder / "traffic", *args))
        self.first = self.standing()

    def standing(self) -> Any:
        """Return what must not move: since when sessions stand, and the kernel's routes."""
        since = {name: one.since for name, one in self.near.sessions().items() if name in SESSIONS}
        return since, self.frr.resets("10.9.7.1"), HERE.routes()

    def standing_with(self, prefix: str) -> Any:
        """Return what must not move, beside one prefix that the kernel must have as well."""
        since, resets, routes = self.standing()
        del routes[prefix]
        return since, resets, routes

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [*self.agent.command(*words), "--config", str(self.agent.config)]
        return subprocess.run(
            argv, env=self.agent.env, capture_output=True, text=True, timeout=60, check=False
        )

    def publish(self) -> None:
        path = self.tree / "nodes" / "lab-edge-1" / "bgp.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(self.document))

    def wait(self, state: str, *, ended: int = 0) -> Any:
        """Wait for a state, with this many transactions behind it; return the status."""

        def there() -> Any:
            found = self.agent.get("/api/v1/node").json
            done = found["last_transaction"]["id"] if found["last_transaction"] else 0
            return found if found["state"] == state and done >= ended else None

        try:
            return wait_until(f"state {state}", there, timeout_s=40)
        except Exception as error:
            error.add_note(f"{json.dumps(self.agent.get('/api/v1/node').json)}\n{self.agent.log}")
            raise


@pytest.fixture(params=["whole", "fragment"])
def live(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Live]:
    with Lab(tmp_path_factory.mktemp("live")) as lab:
        yield Live(lab, fragment=request.param == "fragment")


def drafted(live: Live) -> dict[str, Any]:
    """Return the document that our own draft gives, as an operator would commit it."""
    done = live.run("adopt", "bird", "--draft")
    assert 0 == done.returncode, done.stdout + done.stderr
    document = yaml.safe_load(done.stdout)
    assert isinstance(document, dict)
    return document


def test_from_install_to_removal_nothing_is_lost(live: Live) -> None:
    hand_made = live.near.config.read_bytes()
    # Install: the agent looks, and writes nothing.
    live.document = drafted(live)
    live.publish()
    live.agent.start()
    live.wait("observing")
    assert (hand_made, live.first) == (live.near.config.read_bytes(), live.standing())

    # Adopt: the plan names what would change, adopting changes nothing; then the agent may write.
    assert 0 == live.run("agent", "pause", "--reason", "look first").returncode
    plan = live.run("adopt", "bird", "--plan")
    assert plan.returncode in (0, 2), plan.stdout + plan.stderr
    done = live.run("adopt", "bird")
    assert 0 == done.returncode, done.stdout + done.stderr
    live.wait("frozen")
    assert (hand_made, live.first) == (live.near.config.read_bytes(), live.standing())
    assert 0 == live.run("agent", "resume").returncode
    live.wait("in-sync")
    assert live.first == live.standing()

    # The first change, a hitless one: one more prefix, at both neighbours.
    live.document.setdefault("announce", {})["lab"] = "203.0.113.0/24"
    live.publish()
    wait_until("FRR learns the prefix", lambda: "203.0.113.0/24" in live.frr.routes())
    live.wait("in-sync", ended=1)
    assert live.first == live.standing_with("203.0.113.0/24")

    # A change that fails: a neighbour that is not there. Undone, and nobody else notices.
    ended = live.wait("in-sync")["last_transaction"]["id"]
    live.document.setdefault("peers", {})["ghost"] = {
        "ipv4": "10.9.1.77",
        "asn": 65077,
        "import": "none",
        "export": "none",
    }
    live.publish()
    status = live.wait("rolled-back", ended=ended + 1)
    assert "ghost" in status["reason"]
    assert live.first == live.standing_with("203.0.113.0/24")
    assert "203.0.113.0/24" in live.frr.routes()

    # Removal of the package, with its state: BIRD goes on, from its file as well.
    assert 0 == live.agent.terminate()
    shutil.rmtree(live.agent.state_dir)
    assert any("0003" in line or "0004" in line for line in live.near.ctl("configure"))
    assert live.first == live.standing_with("203.0.113.0/24")
    assert "203.0.113.0/24" in live.frr.routes()
    assert [] == live.traffic.end().lost


@pytest.mark.parametrize("live", ["whole"], indirect=True)
def test_a_first_plan_that_flaps_is_refused_unless_allowed_by_name(live: Live) -> None:
    live.document = drafted(live)
    peers = live.document["peers"]
    next(one for one in peers.values() if one["ipv4"] == "10.9.1.2")["hold_s"] = 33
    live.publish()
    done = live.run("adopt", "bird")
    told = done.stdout + done.stderr
    assert 75 == done.returncode, told
    assert "hold_s" in told
    assert "--allow" in told
    live.agent.start()
    live.wait("observing")
    assert live.first == live.standing()
    assert [] == live.traffic.end().lost
