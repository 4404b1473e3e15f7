"""A supervisor with a `systemctl`: what that program is answered on its words.

Separate because it knows words and texts, and a supervisor (units.py) what becomes of processes.

Source: the texts and exit codes of systemd 252, as tests/contract/test_units.py sees them.
"""

from __future__ import annotations

import getopt
import json
import shutil
import socketserver
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lab.calico import write_program
from tests.lab.calico.units import Service, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOT_FOUND = {
    "MainPID": "0",
    "Result": "success",
    "NRestarts": "0",
    "ExecMainStatus": "0",
    "LoadState": "not-found",
    "ActiveState": "inactive",
    "SubState": "dead",
    "FragmentPath": "",
}
REASONS = {
    "exit-code": "the control process exited with error code",
    "signal": "a fatal signal was delivered to the control process",
    "timeout": "a timeout was exceeded",
}
FLAGS = ["no-pager", "quiet", "no-ask-password", "system", "value", "property=", "no-block"]


class Answer(NamedTuple):
    """What the program does."""

    code: int
    out: str = ""
    err: str = ""


class Units:
    """A supervisor with a `systemctl` of its own, whose path is `program`.

    `unreachable` lets the program find no manager; `hang` lets it never answer; `latency_s` delays
    it. `calls` are the words of each call.
    """

    def __init__(self, folder: Path) -> None:
        """Make the program and begin to answer it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.unreachable = self.hang = False
        self.latency_s = 0.0
        self.calls: list[list[str]] = []
        self.supervisor = Supervisor(folder)
        self._sockets = Path(tempfile.mkdtemp(prefix="units"))  # a socket's path must be short
        self._server = _serve(self._sockets / "manager", self._answer)
        self.program = write_program(folder / "systemctl", "systemctl", self._sockets / "manager")

    def add(self, name: str, argv: Sequence[str], **what: Any) -> Service:
        """Load a unit `NAME.service` (see Unit for what it may say); it does not run."""
        return self.supervisor.add(name, argv, **what)

    def properties(self, name: str) -> dict[str, str]:
        """Return what `show` would tell of a unit."""
        return self.supervisor.services[name].properties

    def close(self) -> None:
        """End all: services, answers, files of the way to them."""
        self.hang = False
        self._server.shutdown()
        self._server.server_close()
        self.supervisor.close()
        shutil.rmtree(self._sockets)

    def _answer(self, argv: list[str]) -> Answer:
        self.calls.append(argv)
        time.sleep(self.latency_s)
        while self.hang:
            time.sleep(0.01)
        if self.unreachable:
            return Answer(1, err="Failed to connect to bus: No such file or directory\n")
        return answer(self.supervisor, argv)


def answer(supervisor: Supervisor, argv: Sequence[str]) -> Answer:
    """Return what the program does on these words, and do it."""
    services = supervisor.services
    try:
        options, words = getopt.gnu_getopt(list(argv), "p:P:q", FLAGS)
    except getopt.GetoptError as error:
        return Answer(1, err=f"systemctl: unrecognized option '--{error.opt}'\n")
    verb, names = (words[0], words[1:]) if words else ("", [])
    names = [name if "." in name else f"{name}.service" for name in names]
    if verb == "daemon-reload":
        for service in services.values():
            service.forget_starts()
        return Answer(0)
    if verb == "show":
        return _show(services, names, options)
    if verb in {"is-active", "is-failed"}:
        wanted = verb.removeprefix("is-")
        states = [_of(services, name)["ActiveState"] for name in names]
        code = 0 if wanted in states else {"active": 3, "failed": 1}[wanted]
        return Answer(code, "".join(f"{state}\n" for state in states))
    if verb not in {"start", "stop", "restart", "reset-failed"}:
        return Answer(1, err=f"Unknown command verb {verb}.\n")
    if not names:
        return Answer(1, err="Too few arguments.\n")
    done = [_job(supervisor, verb, name) for name in names]
    return Answer(max(one.code for one in done), err="".join(one.err for one in done))


def _of(services: dict[str, Service], name: str) -> dict[str, str]:
    return services[name].properties if name in services else NOT_FOUND


def _show(services: dict[str, Service], names: list[str], options: list[tuple[str, str]]) -> Answer:
    wanted = {
        one
        for option, text in options
        if option in {"-p", "-P", "--property"}
        for one in text.split(",")
    }
    bare = any(option in {"-P", "--value"} for option, _ in options)
    blocks = []
    for name in names:
        held = _of(services, name).items()
        shown = [(one, text) for one, text in held if not wanted or one in wanted]
        blocks.append("".join(f"{text}\n" if bare else f"{one}={text}\n" for one, text in shown))
    return Answer(0, "\n".join(blocks))


def _job(supervisor: Supervisor, verb: str, name: str) -> Answer:
    service = supervisor.services.get(name)
    if verb == "reset-failed":
        if service and supervisor.do(service.reset_failed):
            return Answer(0)
        text = f"Failed to reset failed state of unit {name}: Unit {name} not loaded.\n"
        return Answer(1, err=text)
    if service is None:
        word = "loaded" if verb == "stop" else "found"
        return Answer(5, err=f"Failed to {verb} {name}: Unit {name} not {word}.\n")
    if verb == "stop":
        supervisor.do(service.stop)
        return Answer(0)
    if supervisor.do(service.start if verb == "start" else service.restart):
        return Answer(0)
    why = REASONS.get(service.properties["Result"], "")
    text = f"Job for {name} failed{why and f' because {why}'}.\n"
    text += f'See "systemctl status {name}" and "journalctl -xeu {name}" for details.\n'
    return Answer(1, err=text)


def _serve(path: Path, reply: Callable[[list[str]], Answer]) -> socketserver.BaseServer:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            if line:
                self.wfile.write(json.dumps(reply(json.loads(line))).encode())

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    server = Server(str(path), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server
