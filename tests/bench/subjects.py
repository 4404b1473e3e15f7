"""What is compared: confsync, consul-template with `birdc configure`, and the floor."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from tests.bench.world import (
    CHANGE_S,
    POLL_S,
    Control,
    Operation,
    Speaker,
    assignment,
    network,
    publication,
    rendered,
    trees,
)
from tests.lab import Lab
from tests.lab.agent import ROOT, Agent, NotifySocket, Settings
from tests.lab.process import Process
from tests.lab.wait import wait_until

CONSUL = "127.0.0.1:8500"
MARKER, PREFIX = "0" * 32, "192.0.2.0/24"


class Subject(Protocol):
    """One way from a write in Consul to a BIRD that runs it."""

    name: str
    control: Control

    @property
    def pid(self) -> int:
        """The process that does it."""

    def operations(self, turn: int) -> list[Operation]:
        """Return the writes of one change."""

    def finished(self) -> float | None:
        """Wait until it vouches for the change; return when, or None if it never does."""

    def close(self) -> None:
        """End it."""


def settings_for(near: Speaker, consul: str = CONSUL) -> Settings:
    """Return the agent's settings of the bench: no hold-down, everything else as delivered."""
    bird = {
        "enabled": True,
        "config_file": str(near.near.config),
        "control_socket": str(near.near.socket),
        "hold_s": 0.0,
    }
    return {
        "source": {"consul": {"address": f"http://{consul}"}},
        "drivers": {"bird": bird},
        "http": {"listen": ""},
    }


class Confsync:
    """Our agent; it vouches for a change by its line in the log, stamped when it was written."""

    name = "confsync"

    def __init__(self, lab: Lab, speaker: Speaker, ear: NotifySocket) -> None:
        self.speaker = speaker
        self.agent: Agent = lab.agent(settings_for(speaker), start=False, env=ear.env)
        self._read_bytes = 0
        self.control = Control(speaker.near)

    @property
    def pid(self) -> int:
        return self.agent.pid

    def operations(self, turn: int) -> list[Operation]:
        self._read_bytes = self.agent.running.log.stat().st_size
        return publication(trees(self.speaker.number, network(turn)), turn)

    def finished(self) -> float | None:
        deadline = time.monotonic() + CHANGE_S
        while time.monotonic() < deadline:
            with self.agent.running.log.open("rb") as log:
                log.seek(self._read_bytes)
                lines = log.read().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n") and b'"apply.' in line:
                    record = json.loads(line)
                    assert record["event"] == "apply.committed", record
                    return datetime.fromisoformat(record["timestamp"]).timestamp()
            time.sleep(POLL_S)
        raise AssertionError(f"not committed: {self.agent.log[-2000:]}")

    def close(self) -> None:
        self.agent.terminate()


def template_of(number: int) -> str:
    """Return the file that we render, with the two places that a change fills."""
    text = rendered(number, PREFIX)
    first, _, rest = text.partition('define cs_render = "')
    rest = rest.partition('"')[2]
    return f'{first}define cs_render = "@change@"{rest}'.replace(PREFIX, "@change@")


def first_text(number: int) -> str:
    """Return a whole configuration for a BIRD before its first change."""
    return template_of(number).replace("@change@", PREFIX, 2)


class Template:
    """consul-template: the same file out of eleven keys, and `birdc configure`; it never looks."""

    name = "consul-template"
    change_key = "bench/template/change"

    def __init__(self, lab: Lab, speaker: Speaker, program: str) -> None:
        self.speaker = speaker
        self.control = Control(speaker.near)
        self._folder = lab.folder / "consul-template"
        self._folder.mkdir()
        self._program = program
        self._newest = network(0)
        self._runs: Process | None = None

    def keys(self) -> list[Operation]:
        """Return the writes that must be there before it starts."""
        addresses = {one: f"10.9.{self.speaker.number}.{one + 2}" for one in range(10)}
        peers = [
            assignment(f"bench/template/peers/p{one}", address.encode())
            for one, address in addresses.items()
        ]
        return [*peers, assignment(self.change_key, network(0).encode())]

    def start(self, consul: str = CONSUL) -> None:
        """Write template and settings and start it."""
        text = template_of(self.speaker.number)
        text = text.replace("@change@", f'{{{{ key "{self.change_key}" }}}}')
        for one in range(10):
            address = f"neighbor 10.9.{self.speaker.number}.{one + 2} as"
            assert address in text
            text = text.replace(address, f'neighbor {{{{ key "bench/template/peers/p{one}" }}}} as')
        source = self._folder / "bird.conf.ctmpl"
        source.write_text(text)
        near = self.speaker.near
        command = ["birdc", "-s", str(near.socket), "configure"]
        settings = self._folder / "settings.hcl"
        settings.write_text(
            f'consul {{ address = "{consul}" }}\nlog_level = "err"\n'
            f'template {{\n source = "{source}"\n destination = "{near.config}"\n'
            f" command = {json.dumps(command)}\n}}\n"
        )
        self._runs = Process([self._program, "-config", str(settings)], self._folder / "log")
        wait_until("its file runs", lambda: self._newest.encode() in self.control.marker())

    @property
    def pid(self) -> int:
        assert self._runs
        return self._runs.pid

    def operations(self, turn: int) -> list[Operation]:
        self._newest = network(turn)
        return [assignment(self.change_key, self._newest.encode())]

    def finished(self) -> float | None:
        return None

    def close(self) -> None:
        if self._runs:
            self._runs.kill()


class Floor:
    """The least that a Python program can do: wake, write, fsync, rename, `configure`."""

    name = "floor"
    change_key = "bench/floor/change"

    def __init__(self, lab: Lab, speaker: Speaker) -> None:
        self.speaker = speaker
        self.control = Control(speaker.near)
        self._folder: Path = lab.folder / "floor"
        self._folder.mkdir()
        self._runs: Process | None = None

    def keys(self) -> list[Operation]:
        """Return the writes that must be there before it starts."""
        return [assignment(self.change_key, network(0).encode())]

    def start(self) -> None:
        """Start it and wait for its first file."""
        source = self._folder / "bird.conf"
        source.write_text(template_of(self.speaker.number))
        near = self.speaker.near
        argv = [sys.executable, "-m", "tests.bench.floor", f"http://{CONSUL}", self.change_key]
        argv += [str(source), str(near.config), str(near.socket)]
        env: dict[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._runs = Process(argv, self._folder / "log", env=env)
        first = network(0).encode()
        wait_until("its first file runs", lambda: first in self.control.marker())

    @property
    def pid(self) -> int:
        assert self._runs
        return self._runs.pid

    def operations(self, turn: int) -> list[Operation]:
        return [assignment(self.change_key, network(turn).encode())]

    def finished(self) -> float | None:
        return None

    def close(self) -> None:
        if self._runs:
            self._runs.kill()
