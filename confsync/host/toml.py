"""The agent's settings as they stand on this host: files, conf.d and environment as one table.

Separate from `confsync.settings`, which gives the table its meaning, because local control and
recovery need two or three raw values even while the rest of the settings is wrong, and must not
wait for heavy imports. Invariant: later origins win leaf by leaf, and every leaf knows its origin.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confsync.model import limits
from confsync.model.errors import BadSettings
from confsync.model.ids import Json, dotted

DEFAULT_CONFIG: Final = Path("/etc/confsync/agent.toml")
DEFAULT_SOCKET: Final = "/run/confsync/agent.sock"
DEFAULT_LOOP: Final = "uvloop"
DEFAULT_STATE_DIR: Final = "/var/lib/confsync"
PREFIX: Final = "CONFSYNC_"
NOT_SETTINGS: Final = (
    "CONFSYNC_CONFIG",
    "CONFSYNC_CACHE",
    "CONFSYNC_PYTHON",
    "CONFSYNC_TEST_",
    "CONFSYNC_BENCH_",
)
"""Variables of ours that are no settings; the last two are whole families."""

Leaf = tuple[str, ...]


@dataclass(slots=True)
class Tables:
    """The merged settings, as written, and where each leaf was written last."""

    values: dict[str, Json] = field(default_factory=dict)
    origins: dict[Leaf, str] = field(default_factory=dict)

    def merge(self, table: Mapping[str, Json], origin: str) -> None:
        """Lay one table over what is there."""
        for path, value in _leaves(table):
            self.put(path, value, origin)

    def put(self, path: Leaf, value: Json, origin: str) -> None:
        """Write one leaf."""
        self.origins[path] = origin
        place = self.values
        for part in path[:-1]:
            inner = place.get(part)
            if not isinstance(inner, dict):
                inner = place[part] = {}
            place = inner
        place[path[-1]] = value

    def origin(self, path: Leaf) -> str:
        """Return where a place was written: its own leaf, or one below or above it."""
        near = (name for at, name in self.origins.items() if at[: len(path)] == path[: len(at)])
        return self.origins.get(path) or next(near, "")

    def get(self, *path: str, default: str) -> str:
        """Return one raw text, or the default if it is absent or no text."""
        found: Json = self.values
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        return found if isinstance(found, str) else default

    @property
    def socket(self) -> str:
        """Return the control socket's path."""
        return self.get("http", "socket", default=DEFAULT_SOCKET)

    @property
    def loop(self) -> str:
        """Return which event loop to run."""
        return self.get("loop", default=DEFAULT_LOOP)

    @property
    def state_dir(self) -> Path:
        """Return the folder of the journal."""
        return Path(self.get("state_dir", default=DEFAULT_STATE_DIR))


def read(config: Path, environ: Mapping[str, str] = os.environ) -> Tables:
    """Return the settings of a file, its conf.d and the environment, weakest first.

    Raises: BadSettings, with every file that cannot be read.
    """
    tables, problems = Tables(), []
    for path in (config, *sorted(config.with_suffix(".d").glob("*.toml"))):
        try:
            tables.merge(_parse(path), str(path))
        except BadSettings as problem:
            problems.append(str(problem))
    _overlay(tables, environ)
    if problems:
        raise BadSettings("\n".join(problems))
    return tables


def _overlay(tables: Tables, environ: Mapping[str, str]) -> None:
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and not name.startswith(NOT_SETTINGS):
            leaf = tuple(name.removeprefix(PREFIX).lower().split("__"))
            tables.put(leaf, _value(value), f"environment {name}")


def read_what_can_be(config: Path, environ: Mapping[str, str] = os.environ) -> Tables:
    """Return the settings without those that cannot be read: never a reason to stop.

    Why: recovery and local control come first, and need no more than a path.
    """
    try:
        return read(config, environ)
    except BadSettings:
        tables = Tables()
        _overlay(tables, environ)
        return tables


def _parse(path: Path) -> dict[str, Json]:
    try:
        with path.open("rb") as file:
            content = file.read(limits.SETTINGS_BYTES + 1)
        if len(content) > limits.SETTINGS_BYTES:
            raise BadSettings(f"{path}: larger than {limits.SETTINGS_BYTES} bytes")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise BadSettings(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"{path}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path}: not TOML: {error}") from error


def _value(text: str) -> Json:
    """Return a variable's value: a TOML list if it looks like one, otherwise the text itself."""
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _leaves(table: Mapping[str, Json], above: Leaf = ()) -> Iterator[tuple[Leaf, Json]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def place(path: Leaf) -> str:
    """Return a setting's name as it is written: ``[source.consul] address``."""
    *table, key = path
    return f"[{dotted(table)}] {key}" if table else key
