"""Status and events for whoever subscribes, through an MQTT broker.

Separate because everything here may be away for hours: an event is put into memory and returned
from, a state is offered and given up. Nothing is subscribed to: there are no orders over MQTT.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import secrets
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import BaseModel, ConfigDict

from confsync.edge.endpoint import tls_context
from confsync.model import limits
from confsync.model.errors import BadSettings, Unreachable
from confsync.model.ids import Json, canonical
from confsync.model.status import LOCAL, Event

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
T = TypeVar("T")


class MqttSettings(BaseModel):
    """The settings under ``[mqtt]``; an empty `url` = off."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password_file: str = ""

    def broker(self) -> Broker | None:
        """Return whom to talk to, None = nobody. Raises BadSettings."""
        if not self.url:
            return None
        parts = urlsplit(self.url)
        try:
            port = parts.port or PORTS[parts.scheme]
        except (KeyError, ValueError):
            port = 0
        if not port or not parts.hostname or parts.path not in {"", "/"} or parts.username:
            raise BadSettings(
                f"mqtt.url {self.url!r}: wanted mqtt://host:port or mqtts://host:port; a name and "
                f"a password are settings of their own, username and password_file"
            )
        files = (self.ca_file, self.cert_file, self.key_file)
        if parts.scheme == "mqtt" and any(files):
            raise BadSettings(f"mqtt: certificates are set, but {self.url!r} is not mqtts")
        if self.password_file and not self.username:
            raise BadSettings("mqtt.password_file is set, but username is not")
        tls = tls_context("mqtt", *files) if parts.scheme == "mqtts" else None
        password = Path(self.password_file) if self.password_file else None
        return Broker(parts.hostname, port, tls, self.username or None, password)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and who we are there; the password is read at each connection."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: Path | None = None

    def secret(self) -> str | None:
        """Return the password. Raises OSError, ValueError."""
        if self.password is None:
            return None
        with self.password.open("rb") as file:
            return file.read(limits.MQTT_PASSWORD_BYTES).decode().strip()


class Ring(Protocol):
    """Where events wait; bounded, in order, and nothing raises."""

    lost: int

    def put(self, messages: list[tuple[str, bytes]]) -> None:
        """Add messages."""

    def oldest(self, count: int) -> list[tuple[int, str, bytes]]:
        """Return the oldest messages with their numbers."""

    def taken(self, number: int) -> None:
        """Forget a message and all before it."""

    def __len__(self) -> int: ...


@dataclass(slots=True)
class MqttStats:
    """What happened so far: `messages` counts by (kind, result); `problem` is empty while up."""

    connected: bool = False
    reconnects: int = 0
    queued: int = 0
    problem: str = "not connected yet"
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)


