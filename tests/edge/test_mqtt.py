from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from confsync.edge.mqtt import Mqtt, MqttSettings, cloud_event, ulid
from confsync.host.ring import DiskRing
from confsync.model import limits
from confsync.model.errors import BadSettings, Unreachable
from confsync.model.status import Event, EventType
from tests.lab.mosquitto import PORT, Listener, Mosquitto
from tests.lab.sites.tls import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.lab import Lab

pytestmark = pytest.mark.root

BASE = "confsync/v1/bgo/n1"
URL = f"mqtt://127.0.0.1:{PORT}"
SETTINGS = MqttSettings(url=URL)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MQTT_RETRY_MIN_S", 0.1)
    monkeypatch.setattr(limits, "MQTT_RETRY_MAX_S", 0.4)
    monkeypatch.setattr(limits, "MQTT_TICK_S", 0.05)


@pytest.fixture
def broker(lab: Lab) -> Mosquitto:
    return lab.keep(Mosquitto(lab.folder / "broker"))


@pytest.fixture
def listener(lab: Lab, broker: Mosquitto) -> Listener:
    return lab.keep(Listener(broker))


class Voice(Mqtt):
    """Our adapter as one run of an agent has it."""

    def __init__(self, lab: Lab, settings: MqttSettings = SETTINGS, boot: str = "6f0c") -> None:
        broker = settings.broker()
        assert broker
        ring = DiskRing(lab.folder / "mqtt.db", limits.MQTT_EVENTS)
        super().__init__(broker, "confsync/v1", ("bgo", "n1"), boot, lambda: "now", ring)

    async def state(self, **fields: Any) -> None:
        """Offer a state until it is taken."""
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.post({"state": "in-sync", **fields})
                except Unreachable:
                    await asyncio.sleep(0.05)
                else:
                    return


@asynccontextmanager
async def running(voice: Voice) -> AsyncIterator[Voice]:
    task = asyncio.create_task(voice.run())
    try:
        yield voice
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await voice.close()


async def until(what: str, holds: Callable[[], object], timeout_s: float = 20) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s, what
        await asyncio.sleep(0.02)


def event(number: int) -> Event:
    return Event(EventType.APPLY_COMMITTED, {"change": number, "took_s": 0.1})


async def test_presence_state_and_events(lab: Lab, listener: Listener) -> None:
    voice = Voice(lab)
    voice.emit(event(1))
    voice.emit(Event(EventType.STEP_DONE, {"driver": "bird"}))
    async with running(voice):
        await voice.state(seq=7)
        voice.emit(event(2))
        await until("both", lambda: len(listener.of("event/apply.committed")) == 2)
        online = listener.of("/online")[0].json
        assert {"online": True, "boot": "6f0c", "at": "now"} == online
    await until("it says that it goes", lambda: len(listener.of("/online")) == 2)
    assert {"online": False, "boot": "6f0c", "at": "now"} == listener.of("/online")[-1].json
    order = [message.topic.removeprefix(f"{BASE}/") for message in listener.messages]
    assert ["online", "state", *["event/apply.committed"] * 2, "online"] == order
    assert {"state": "in-sync", "seq": 7} == listener.of("/state")[0].json
    told = [message.json for message in listener.of("event/apply.committed")]
    assert ["1", "2"] == [one["subject"] for one in told]
    assert (2, 1) == (voice.stats.messages["event", "sent"], voice.stats.messages["state", "sent"])


async def test_presence_and_state_are_retained_and_events_are_not(
    lab: Lab, broker: Mosquitto
) -> None:
    voice = Voice(lab)
    async with running(voice):
        await voice.state()
        voice.emit(event(1))
        await until("it is sent", lambda: voice.stats.messages["event", "sent"])
        late = await asyncio.to_thread(Listener, broker)
        await until("the retained ones", lambda: len(late.messages) >= 2)
        assert {f"{BASE}/online", f"{BASE}/state"} == {one.topic for one in late.messages}
        assert all(one.retained for one in late.messages)
        late.close()


