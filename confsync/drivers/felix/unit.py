"""Felix as a service of this host: whether it runs, with what, and how it is restarted.

Separate because systemd and the kernel are asked here and nowhere else. What a process was started
with is read from the kernel: a unit's text may have been edited since.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confsync.host.files import in_thread
from confsync.host.process import run
from confsync.model import limits
from confsync.model.errors import HostBusy, StepFailed
from confsync.model.ids import Json

DEFAULT_FILE: Final = "/etc/calico/felix.cfg"
PREFIX: Final = "felix_"
_PROPERTIES: Final = "LoadState,ActiveState,SubState,MainPID,NRestarts"
_FILE_FLAGS: Final = ("-c", "--config-file")


@dataclass(frozen=True, slots=True)
class Unit:
    """A service as it is now.

    Shape: `stopped` = nobody wants it to run; `pid` 0 = no process; `restarts` counts those
    that nobody asked for; `config_file` is what the process reads (empty = no process);
    `environment` are Felix's own variables, names in small letters and without the prefix (None =
    they cannot be read).
    """

    loaded: bool
    active: bool
    stopped: bool = False
    pid: int = 0
    restarts: int = 0
    config_file: str = ""
    environment: Mapping[str, str] | None = None

    def as_json(self) -> Json:
        return {"active": self.active, "pid": self.pid, "restarts": self.restarts}


async def look(systemctl: str, service: str) -> Unit:
    """Return how a service stands. Raises HostBusy when systemd does not say."""
    asked = (systemctl, "show", service, f"--property={_PROPERTIES}")
    told = await run(asked, limits.SERVICE_READ_S)
    if told.code:
        raise HostBusy(f"systemctl says nothing of {service}: {_short(told.stderr)}")
    found = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
    try:
        pid, restarts = int(found["MainPID"]), int(found.get("NRestarts") or 0)
        loaded, state = found["LoadState"], found["ActiveState"]
    except (KeyError, ValueError) as fault:
        raise HostBusy(f"systemctl says of {service} what cannot be read: {fault!r}") from fault
    file, environment = await in_thread(_started_with, pid) if pid else ("", None)
    running = state == "active" and pid > 0
    return Unit(loaded == "loaded", running, state == "inactive", pid, restarts, file, environment)


async def restart(systemctl: str, service: str) -> None:
    """Restart a service. Raises StepFailed.

    Why it is forgiven first: one that failed again and again is not started at all for a while.
    """
    await run((systemctl, "reset-failed", service), limits.SERVICE_READ_S)
    told = await run((systemctl, "restart", service), limits.SERVICE_RESTART_S)
    if told.code:
        raise StepFailed(f"{service} did not restart: {_short(told.stderr)}")


def _started_with(pid: int) -> tuple[str, dict[str, str] | None]:
    """Return the configuration file of a process, empty = unknown, and its own variables.

    Why two attempts: everybody may see a command, unless the service manager hides the process;
    an environment is seen by its owner alone.
    """
    file, own = "", None
    with suppress(OSError):
        file = _file_of(_strings(Path(f"/proc/{pid}/cmdline")))
    with suppress(OSError):
        pairs = (text.partition("=") for text in _strings(Path(f"/proc/{pid}/environ")))
        own = {
            name.lower().removeprefix(PREFIX): value
            for name, _, value in pairs
            if name.lower().startswith(PREFIX) and value  # Felix passes over an empty one
        }
    return file, own


def _file_of(words: list[str]) -> str:
    """Return the file that a command reads, empty where it is none of Felix, as a shell is."""
    names = [" " not in word and "felix" in word.rpartition("/")[2] for word in words]
    if True not in names:
        return ""
    words = words[names.index(True) :]
    for at, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in _FILE_FLAGS and (equals or at + 1 < len(words)):
            return value if equals else words[at + 1]
    return DEFAULT_FILE


def _strings(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")


def _short(text: str) -> str:
    return " ".join(text.split())[: limits.TOLD_CHARS] or "no word"
