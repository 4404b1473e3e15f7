"""A Felix that touches no dataplane: its configuration, its health and its ways to end.

Separate because a driver restarts it as a program of its own and judges it by its health alone.
As the real one it reads file and environment once, at its start; ends with 129 on SIGHUP, on a
change of FelixConfiguration and on one of the encapsulations in use; serves its health while it
waits for the datastore; and serves none before environment and file are read without an error.

Source: projectcalico/calico, felix/daemon/daemon.go and libcalico-go/lib/health/health.go.
"""

from __future__ import annotations

import getopt
import json
import os
import re
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.lab.calico.behaviour import Behaviour
from tests.lab.calico.parameters import FatalError, Resolved, raw_from_spec, resolved
from tests.lab.calico.store import Content, Key, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANGED = 129
PREFIX = "felix_"
LOOK_S = 0.02
QUIET = {"healthTimeoutOverrides", "clusterGUID", "clusterType", "calicoVersion"}
DETAIL = "+-----------+---------+----------------+\n| Felix     | -       | {word} |"


class Health:
    """What is told on HTTP; `ready` is set from outside."""

    def __init__(self, behaviour: Behaviour) -> None:
        """Serve nothing yet."""
        self.ready = False
        self.behaviour = behaviour
        self._serving = False

    def serve(self, host: str, port: int, retry_s: float) -> None:
        """Serve from now on, once; tries again and again to get the address."""
        if self._serving:
            return
        self._serving = True
        threading.Thread(target=self._serve, args=(host, port, retry_s), daemon=True).start()

    def _serve(self, host: str, port: int, retry_s: float) -> None:
        health = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                health.answer(self)

            def log_message(self, *_: object) -> None:
                """Tell nothing."""

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        while True:
            try:
                with Server((host, port), Handler) as server:
                    server.serve_forever()
            except OSError as error:
                log("ERROR", f"Health endpoint failed, trying to restart it... {error}")
                time.sleep(retry_s)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request, or never."""
        while self.behaviour.hung_health:
            time.sleep(60)
        good = {"/liveness": True, "/readiness": self.ready}.get(request.path)
        detail = DETAIL.format(word="ready" if self.ready else "reporting non-ready")
        if good is None:
            request.send_error(404)
        elif good and not self.behaviour.health_detail:
            request.send_response(204)
            request.end_headers()
        else:
            request.send_response(200 if good else 503)
            request.end_headers()
            request.wfile.write(detail.encode())


def log(level: str, text: str) -> None:
    """Write a line of the log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{level}] {text}", flush=True)  # noqa: T201