async def test_without_a_broker_events_wait_and_then_come_in_order_after_the_state(
    lab: Lab,
) -> None:
    voice = Voice(lab)
    async with running(voice):
        for number in range(100):
            voice.emit(event(number))
        await until("they are kept", lambda: voice.stats.queued == 100)
        assert "Connect call failed" in voice.stats.problem
        with pytest.raises(Unreachable, match="Connect call failed"):
            await voice.post({})
        broker = lab.keep(Mosquitto(lab.folder / "broker"))
        listener = lab.keep(await asyncio.to_thread(Listener, broker))
        await voice.state()
        await until("all", lambda: len(listener.of("committed")) == 100)
        assert list(range(100)) == [one.json["data"]["change"] for one in listener.of("committed")]
        first = next(i for i, one in enumerate(listener.messages) if "event" in one.topic)
        assert f"{BASE}/state" in {one.topic for one in listener.messages[:first]}
        await until("none waits", lambda: voice.stats.queued == 0)


async def test_events_outlive_the_agent_and_the_oldest_give_way(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MQTT_EVENTS", 20)
    first = Voice(lab)
    async with running(first):
        for number in range(50):
            first.emit(event(number))
            await asyncio.sleep(0)
    assert 30 == first.stats.messages["event", "dropped"]
    broker = lab.keep(Mosquitto(lab.folder / "broker"))
    listener = lab.keep(await asyncio.to_thread(Listener, broker))
    second = Voice(lab, boot="beef")
    async with running(second):
        await second.state()
        await until("all", lambda: len(listener.of("committed")) == 20)
    assert list(range(30, 50)) == [one.json["data"]["change"] for one in listener.of("committed")]


async def test_a_broker_that_is_killed_is_found_again(
    lab: Lab, broker: Mosquitto, listener: Listener
) -> None:
    del listener
    voice = Voice(lab)
    async with running(voice):
        await voice.state()
        broker.process.kill()
        await until("it is known", lambda: not voice.stats.connected, 5)
        voice.emit(event(1))
        broker.restart()
        listener = lab.keep(await asyncio.to_thread(Listener, broker))
        await voice.state()
        await until("the event", lambda: listener.of("committed"))
        assert voice.stats.reconnects
        assert "" == voice.stats.problem


async def test_a_broker_that_hangs_holds_up_nobody(
    lab: Lab, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MQTT_ANSWER_S", 1.0)
    voice = Voice(lab)
    async with running(voice):
        await voice.state()
        broker.process.stop()
        began_s = time.monotonic()
        for number in range(3000):
            voice.emit(event(number))
        assert time.monotonic() - began_s < 1, "emit does not wait"
        with pytest.raises(Unreachable):
            await voice.post({"state": "pending"})
        await until("it is known", lambda: not voice.stats.connected)
        assert 1 <= voice.stats.messages["state", "failed"]
        broker.process.cont()
        await voice.state()
        await until("the newest thousand", lambda: voice.stats.queued == 0, 30)
    assert 2000 <= voice.stats.messages["event", "dropped"] <= 2100


async def test_an_end_that_comes_together_with_an_answer_is_an_end(
    lab: Lab, broker: Mosquitto
) -> None:
    del broker
    for turn in range(20):
        voice = Voice(lab)
        task = asyncio.create_task(voice.run())
        await voice.state()
        for number in range(100):
            voice.emit(event(number))
        while voice.stats.messages["event", "sent"] <= 2 * turn:
            await asyncio.sleep(0)
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        if not done:
            task.cancel()
        assert done, f"turn {turn}"


SPEAKER = """
import asyncio, sys
from pathlib import Path
from confsync.edge.mqtt import Mqtt, MqttSettings
from confsync.host.ring import DiskRing
from confsync.model import limits
limits.MQTT_WILL_S = 2
broker = MqttSettings(url=sys.argv[1]).broker()
ring = DiskRing(Path(sys.argv[2]), 10)
voice = Mqtt(broker, "confsync/v1", ("bgo", "n1"), sys.argv[3], lambda: "now", ring)
asyncio.run(voice.run())
"""


async def test_a_will_tells_of_an_agent_that_died_and_of_which_run(
    lab: Lab, listener: Listener
) -> None:
    def speak(boot: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", SPEAKER, URL, str(lab.folder / "mqtt.db"), boot]
        return subprocess.Popen(argv)

    def said() -> list[tuple[str, bool]]:
        return [(one.json["boot"], one.json["online"]) for one in listener.of("/online")]

    first = speak("one")
    await until("the first", lambda: said() == [("one", True)])
    first.kill()
    second = speak("two")
    await until("the second", lambda: said()[-1] == ("two", True))
    await asyncio.sleep(4)
    assert [("one", True), ("two", True)] == said(), "one that is back at once is not told dead"
    second.kill()
    await until("the Will", lambda: said()[-1] == ("two", False))
    for one in (first, second):
        one.wait()


async def test_what_others_write_to_our_topics_is_not_heard(
    lab: Lab, broker: Mosquitto, listener: Listener
) -> None:
    del broker
    voice = Voice(lab)
    async with running(voice):
        await voice.state()
        await asyncio.to_thread(listener.publish, f"{BASE}/command", b"reboot")
        await asyncio.to_thread(listener.publish, f"{BASE}/state", b"x" * 10_000_000)
        voice.emit(event(1))
        await until("it goes on", lambda: listener.of("committed"))
        assert voice.stats.connected


async def test_who_may_not_is_told_why(lab: Lab) -> None:
    folder = lab.folder / "broker"
    lab.keep(Mosquitto(folder, ("allow_anonymous false",)))
    voice = Voice(lab)
    async with running(voice):
        await until("it is told", lambda: "uthori" in voice.stats.problem)


async def test_user_and_password_are_read_at_each_connection(lab: Lab) -> None:
    folder = lab.folder / "broker"
    folder.mkdir()
    passwords = folder / "passwords"
    lines = ("allow_anonymous false", f"password_file {passwords}")
    passwords.touch()
    broker = lab.keep(Mosquitto(folder, lines))
    secret = lab.folder / "secret"
    secret.write_text("wrong\n")
    voice = Voice(lab, MqttSettings(url=URL, username="n1", password_file=str(secret)))
    async with running(voice):
        await until("it is refused", lambda: "uthori" in voice.stats.problem)
        broker.password("n1", "right")
        broker.restart()
        secret.write_text("right\n")
        await voice.state()
        secret.unlink()
        broker.restart()
        await until("a file that is gone is told", lambda: "secret" in voice.stats.problem)


async def test_a_right_to_write_below_its_own_prefix_is_all_that_a_node_needs(lab: Lab) -> None:
    folder = lab.folder / "broker"
    folder.mkdir()
    (folder / "acl").write_text("topic read #\npattern write confsync/v1/bgo/%u/#\n")
    passwords = folder / "passwords"
    passwords.touch()
    lines = ("allow_anonymous true", f"password_file {passwords}", f"acl_file {folder / 'acl'}")
    broker = lab.keep(Mosquitto(folder, lines))
    broker.password("n1", "right")
    broker.restart()
    secret = lab.folder / "secret"
    secret.write_text("right\n")
    listener = lab.keep(await asyncio.to_thread(Listener, broker))
    voice = Voice(lab, MqttSettings(url=URL, username="n1", password_file=str(secret)))
    voice.emit(event(1))
    async with running(voice):
        await voice.state()
        await until("the event", lambda: listener.of("committed"))
    await until("it says that it goes", lambda: len(listener.messages) == 4)
    ends = [one.topic.rpartition("/")[2] for one in listener.messages]
    assert ["online", "state", "apply.committed", "online"] == ends


@pytest.fixture
def authority(lab: Lab) -> Authority:
    return Authority(lab.folder / "ca")


def tls_lines(authority: Authority) -> tuple[str, ...]:
    files = authority.server("bgo", "127.0.0.1")
    return (
        f"cafile {files['ca_file']}",
        f"certfile {files['cert_file']}",
        f"keyfile {files['key_file']}",
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
    )


async def test_tls_with_a_certificate_of_ours(lab: Lab, authority: Authority) -> None:
    lab.keep(Mosquitto(lab.folder / "broker", tls_lines(authority), port=8883))
    ours = authority.server("bgo", "127.0.0.1")
    settings = MqttSettings(url="mqtts://127.0.0.1", **ours)
    voice = Voice(lab, settings)
    async with running(voice):
        await voice.state()


async def test_a_broker_that_another_ca_signed_is_not_believed(
    lab: Lab, authority: Authority
) -> None:
    lab.keep(Mosquitto(lab.folder / "broker", tls_lines(authority), port=8883))
    other = Authority(lab.folder / "other")
    voice = Voice(lab, MqttSettings(url="mqtts://127.0.0.1", ca_file=str(other.ca)))
    async with running(voice):
        await until("it is told", lambda: "certificate" in voice.stats.problem.lower())
        assert not voice.stats.connected


async def test_a_network_that_swallows_everything_does_not_hold_up_the_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MQTT_CONNECT_S", 60.0)
    far = lab.far_end(1)
    far.host.run("ip", "link", "set", "eth0", "down")
    voice = Voice(lab, MqttSettings(url=f"mqtt://{far.far4}"))
    began_s = time.monotonic()
    async with running(voice):
        await asyncio.sleep(0.5)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - began_s < 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url": "tcp://x"}, "wanted mqtt://host:port"),
        ({"url": "mqtt://"}, "wanted mqtt://host:port"),
        ({"url": "mqtt://h:99999"}, "wanted mqtt://host:port"),
        ({"url": "mqtt://me:secret@h"}, "username and password_file"),
        ({"url": "mqtt://h/path"}, "wanted mqtt://host:port"),
        ({"url": "mqtt://h", "ca_file": "/x"}, "is not mqtts"),
        ({"url": "mqtt://h", "password_file": "/x"}, "username is not"),
        ({"url": "mqtts://h", "ca_file": "/none"}, "mqtt: certificates cannot be loaded"),
        ({"url": "mqtts://h", "key_file": "/none"}, "mqtt.key_file is set"),
    ],
)
def test_bad_settings(given: dict[str, str], told: str) -> None:
    with pytest.raises(BadSettings, match=re.escape(told)):
        MqttSettings(**given).broker()


def test_settings() -> None:
    assert MqttSettings().broker() is None
    plain = MqttSettings(url="mqtt://h").broker()
    sealed = MqttSettings(url="mqtts://h:1").broker()
    assert plain
    assert sealed
    assert ("h", 1883, None) == (plain.host, plain.port, plain.tls)
    assert ("h", 1) == (sealed.host, sealed.port)
    assert sealed.tls
    assert (ssl.CERT_REQUIRED, True) == (sealed.tls.verify_mode, sealed.tls.check_hostname)


def test_a_cloud_event() -> None:
    told = json.loads(cloud_event(event(7), "/confsync/bgo/n1", "2026-11-22T10:00:00Z"))
    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", told.pop("id"))
    assert {
        "specversion": "1.0",
        "source": "/confsync/bgo/n1",
        "type": "confsync.apply.committed",
        "subject": "7",
        "time": "2026-11-22T10:00:00Z",
        "datacontenttype": "application/json",
        "data": {"change": 7, "took_s": 0.1},
    } == told


def test_an_event_stays_small() -> None:
    raw = cloud_event(Event(EventType.APPLY_REFUSED, {"reason": "x" * 100_000}), "s", "now")
    assert len(raw) < 2 * limits.MQTT_TEXT_CHARS


def test_a_text_that_is_no_unicode_is_told_as_well_as_can_be() -> None:
    raw = cloud_event(Event(EventType.APPLY_REFUSED, {"reason": "caf\udce9"}), "s", "now")
    assert "caf?" == json.loads(raw)["data"]["reason"]


def test_identifiers_sort_by_time() -> None:
    first = ulid()
    time.sleep(0.002)
    assert first < ulid()


def test_path(tmp_path: Path) -> None:
    password = tmp_path / "p"
    password.write_text(" s3cret \n")
    broker = MqttSettings(url="mqtt://h", username="u", password_file=str(password)).broker()
    assert broker
    assert "s3cret" == broker.secret()
