"""The agent's own settings: one frozen value, composed of the adapters' own settings classes.

Separate because it is the only place that knows all of them. Invariant: a value of `Settings` is
complete and consistent; everything wrong in any origin is reported at once, in the operator's
words, with the origin and the setting's name.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from confsync.drivers.bird.driver import BirdSettings
from confsync.drivers.calico.driver import CalicoSettings
from confsync.drivers.felix.driver import FelixSettings
from confsync.drivers.lvm.driver import LvmSettings
from confsync.edge.consul import ConsulSettings
from confsync.edge.http import HttpSettings
from confsync.edge.mqtt import MqttSettings
from confsync.host import toml
from confsync.host.logs import Level
from confsync.model.errors import BadSettings, nearest
from confsync.model.facts import NAMES

WANTED: Final = "small letters, digits, . _ - are wanted, and / between the parts of a key"
NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
KEY: Final = r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$"
HIERARCHY: Final = (
    "common",
    "roles/{role}",
    "sites/{site}/common",
    "sites/{site}/roles/{role}",
    "nodes/{node}",
)
FIXED: Final = ("node", "site", "state_dir", "loop", "http")
"""What a process is started with, and cannot exchange."""
PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")

Name = Annotated[str, Field(pattern=NAME)]
OptionalName = Annotated[str, Field(pattern=NAME.replace("^", "^(", 1).replace("$", ")?$"))]


def read_command(text: str) -> str:
    """Return a command that can be run without a shell. Raises ValueError."""
    try:
        words = shlex.split(text)
    except ValueError as fault:
        raise ValueError(f"{text!r} cannot be read: {str(fault).lower()}") from fault
    if not words or not words[0].startswith("/"):
        raise ValueError(f"{text!r}: name a program by its absolute path; no shell reads this")
    return text


Command = Annotated[str, AfterValidator(read_command)]


class Part(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(Part):
    """Where configuration comes from, and how long plain writes must be quiet."""

    kind: Literal["consul", "directory"] = "consul"
    path: str = ""
    prefix: Annotated[str, Field(pattern=KEY)] = "confsync/v1"
    quiet_min_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    quiet_max_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    consul: ConsulSettings = ConsulSettings()


class GuardSettings(Part):
    """Budgets per change."""

    max_removed_peers: Annotated[int, Field(ge=0)] = 1
    max_removed_volumes: Annotated[int, Field(ge=0)] = 1
    max_removed_percent: Annotated[int, Field(ge=0, le=100)] = 30
    all_sessions_of_a_family: bool = False


class DriversSettings(Part):
    """Each subsystem's own table."""

    bird: BirdSettings = BirdSettings()
    lvm: LvmSettings = LvmSettings()
    felix: FelixSettings = FelixSettings()
    calico: CalicoSettings = CalicoSettings()


class DriftSettings(Part):
    """How often the host is looked at without a reason, and whose drift is written over."""

    interval_s: Annotated[float, Field(ge=1, le=86400)] = 90.0
    repair: tuple[Literal["bird", "lvm", "felix", "calico"], ...] = ("lvm", "felix")


class PaceSettings(Part):
    """How long a change that users notice waits, so that hosts do not take it all at once."""

    splay_s: Annotated[float, Field(ge=0, le=3600)] = 30.0


class VerifySettings(Part):
    """The operator's own checks: those that passed before a change must pass after it."""

    commands: tuple[Command, ...] = ()


class ReplicateSettings(Part):
    """Whether this agent may copy what is published at home, when its site elects it."""

    enabled: bool = False
    token_file: str = ""


class LogSettings(Part):
    """How much is logged."""

    level: Level = "info"


