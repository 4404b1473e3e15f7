"""Services under a supervisor, for machines that were not booted with systemd.

Separate because it lives in the test's process: the program `systemctl` only asks it. States,
properties and their order, texts and exit codes are those of systemd 252 for `Type=simple` and
`Restart=always`; tests/contract/test_units.py holds both to the same. What is not: one process
group stands for the control group, and a unit's file counts as read with each start.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

CLEAN = {-signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT, -signal.SIGPIPE}
LOOK_S = 0.01
EXEC_FAILED = 203


class State(Enum):
    """ActiveState and SubState."""

    DEAD = ("inactive", "dead")
    RUNNING = ("active", "running")
    WAITING = ("activating", "auto-restart")
    STOPPING = ("deactivating", "stop-sigterm")
    FAILED = ("failed", "failed")


@dataclass(frozen=True)
class Unit:
    """What a unit's file says; units: seconds. Its environment file may be missing."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_file: Path | None = None
    restart_s: float = 0.1
    stop_timeout_s: float = 5.0
    start_limit_burst: int = 5
    start_limit_interval_s: float = 10.0

    @property
    def text(self) -> str:
        """The file as systemd reads it; no argument may hold blanks."""
        lines = ["[Unit]", f"StartLimitBurst={self.start_limit_burst}"]
        lines += [f"StartLimitIntervalSec={self.start_limit_interval_s}", "[Service]"]
        lines += [f"ExecStart={' '.join(self.argv)}", "Restart=always"]
        lines += [f"RestartSec={self.restart_s}", f"TimeoutStopSec={self.stop_timeout_s}"]
        lines += [f"Environment={name}={text}" for name, text in self.environment.items()]
        if self.environment_file:
            lines.append(f"EnvironmentFile=-{self.environment_file}")
        return "\n".join(lines) + "\n"

    def read_environment(self) -> dict[str, str]:
        """Return what the process gets of its own, the file above the unit."""
        found = dict(self.environment)
        if self.environment_file and self.environment_file.exists():
            for line in self.environment_file.read_text().splitlines():
                name, sign, text = line.strip().partition("=")
                if sign and name[0] not in "#;":
                    found[name.strip()] = text.strip().strip("\"'")
        return found


class Service:
    """One unit's life; only the supervisor's thread changes it.

    `properties` are what `show` tells, in systemd's own order.
    """

    def __init__(self, unit: Unit, path: Path, log: Path) -> None:
        """Load it; nothing runs."""
        self.unit, self.path = unit, path
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._due_s = 0.0
        self._starts_s: list[float] = []
        self._rest(State.DEAD)

    def start(self) -> bool:
        """Start it unless it runs; False when that failed. One that waits keeps its time."""
        if self._state is State.WAITING:
            time.sleep(max(0, self._due_s - time.monotonic()))
            self.look()
        elif self._state is not State.RUNNING:
            self._restarts = 0
            self._start()
        return self._state is State.RUNNING

    def restart(self) -> bool:
        """Stop it and start it, and count restarts from zero; False when that failed."""
        self.stop()
        return self.start()

    def stop(self) -> None:
        """End its process, by force when it takes too long, and leave it ended."""
        self.look()
        if self._state is State.WAITING:
            self._rest(State.DEAD)
        elif self._state is State.RUNNING and self._process:
            self._tell(State.STOPPING)
            timed_out = self._end(self._process)
            self._note(self._process.returncode, timed_out=timed_out)
            if self._result == "success":
                self._rest(State.DEAD)
            else:
                self._tell(State.FAILED)

    def reset_failed(self) -> bool:
        """Forget a failure and the starts that were counted; False when nothing was kept."""
        kept = self._state is not State.DEAD
        self.forget_starts()
        if self._state is State.FAILED:
            self._rest(State.DEAD)
        return kept

    def forget_starts(self) -> None:
        """Count starts anew, as after a reload of the manager."""
        self._starts_s = []

    def look(self) -> None:
        """Notice an end, and restart what is due."""
        if self._state is State.RUNNING and self._process:
            code = self._process.poll()
            if code is not None:
                self._signal(signal.SIGKILL)
                self._note(code)
                self._due_s = time.monotonic() + self.unit.restart_s
                self._tell(State.WAITING)
        elif self._state is State.WAITING and time.monotonic() >= self._due_s:
            self._restarts += 1
            self._start()

    def _rest(self, state: State) -> None:
        """Forget the last run: systemd unloads a unit that is dead and well."""
        self._result, self._status, self._restarts = "success", 0, 0
        self._tell(state)

    def _tell(self, state: State) -> None:
        self._state = state
        runs = self._process and state in {State.RUNNING, State.STOPPING}
        self.properties = {
            "MainPID": str(self._process.pid if self._process and runs else 0),
            "Result": self._result,
            "NRestarts": str(self._restarts),
            "ExecMainStatus": str(self._status),
            "LoadState": "loaded",
            "ActiveState": state.value[0],
            "SubState": state.value[1],
            "FragmentPath": str(self.path),
        }

    def _start(self) -> None:
        now_s, interval_s = time.monotonic(), self.unit.start_limit_interval_s
        self._starts_s = [one for one in self._starts_s if now_s - one < interval_s]
        if interval_s > 0 and len(self._starts_s) >= self.unit.start_limit_burst:
            self._result = self._result if self._result != "success" else "start-limit-hit"
            self._tell(State.FAILED)
            return
        self._starts_s.append(now_s)
        self._result, self._status = "success", 0
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.unit.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | self.unit.read_environment(),
                start_new_session=True,
            )
        self._tell(State.RUNNING)

    def _end(self, process: subprocess.Popen[bytes]) -> bool:
        """End it; True when it took force."""
        self._signal(signal.SIGTERM)
        try:
            process.wait(self.unit.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            process.wait()
            return True
        self._signal(signal.SIGKILL)
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _note(self, code: int, *, timed_out: bool = False) -> None:
        if not os.access(self.unit.argv[0], os.X_OK):
            code = EXEC_FAILED
        self._status = abs(code)
        if timed_out:
            self._result = "timeout"
        elif code == 0 or code in CLEAN:
            self._result = "success"
        else:
            self._result = "exit-code" if code > 0 else "signal"


class Supervisor:
    """Looks after services in a thread of the test's process, in which all of them are started.

    The kernel ends what a thread started when that thread ends.
    """

    def __init__(self, folder: Path) -> None:
        """Begin to look; `folder` gets units and logs."""
        self.services: dict[str, Service] = {}
        self._folder = folder
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, name: str, argv: Sequence[str], **what: Any) -> Service:
        """Load a unit from now on (see Unit for what it may say); it does not run."""
        unit = Unit(name, tuple(argv), **what)
        path = self._folder / name
        path.write_text(unit.text)
        self.services[name] = Service(unit, path, self._folder / f"{name}.log")
        return self.services[name]

    def do(self, work: Callable[[], T]) -> T:
        """Do something to services in their thread; returns what it returns."""
        done: Future[T] = Future()
        self._jobs.put(lambda: done.set_result(work()))
        return done.result()

    def close(self) -> None:
        """End all services and stop looking."""
        for service in self.services.values():
            self.do(service.stop)
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=LOOK_S)
            except queue.Empty:
                job = _nothing
            if job is None:
                return
            job()
            for service in list(self.services.values()):
                service.look()


def _nothing() -> None:
    """Fill a turn without a job."""
