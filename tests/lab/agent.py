"""The agent as a real process in a folder of its own, and a service manager that only listens."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lab.net import HERE, Host
from tests.lab.process import END_S, Process
from tests.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
READY_S = 30.0
Settings = dict[str, Any]


class Reply(NamedTuple):
    """An answer of the agent's socket."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Agent:
    """One agent; `settings` is what its agent.toml says, changed freely before `start`."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        host: Host = HERE,
    ) -> None:
        """Prepare its folder; `prefix` goes before the command, such as strace with its options."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.socket = folder / "agent.sock"
        self.config = folder / "agent.toml"
        self.state_dir = folder / "state"
        self.settings = merged(
            {
                "state_dir": str(self.state_dir),
                "http": {"socket": str(self.socket)},
                "pace": {"splay_s": 0},
            },
            settings,
        )
        self.program: tuple[str, ...] = ("confsync",)  # what `python -m` runs, with first words
        self.prefix = tuple(prefix)
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self._host = host
        self.process: Process | None = None

    def command(self, *words: str) -> list[str]:
        """Return the argv of our command line, as this agent's Python runs it."""
        return self._host.argv(*self.prefix, sys.executable, "-m", *self.program, *words)

    def write_settings(self) -> None:
        """Write agent.toml, and make its state folder."""
        self.config.write_text(toml(self.settings))
        self.state_dir.mkdir(mode=0o700, exist_ok=True)

    def start(self, *, wait: bool = True, timeout_s: float = READY_S) -> None:
        """Write agent.toml, start it and wait until it is ready or has ended."""
        self.write_settings()
        argv = self.command("agent", "run", "--config", str(self.config))
        self.process = Process(argv, self.folder / "agent.log", env=self.env)
        if wait:
            self.wait_ready(timeout_s)

    @property
    def running(self) -> Process:
        """The process of the last start (of the prefix, when there is one)."""
        assert self.process, "not started"
        return self.process

    @property
    def log(self) -> str:
        """All that it has logged, over every start."""
        return self.running.text

    @property
    def pid(self) -> int:
        """The agent's own process, also below a prefix that starts it as a child."""
        pid = self.running.pid
        if self.prefix:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pid = int(children[0]) if children else pid
        return pid

    def wait_for(self, path: str, status: int = 200, timeout_s: float = READY_S) -> Reply:
        """Wait until the socket answers a path with a status; an end of the agent is an error."""

        def answered() -> Reply | None:
            if (code := self.running.exit_code) is not None:
                raise LabError(f"the agent ended with {code}:\n{self.log[-4000:]}")
            reply = self.get(path)
            return reply if reply.status == status else None

        try:
            return wait_until(f"agent answers {path} with {status}", answered, timeout_s)
        except LabError as error:
            error.add_note(self.log[-4000:])
            raise

    def wait_ready(self, timeout_s: float = READY_S) -> Reply:
        """Wait until it is ready."""
        return self.wait_for("/readyz", 200, timeout_s)

    def get(self, path: str, timeout_s: float = 5) -> Reply:
        """GET from the agent's socket. Raises OSError when it does not answer."""
        return self.request("GET", path, timeout_s=timeout_s)

    def request(self, method: str, path: str, body: Any = None, timeout_s: float = 5) -> Reply:
        """Send one request to the agent's socket, the body as JSON."""
        connection = _UnixConnection(self.socket, timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, data, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.read())
        except http.client.HTTPException as error:
            raise ConnectionResetError(str(error)) from error
        finally:
            connection.close()

    def send(self, number: signal.Signals) -> None:
        """Signal the agent's own process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short: children stay, nothing is tidied."""
        if self.running.exit_code is None:
            self.send(signal.SIGKILL)
        self.running.wait()

    def terminate(self, timeout_s: float = END_S) -> int:
        """Ask it to end and return its exit code. Raises subprocess.TimeoutExpired."""
        if self.running.exit_code is None:
            self.send(signal.SIGTERM)
        return self.running.wait(timeout_s)

    def close(self) -> None:
        """Kill it, with its prefix; legal at any time."""
        if self.process:
            self.process.kill()


class Notice(NamedTuple):
    """One message of the agent to its service manager; `at` is monotonic."""

    at: float
    fields: dict[str, str]


class NotifySocket:
    """A service manager's ear: pass `env` to an Agent, read `notices`."""

    def __init__(self, folder: Path, watchdog_s: float = 0) -> None:
        """Listen on a socket in the folder."""
        path = folder / "notify.sock"
        self.notices: list[Notice] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path)}
        if watchdog_s:
            self.env["WATCHDOG_USEC"] = str(int(watchdog_s * 1_000_000))
        self._path = path
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._socket.recv(65536):
            lines = data.decode(errors="replace").splitlines()
            fields = dict(line.partition("=")[::2] for line in lines)
            self.notices.append(Notice(time.monotonic(), fields))

    def wait(self, name: str, value: str | None = None, timeout_s: float = READY_S) -> Notice:
        """Return the first notice with this field (and value), waiting for it."""

        def heard() -> Notice | None:
            return next(
                (
                    one
                    for one in tuple(self.notices)
                    if name in one.fields and value in (None, one.fields[name])
                ),
                None,
            )

        return wait_until(f"notice {name}={value or '*'}", heard, timeout_s)

    def close(self) -> None:
        """Stop listening."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"", str(self._path))
        self._thread.join()
        self._socket.close()


def merged(base: Settings, over: Settings) -> Settings:
    """Return both, tables merged, the second winning."""
    both = dict(base)
    for name, value in over.items():
        under = both.get(name)
        both[name] = (
            merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
        )
    return both


def toml(table: Settings, path: tuple[str, ...] = ()) -> str:
    """Return plain settings (tables, lists, strings, numbers, booleans) as TOML."""
    own = {name: value for name, value in table.items() if not isinstance(value, dict)}
    inner = {name: value for name, value in table.items() if isinstance(value, dict)}
    lines = [f"[{'.'.join(path)}]"] if path else []
    # JSON's scalars and lists are TOML's; keys that are not bare words are quoted.
    lines += [f"{_toml_key(name)} = {json.dumps(value)}" for name, value in own.items()]
    tables = [toml(value, (*path, _toml_key(name))) for name, value in inner.items()]
    return "\n".join([*lines, *tables]) + "\n"


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