class Settings(Part):
    """All of it. An empty `role` or `variant` means that the node has none."""

    site: Name
    node: Name
    role: OptionalName = ""
    variant: OptionalName = ""
    hierarchy: Annotated[tuple[str, ...], Field(min_length=1, max_length=32)] = HIERARCHY
    state_dir: Path = Path(toml.DEFAULT_STATE_DIR)
    loop: Literal["uvloop", "asyncio"] = "uvloop"
    source: SourceSettings = SourceSettings()
    guard: GuardSettings = GuardSettings()
    drivers: DriversSettings = DriversSettings()
    pace: PaceSettings = PaceSettings()
    verify: VerifySettings = VerifySettings()
    drift: DriftSettings = DriftSettings()
    replicate: ReplicateSettings = ReplicateSettings()
    http: HttpSettings = HttpSettings()
    mqtt: MqttSettings = MqttSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="before")
    @classmethod
    def _from_the_name(cls, given: dict[str, object]) -> dict[str, object]:
        """Fill in node, role and variant by the rule ``<site>-<role>[-<variant>]-<id>``."""
        node = str(given.get("node") or socket.gethostname().partition(".")[0].lower())
        role, variant = name_parts(node, str(given.get("site", "")))
        return {"role": role, "variant": variant, **given, "node": node}

    @property
    def home(self) -> bool:
        """Tell whether changes are published in the datacenter of this site."""
        return self.source.consul.home_datacenter in {"", self.site}

    def in_place_of(self, running: Settings) -> Settings:
        """Return these if a running agent can take them over. Raises BadSettings."""
        fixed = [name for name in FIXED if getattr(self, name) != getattr(running, name)]
        if fixed:
            raise BadSettings(f"{', '.join(fixed)}: a change of this needs a restart of the agent")
        return self

    @model_validator(mode="after")
    def _relations(self) -> Self:
        problems = tuple(broken_relations(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


def name_parts(node: str, site: str) -> tuple[str, str]:
    """Return role and variant of a node's name; both empty if it does not follow the rule."""
    match = re.fullmatch(rf"{re.escape(site)}-([a-z0-9]+)(?:-(.+))?-[^-]+", node) if site else None
    return (match[1], match[2] or "") if match else ("", "")


def broken_relations(settings: Settings) -> Iterator[str]:
    """Yield every rule between settings that does not hold."""
    source = settings.source
    if source.quiet_min_s > source.quiet_max_s:
        yield (
            f"[source] quiet_min_s ({source.quiet_min_s:g}) must not be greater than "
            f"quiet_max_s ({source.quiet_max_s:g})"
        )
    if source.kind == "directory" and not source.path.startswith("/"):
        yield '[source] path: kind = "directory" needs the absolute path of a folder'
    home = source.consul.home_datacenter
    if home and not re.fullmatch(NAME, home):
        yield f"[source.consul] home_datacenter: {home!r} is no name of a site: {WANTED}"
    if settings.replicate.enabled and (source.kind != "consul" or not home):
        yield (
            "[replicate] enabled: there is nothing to copy from; set home_datacenter under "
            "[source.consul]"
        )
    if settings.drivers.calico.enabled and source.kind != "consul":
        yield (
            "[drivers.calico] enabled: which agent acts for the site is settled in Consul; "
            'it needs [source] kind = "consul"'
        )
    if not settings.state_dir.is_absolute():
        yield "state_dir: must be an absolute path"
    for level in settings.hierarchy:
        for name in PLACEHOLDER.findall(level):
            if name not in NAMES:
                yield f"hierarchy: {level!r} asks for {{{name}}}; {nearest(name, NAMES)}"
        if not re.fullmatch(KEY, PLACEHOLDER.sub("x", level)):
            yield f"hierarchy: {level!r} is no name: {WANTED}"
    if len(set(settings.hierarchy)) != len(settings.hierarchy):
        yield "hierarchy: a level is named twice"


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of this host. Raises BadSettings with every fault."""
    return compose(toml.read(path, environ), path, environ)


def load_for_tree(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return settings for work on a tree, which concerns no host: without a file, the defaults."""
    if path.exists():
        return load(path, environ)
    tables = toml.read_what_can_be(path, environ)
    for name in ("site", "node"):
        if (name,) not in tables.origins:
            tables.put((name,), "none", "default")
    return compose(tables, path, environ)


def state_dir_of(config: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the journal lies, even while the settings are wrong otherwise."""
    return toml.read_what_can_be(config, environ).state_dir


def compose(tables: toml.Tables, path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Give raw tables their meaning. Raises BadSettings with every fault."""
    for name, leaf in (
        ("CONSUL_HTTP_ADDR", ("source", "consul", "address")),
        ("CONSUL_HTTP_TOKEN_FILE", ("source", "consul", "token_file")),
    ):
        if environ.get(name) and leaf not in tables.origins:
            value = environ[name]
            plain = leaf[-1] == "address" and "://" not in value
            tables.put(leaf, f"http://{value}" if plain else value, f"environment {name}")
    try:
        return Settings.model_validate(tables.values, strict=False)
    except ValidationError as error:
        lines = [line for fault in error.errors() for line in _told(fault, tables, path)]
        raise BadSettings("\n".join(lines)) from error


def _told(fault: ErrorDetails, tables: toml.Tables, path: Path) -> Iterator[str]:
    """Yield a fault in the operator's words, with where it was written."""
    place = tuple(str(part) for part in fault["loc"] if not isinstance(part, int))
    where = tables.origin(place) or str(path)
    kind = fault["type"]
    if not place:
        for line in str(fault["ctx"]["error"]).splitlines():
            yield f"{where}: {line}"
    elif kind == "missing":
        yield f"{where}: {toml.place(place)} is missing, it has no default"
    elif kind == "extra_forbidden":
        known = _known_keys(place[:-1])
        yield f"{where}: {toml.place(place)}: no such setting; {nearest(place[-1], known)}"
    elif kind == "value_error":
        yield f"{where}: {toml.place(place)}: {fault['ctx']['error']}"
    elif kind == "string_pattern_mismatch":
        yield f"{where}: {toml.place(place)}: {fault['input']!r} is no name: {WANTED}"
    elif kind in {"model_type", "model_attributes_type", "dict_type"}:
        yield f"{where}: {toml.place(place)}: must be a table{_found(fault['input'])}"
    else:
        wanted = re.sub(r"^Input should be |, unable to .*$", "", fault["msg"])
        yield f"{where}: {toml.place(place)}: must be {wanted}{_found(fault['input'])}"


def _found(value: object) -> str:
    return f", found {value!r}" if isinstance(value, str | int | float) else ""


def _known_keys(table: tuple[str, ...]) -> tuple[str, ...]:
    model: type[BaseModel] = Settings
    for part in table:
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return tuple(model.model_fields)
