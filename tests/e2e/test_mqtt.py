"""A host with a broker, without one, and with one that hangs: its changes go on all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.mosquitto import PORT, Listener, Mosquitto
from tests.lab.site import Site
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

BASE = "confsync/v1/lab/lab-edge-1"
URL = f"mqtt://127.0.0.1:{PORT}"


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site(lab, consul=False, bfd=False, settings={"mqtt": {"url": URL}})


def change(site: Site, number: int) -> None:
    """Apply one more document."""
    before = site.status()["applied"]
    site.write(site.document(announce={"one": f"198.51.{number}.0/24"}))
    site.agent.request("POST", "/v1/apply", {}, timeout_s=60)
    wait_until("it is applied", lambda: site.status()["applied"] != before)


def committed(listener: Listener) -> list[Any]:
    return [one.json["data"]["revision"] for one in listener.of("event/apply.committed")]


def metric(site: Site, name: str) -> float:
    text = site.agent.get("/metrics").body.decode()
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name)))


def test_state_and_events_travel(lab: Lab, site: Site) -> None:
    broker = lab.keep(Mosquitto(lab.folder / "broker"))
    listener = lab.keep(Listener(broker))
    site.start()
    wait_until("state", lambda: [m for m in listener.of("/state") if m.json["state"] == "in-sync"])
    change(site, 1)
    wait_until("two changes", lambda: len(committed(listener)) == 2)
    assert {f"{BASE}/online", f"{BASE}/state"} <= {one.topic for one in listener.messages}
    boots = {one.json["boot"] for one in (*listener.of("/online"), *listener.of("/state"))}
    assert 1 == len(boots)
    assert (1, 1) == (metric(site, "confsync_mqtt_connected"), site.status()["broker"] == "")
    assert b"[+]mqtt ok" in site.agent.get("/readyz?verbose").body
    assert not [one for one in listener.messages if "198.51.1.0" in one.text], "no values"
    site.agent.terminate()
    wait_until("it says that it goes", lambda: not listener.of("/online")[-1].json["online"])


def test_without_a_broker_changes_go_on_and_are_told_later_in_order(lab: Lab, site: Site) -> None:
    site.start()
    for number in range(1, 4):
        change(site, number)
    assert b"[+]mqtt warn" in site.agent.get("/readyz?verbose").body
    assert 200 == site.agent.get("/readyz").status
    broker = lab.keep(Mosquitto(lab.folder / "broker"))
    listener = lab.keep(Listener(broker))
    wait_until("all four", lambda: len(committed(listener)) == 4, 90)
    first_event = next(n for n, one in enumerate(listener.messages) if "/event/" in one.topic)
    before = [one.topic for one in listener.messages[:first_event]]
    assert [f"{BASE}/online", f"{BASE}/state"] == before


def test_with_a_broker_that_hangs_changes_go_on(lab: Lab, site: Site) -> None:
    broker = lab.keep(Mosquitto(lab.folder / "broker"))
    listener = lab.keep(Listener(broker))
    site.start()
    wait_until("it is told", lambda: committed(listener))
    broker.process.stop()
    for number in range(1, 4):
        change(site, number)
    broker.process.cont()
    wait_until("all four", lambda: len(set(committed(listener))) == 4, 120)


def test_an_agent_with_a_broker_that_hangs_ends_in_good_order(lab: Lab, site: Site) -> None:
    broker = lab.keep(Mosquitto(lab.folder / "broker"))
    listener = lab.keep(Listener(broker))
    site.start()
    wait_until("it is told", lambda: committed(listener))
    broker.process.stop()
    site.agent.terminate()
    assert site.agent.running.exit_code == 0
