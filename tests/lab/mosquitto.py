"""A real Mosquitto on loopback, and somebody who listens to all that it is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import paho.mqtt.client as paho

from tests.lab.net import HERE, Host
from tests.lab.process import Process
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from pathlib import Path

BINARY = "/usr/sbin/mosquitto"
PORT = 1883


class Message(NamedTuple):
    """One message; `at_s` is the monotonic clock when it came."""

    topic: str
    text: str
    retained: bool
    at_s: float

    @property
    def json(self) -> Any:
        """The text parsed."""
        return json.loads(self.text)


class Mosquitto:
    """A broker; `lines` are of its configuration, without any it lets everybody in."""

    def __init__(
        self,
        folder: Path,
        lines: Sequence[str] = ("allow_anonymous true",),
        *,
        port: int = PORT,
        host: Host = HERE,
    ) -> None:
        """Start it; does not wait."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.host = port, host
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        common = (f"listener {port} 127.0.0.1", "log_type all", "user root")
        self._config.write_text("\n".join([*common, *lines]) + "\n")
        self.process = self._start()

    def _start(self) -> Process:
        argv = self.host.argv(BINARY, "-c", str(self._config))
        return Process(argv, self._folder / "mosquitto.log")

    def restart(self) -> None:
        """Kill it if it runs, and start it anew: what was retained is gone."""
        self.process.kill()
        self.process = self._start()

    def password(self, user: str, secret: str) -> Path:
        """Make a password file with one user, to be named by `password_file`."""
        path = self._folder / "passwords"
        argv = ["mosquitto_passwd", "-b", "-c", str(path), user, secret]
        subprocess.run(argv, check=True, capture_output=True)
        return path

    def close(self) -> None:
        """Kill it and drop its files but the log."""
        self.process.kill()
        shutil.rmtree(self._folder / "data", ignore_errors=True)


class Listener:
    """Subscribes to everything and keeps it, in order."""

    def __init__(self, broker: Mosquitto, *, tls: ssl.SSLContext | None = None) -> None:
        """Connect, again and again until it may."""
        self.messages: list[Message] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="listener", protocol=paho.MQTTv5
        )
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda *words: self._keep(words[2])
        self._client.reconnect_delay_set(1, 1)
        if tls:
            self._client.tls_set_context(tls)
        wait_until("the broker listens", lambda: self._connected(broker.port), every_s=0.05)
        self._client.loop_start()
        assert self._subscribed.wait(10), "the broker let us subscribe"

    def _connected(self, port: int) -> bool:
        return self._client.connect("127.0.0.1", port) == paho.MQTT_ERR_SUCCESS

    def _keep(self, message: paho.MQTTMessage) -> None:
        text = message.payload.decode()
        self.messages.append(Message(message.topic, text, message.retain, time.monotonic()))

    def of(self, end: str) -> list[Message]:
        """Return the messages whose topic ends so, or holds `event/` and that."""
        return [one for one in self.messages if one.topic.endswith(end)]

    def publish(self, topic: str, content: bytes) -> None:
        """Publish, retained."""
        self._client.publish(topic, content, 1, retain=True).wait_for_publish(10)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