class Mqtt:
    """One node's voice: its presence, its state, its events; topics below ``PREFIX/SITE/NODE``."""

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        node: tuple[str, str],
        boot: str,
        wall: Callable[[], str],
        ring: Ring,
    ) -> None:
        self._broker = broker
        self._topic = "/".join((prefix, *node))
        self._name = "-".join(("confsync", *node))
        self._source = "/".join(("/confsync", *node))
        self._boot = boot
        self._wall = wall
        self._ring = ring
        self._fresh: deque[tuple[str, bytes]] = deque(maxlen=limits.MQTT_EVENTS)
        self._crowded_out = 0
        self._disk = asyncio.Lock()
        self._news = asyncio.Event()
        self._told = asyncio.Event()
        self._client: aiomqtt.Client | None = None
        self.stats = MqttStats()

    # --- what others hand over; neither waits for the broker

    def emit(self, event: Event) -> None:
        """Keep an event for the broker; never waits, never raises."""
        if event.type in LOCAL:
            return
        self._crowded_out += len(self._fresh) == self._fresh.maxlen
        content = cloud_event(event, self._source, self._wall())
        self._fresh.append((f"{self._topic}/event/{event.type}", content))
        self._news.set()

    async def post(self, report: Json) -> None:
        """Publish the state, retained. Raises Unreachable."""
        client = self._client
        if client is None:
            raise Unreachable(f"the broker: {self.stats.problem}")
        content = canonical(report)
        try:
            await self._publish(client, "state", content, expiry_s=limits.MQTT_STATE_S)
        except aiomqtt.MqttError as fault:
            self.stats.messages["state", "failed"] += 1
            raise Unreachable(f"the broker: {fault}") from fault
        self._told.set()

    # --- the connection

    async def run(self) -> None:
        """Keep events, and keep connected, for ever."""
        keeping = asyncio.get_running_loop().create_task(self._keep())
        try:
            await self._connect()
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def close(self) -> None:
        """Write down what is still in memory; may be done again."""
        await self._store()

    async def _connect(self) -> None:
        loop, ceiling_s = asyncio.get_running_loop(), limits.MQTT_RETRY_MIN_S
        while True:
            began_s = loop.time()
            try:
                async with self._connected() as client:
                    await self._speak(client)
            except Exception as fault:  # noqa: BLE001  # whatever a broker does ends nobody
                self.stats.problem = str(fault) or type(fault).__name__
            if _cancelled():
                return
            self.stats.reconnects += 1
            if loop.time() - began_s > limits.MQTT_RETRY_MAX_S:
                ceiling_s = limits.MQTT_RETRY_MIN_S
            await asyncio.sleep(random.uniform(ceiling_s / 2, ceiling_s))  # noqa: S311
            ceiling_s = min(2 * ceiling_s, limits.MQTT_RETRY_MAX_S)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiomqtt.Client]:
        """Connect; at the end say that we go, since no Will is sent then.

        Why the session outlives the connection: a Will is sent when the session ends, so that one
        without a life of its own would tell of every flap.
        """
        broker, since = self._broker, self._wall()
        await _reach(broker)
        will = aiomqtt.Will(
            f"{self._topic}/online", self._presence(since, online=False), 1, True,
            _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=limits.MQTT_WILL_S),
        )  # fmt: skip
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.secret(),
            identifier=self._name,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=will,
            clean_start=False,
            properties=_properties(PacketTypes.CONNECT, SessionExpiryInterval=limits.MQTT_WILL_S),
            timeout=limits.MQTT_ANSWER_S,
            keepalive=limits.MQTT_KEEPALIVE_S,
            tls_context=broker.tls,
            max_queued_incoming_messages=1,
        )
        async with client:
            try:
                await self._publish(client, "online", self._presence(since, online=True))
                self._client, self.stats.connected, self.stats.problem = client, True, ""
                yield client
            finally:
                self._client, self.stats.connected = None, False
                self._told.clear()
                client.timeout = limits.MQTT_BYE_S
                with suppress(aiomqtt.MqttError):
                    await self._publish(client, "online", self._presence(since, online=False))

    async def _speak(self, client: aiomqtt.Client) -> None:
        """Publish what waits, after the state is told; ends with the connection. Raises MqttError.

        Why somebody listens: a connection that is lost in silence is told to a listener only.
        """
        listening = asyncio.get_running_loop().create_task(_listen(client))
        try:
            while not listening.done() and not _cancelled():
                if self._told.is_set():
                    await self._drain(client)
                await asyncio.wait({listening}, timeout=limits.MQTT_TICK_S)
            if listening.done():
                listening.result()
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await listening

    async def _drain(self, client: aiomqtt.Client) -> None:
        while waiting := await self._on_disk(self._ring.oldest, limits.MQTT_BATCH):
            for _, topic, content in waiting:
                await _hand_over(client, topic, content)
                self.stats.messages["event", "sent"] += 1
            await self._on_disk(self._ring.taken, waiting[-1][0])
            self.stats.queued = await self._on_disk(len, self._ring)

    async def _keep(self) -> None:
        """Write events down as they come, a burst at once."""
        while True:
            await self._news.wait()
            await self._store()

    async def _store(self) -> None:
        self._news.clear()
        fresh = list(self._fresh)
        self._fresh.clear()
        if fresh:
            await self._on_disk(self._ring.put, fresh)
            self.stats.queued = await self._on_disk(len, self._ring)
        self.stats.messages["event", "dropped"] = self._crowded_out + self._ring.lost

    async def _on_disk(self, act: Callable[..., T], *words: object) -> T:
        """Do one thing at a time with the ring, in a thread, to its end: it cannot be stopped."""
        async with self._disk:
            work = asyncio.ensure_future(asyncio.to_thread(act, *words))
            try:
                return await asyncio.shield(work)
            finally:
                await asyncio.wait({work})

    async def _publish(
        self, client: aiomqtt.Client, part: str, content: bytes, *, expiry_s: int = 0
    ) -> None:
        expiry = {"MessageExpiryInterval": expiry_s} if expiry_s else {}
        properties = _properties(PacketTypes.PUBLISH, **expiry)
        await _hand_over(client, f"{self._topic}/{part}", content, properties)
        self.stats.messages[part, "sent"] += 1

    def _presence(self, since: str, *, online: bool) -> bytes:
        return canonical({"online": online, "boot": self._boot, "at": since})


async def _reach(broker: Broker) -> None:
    """Connect and leave again. Raises OSError, which says what is wrong better than paho does.

    Why: paho connects in a thread, and one that waits for a network that swallows everything, or
    for a handshake that fails, would hold up our end and leak its socket.
    """
    async with asyncio.timeout(limits.MQTT_CONNECT_S):
        _, writer = await asyncio.open_connection(broker.host, broker.port, ssl=broker.tls)
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _hand_over(
    client: aiomqtt.Client, topic: str, content: bytes, retained: Properties | None = None
) -> None:
    """Publish, retained if that has properties, and wait for the broker's word. Raises MqttError.

    Why not its own timeout: `asyncio.wait_for` of Python 3.11 forgets a cancellation that comes
    together with the answer, and we would go on for ever.
    """
    retain = retained is not None
    try:
        async with asyncio.timeout(client.timeout):
            await client.publish(topic, content, 1, retain, retained, timeout=math.inf)
    except TimeoutError:
        raise aiomqtt.MqttError("the broker does not answer") from None


def _cancelled() -> bool:
    """Tell whether we were asked to end; aiomqtt's connect may have forgotten it, as above."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _listen(client: aiomqtt.Client) -> None:
    """Wait for the end of a connection; whatever a broker sends unasked is dropped."""
    async for _ in client.messages:
        pass


def cloud_event(event: Event, source: str, at: str) -> bytes:
    """Return an event as structured JSON. Source: CloudEvents 1.0."""
    change = event.fields.get("change")
    subject = {} if change is None else {"subject": str(change)}
    record = {
        "specversion": "1.0",
        "id": ulid(),
        "source": source,
        "type": f"confsync.{event.type}",
        **subject,
        "time": at,
        "datacontenttype": "application/json",
        "data": _bounded(event.fields),
    }
    return json.dumps(record, ensure_ascii=False, default=str).encode(errors="replace")


def _bounded(fields: Mapping[str, Json]) -> Json:
    """Return fields whose texts fit: a reason may quote a whole answer."""
    cut = limits.MQTT_TEXT_CHARS
    return {
        name: value[:cut] if isinstance(value, str) else value for name, value in fields.items()
    }


def ulid() -> str:
    """Return an identifier that sorts by its time. Source: the ULID specification."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def _properties(kind: int, **values: int) -> Properties:
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