def read_file(path: Path) -> dict[str, str]:
    """Return the values of an INI file, whatever their sections; of two the last.

    Raises: FatalError for a line that is none.
    """
    if not path.exists():
        log("INFO", f"Ignoring absent config file {path}")
        return {}
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip()
        if not text or text[0] in "#;" or re.fullmatch(r"\[.*\]", text):
            continue
        name, sign, value = text.partition("=")
        if not sign:
            raise FatalError(f"key-value delimiter not found: {path}:{number}")
        found[name.strip().lower()] = value.strip()
    return found


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of `FELIX_*`, prefix and name in any case."""
    return {
        name[len(PREFIX) :]: text
        for name, text in environment.items()
        if name.lower().startswith(PREFIX)
    }


class Daemon:
    """One daemon in one folder."""

    def __init__(self, folder: Path, config: Path) -> None:
        """Read how to behave."""
        self._folder, self._config = folder, config
        self._behaviour = Behaviour(**json.loads((folder / "behaviour.json").read_text()))
        self._health = Health(self._behaviour)
        self._store = Store(Path(self._behaviour.store)) if self._behaviour.store else None
        self._own_name = ""
        self._stop_code: int | None = None
        self._begun_s = time.monotonic()

    def run(self) -> int:
        """Run until something ends it; returns the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._end(0))
        signal.signal(signal.SIGHUP, lambda *_: self._end(CHANGED))
        seen = self._configured()
        ready_s = time.monotonic() + self._behaviour.ready_after_s
        while self._stop_code is None:
            if time.monotonic() >= ready_s and not self._behaviour.never_ready:
                self._health.ready = True
            if seen is not None and self._seen() != seen:
                log("WARNING", "Felix configuration changed. Need to restart.")
                self._end(CHANGED)
            self._pause(LOOK_S)
        if self._stop_code == CHANGED:
            time.sleep(self._behaviour.reload_s)
        return self._stop_code

    def _end(self, code: int) -> None:
        self._stop_code = code

    def _pause(self, duration_s: float) -> None:
        behaviour, until_s = self._behaviour, time.monotonic() + duration_s
        while self._stop_code is None and time.monotonic() < until_s:
            age_s = time.monotonic() - self._begun_s
            if behaviour.die_after_s is not None and age_s >= behaviour.die_after_s:
                self._end(behaviour.exit_code)
            time.sleep(min(LOOK_S, duration_s))

    def _configured(self) -> Any:
        """Try until the configuration is good and the datastore there; returns what it saw."""
        while self._stop_code is None:
            try:
                local = [
                    ("environment variable", read_environment(os.environ)),
                    ("config file", read_file(self._config)),
                ]
                first = resolved(local).values
                self._own_name = f"node.{first['FelixHostname'] or self._behaviour.hostname}"
                if first["HealthEnabled"]:
                    port, host = first["HealthPort"], first["HealthHost"]
                    self._health.serve(host, port, self._behaviour.retry_s)
                self._connect(first)
                seen = self._seen()
                self._publish(resolved([*local, *self._remote()]))
            except (FatalError, OSError) as error:
                log("ERROR", f"{error}. Retrying...")
                self._pause(self._behaviour.retry_s)
            else:
                return seen
        return None

    def _connect(self, values: Mapping[str, Any]) -> None:
        if values["DatastoreType"] != "etcdv3":
            raise FatalError("Failed to create datastore client: no kubernetes here")
        urls = values["EtcdEndpoints"] or f"{values['EtcdScheme']}://{values['EtcdAddr']}"
        for url in urls.split(","):
            parts = urlsplit(url)
            try:
                socket.create_connection((parts.hostname or "", parts.port or 2379), 1).close()
            except OSError as error:
                log("WARNING", f"Failed to connect to {parts.netloc}: {error}")
            else:
                return
        raise FatalError("Failed to connect to datastore")

    def _content(self) -> Content:
        return self._store.content() if self._store else Content(0, {})

    def _remote(self) -> list[tuple[str, dict[str, str]]]:
        items = self._content().items
        return [
            (f"datastore ({word})", raw_from_spec(items[key]["spec"]))
            for word, name in (("per-host", self._own_name), ("global", "default"))
            if (key := Key("FelixConfiguration", name)) in items
        ]

    def _seen(self) -> Any:
        """Return what Felix restarts for when it changes."""
        held = self._content().items.items()
        fields = {
            (key.name, name): value
            for key, item in held
            if key.kind == "FelixConfiguration" and key.name in {"default", self._own_name}
            for name, value in item["spec"].items()
            if name not in QUIET
        }
        pools = [item["spec"] for key, item in held if key.kind == "IPPool"]
        tunnels = {
            mode
            for mode in ("ipipMode", "vxlanMode")
            if any(spec.get(mode, "Never") != "Never" for spec in pools)
        }
        return fields, tunnels

    def _publish(self, found: Resolved) -> None:
        for line in found.log:
            level, _, text = line.partition(" ")
            log(level, text)
        held = {
            name: {"value": value, "source": found.sources.get(name, "default")}
            for name, value in found.values.items()
        }
        values = found.values
        if values["HealthEnabled"]:
            host, port = values["HealthHost"], values["HealthPort"]
            self._health.serve(host, port, self._behaviour.retry_s)
        new = self._folder / "effective.new"
        new.write_text(json.dumps(held))
        new.replace(self._folder / "effective.json")


def main(folder: Path, argv: list[str]) -> int:
    """Run a daemon; `-c FILE` or `--config-file=FILE` is its configuration."""
    found, _ = getopt.getopt(argv, "c:", ["config-file="])
    config = Path(found[-1][1] if found else "/etc/calico/felix.cfg")
    code = Daemon(folder, config).run()
    sys.stdout.flush()
    os._exit(code)  # its threads do not end
