"""What goes wrong in the fake calicoctl, as a test orders it, and what it did.

Separate because the test writes it and the program, another process, reads it at each call.
`calls.jsonl` has a line when a call begins and one when it ends: of a killed one the first alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

KEPT_NAMES = ("DATASTORE_TYPE", "ETCD_")
HANG_S = 120


class Faults(NamedTuple):
    """The orders; each holds until the next ones, for the `verbs` named or for all.

    `die_before_write` and `die_after_write` count the program's writes from 1 since the order,
    over all calls, and send `die_signal` (a name without SIG; STOP makes a hang of it).
    `reject` has the refusal of the datastore by the name of the object that is written.
    """

    verbs: tuple[str, ...] = ()
    latency_s: float = 0
    hang: bool = False
    unreachable: bool = False
    cluster_version: str = ""
    reject: Mapping[str, str] = {}
    die_before_write: int = 0
    die_after_write: int = 0
    die_signal: str = "KILL"
    not_json: bool = False
    flood_bytes: int = 0
    stderr: str = ""
    exit_code: int | None = None
    writes_before: int = 0


class Record:
    """The files between a test and the program, in one folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; the files come with the first line."""
        self._folder = folder

    def order(self, faults: Faults) -> None:
        """Let these faults hold from the next call on."""
        written = faults._asdict() | {"writes_before": len(self.lines("writes"))}
        new = self._folder / "faults.new"
        new.write_text(json.dumps(written))
        new.replace(self._folder / "faults.json")

    def faults(self, verb: str) -> Faults:
        """Return what holds for a call of this verb."""
        try:
            held = Faults(**json.loads((self._folder / "faults.json").read_text()))
        except FileNotFoundError:
            return Faults()
        return Faults() if held.verbs and verb not in held.verbs else held

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of `calls` or `writes`, oldest first."""
        try:
            text = (self._folder / f"{name}.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]

    def add(self, name: str, **words: object) -> None:
        """Append a line, whole or not at all."""
        line = json.dumps({"pid": os.getpid(), **words}) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = os.open(self._folder / f"{name}.jsonl", flags, 0o644)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def begin(self, argv: list[str]) -> None:
        """Note a call and the part of its environment that names the datastore."""
        named = {name: text for name, text in os.environ.items() if name.startswith(KEPT_NAMES)}
        self.add("calls", argv=argv, env=named)


def suffer(faults: Faults, again: Callable[[], Faults]) -> None:
    """Do what befalls a call before it does anything; `again` tells what is ordered by then."""
    sys.stderr.write(faults.stderr)
    sys.stderr.flush()
    time.sleep(faults.latency_s)
    patience_s = time.monotonic() + HANG_S
    while faults.hang:
        time.sleep(0.1)
        if not again().hang or time.monotonic() > patience_s:
            sys.exit(1)  # what nobody kills must not outlive its test


def die(faults: Faults) -> None:
    """Send this process its signal."""
    sys.stdout.flush()
    os.kill(os.getpid(), signal.Signals[f"SIG{faults.die_signal}"])
