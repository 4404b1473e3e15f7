"""Some of Felix's parameters, their types and what it makes of a value that is wrong.

Separate because it is pure: the daemon reads sources and asks `resolved` what holds.
Invariant: an earlier source masks a later one, even with a value that could not be parsed.

Source: projectcalico/calico, felix/config/config_params.go and felix/config/param_types.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOCAL = ("environment variable", "config file")
HOST = r"[a-zA-Z0-9:._+-]{1,64}"
INBOUND = "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667"
OUTBOUND = "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667"
UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class FatalError(Exception):
    """A value with which Felix does not start: it tries again each second, for ever."""


class Parameter(NamedTuple):
    """`flags`: `!` dies of a wrong value, `L` only from environment or file, `N` never none."""

    name: str
    parse: Callable[[str], Any]
    default: str
    flags: str = ""


class Resolved(NamedTuple):
    """What holds: values by name, the source of each, and the lines of the log."""

    values: dict[str, Any]
    sources: dict[str, str]
    log: list[str]


def boolean(text: str) -> bool:
    """Read what Felix takes for a truth value."""
    if (word := text.lower()) in {"true", "1", "yes", "y", "t"}:
        return True
    if word in {"false", "0", "no", "n", "f"}:
        return False
    raise ValueError("invalid boolean")


def whole(least: int, most: int) -> Callable[[str], int]:
    """Read a whole number as Go does with base 0: `0x10`, `1_000`, and `010` is 8."""

    def parse(text: str) -> int:
        octal = re.fullmatch(r"[-+]?0[0-7_]+", text)
        number = int(text, 8) if octal else int(text, 0)
        if not least <= number <= most:
            raise ValueError("value is out of range")
        return number

    return parse


def seconds(text: str) -> str:
    """Read seconds as Go reads a float (`90`, `0.5`, `inf`); a JSON file gets the text."""
    return str(float(text))


def one_of(*words: str) -> Callable[[str], str]:
    """Read one of these words, in any case."""

    def parse(text: str) -> str:
        found = [word for word in words if word.lower() == text.lower()]
        if not found:
            raise ValueError("unknown option")
        return found[0]

    return parse


def matching(pattern: str) -> Callable[[str], str]:
    """Read a text that matches as a whole."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError("invalid value")
        return text

    return parse


def pattern(text: str) -> str:
    """Read a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(str(error)) from error
    return text


def ports(text: str) -> list[str]:
    """Read `tcp|udp[:net]:port`, comma separated."""
    found = [one.strip() for one in text.split(",") if one.strip()]
    for one in found:
        parts = re.fullmatch(r"(tcp|udp):(?:(?:[\d.]+(?:/\d+)?|\[[0-9a-f:/]+\]):)?(\d+)", one)
        if not parts or int(parts[2]) > 65535:
            raise ValueError(f"ports should be <protocol>:<number>, not {one}")
    return found


SEVERITY = one_of("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL")
PORT = whole(0, 65535)
ENDPOINT = r"https?://[^/?#@,]+"
TABLE = (
    Parameter("DatastoreType", one_of("kubernetes", "etcdv3"), "etcdv3", "!LN"),
    Parameter("FelixHostname", matching(HOST), "", "LN"),
    Parameter("EtcdAddr", matching(r"[^:/]+:\d+"), "127.0.0.1:2379", "L"),
    Parameter("EtcdScheme", one_of("http", "https"), "http", "L"),
    Parameter("EtcdEndpoints", matching(rf"{ENDPOINT}(,{ENDPOINT})*"), "", "L"),
    Parameter("HealthEnabled", boolean, "false"),
    Parameter("HealthHost", matching(HOST), "localhost"),
    Parameter("HealthPort", PORT, "9099"),
    Parameter("PrometheusMetricsEnabled", boolean, "false"),
    Parameter("PrometheusMetricsPort", PORT, "9091"),
    Parameter("LogSeverityScreen", SEVERITY, "INFO"),
    Parameter("LogSeverityFile", SEVERITY, "INFO"),
    Parameter("LogFilePath", matching(r"/.*"), "/var/log/calico/felix.log", "!"),
    Parameter("VXLANPort", whole(0, 65535), "4789"),
    Parameter("VXLANVNI", whole(0, 2**24 - 1), "4096"),
    Parameter("MTUIfacePattern", pattern, "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)"),
    Parameter("FailsafeInboundHostPorts", ports, INBOUND, "!"),
    Parameter("FailsafeOutboundHostPorts", ports, OUTBOUND, "!"),
    Parameter("InterfacePrefix", matching(r"[\w-]{1,15}(,[\w-]{1,15})*"), "cali", "!N"),
    Parameter("IptablesRefreshInterval", seconds, "180"),
    Parameter("RouteRefreshInterval", seconds, "90"),
    Parameter("Ipv6Support", boolean, "true"),
    Parameter("ChainInsertMode", one_of("insert", "append"), "insert", "!N"),
    Parameter("DefaultEndpointToHostAction", one_of("DROP", "RETURN", "ACCEPT"), "DROP", "!N"),
    Parameter("IptablesBackend", one_of("legacy", "nft", "auto"), "auto"),
    Parameter("MaxIpsetSize", whole(-(2**63), 2**63 - 1), "1048576", "N"),
    Parameter("OpenstackRegion", matching(r"[a-z0-9.-]*"), "", "!"),
    Parameter("ClusterGUID", str, ""),
    Parameter("ClusterType", str, ""),
    Parameter("CalicoVersion", str, ""),
)
BY_LOWER_NAME = {one.name.lower(): one for one in TABLE}


def _default(one: Parameter) -> Any:
    return one.parse(one.default) if one.default else ""


def _value(one: Parameter, text: str) -> Any:
    if text.lower() == "none":
        if "N" in one.flags:
            raise FatalError("Non-zero field cannot be set to none")
        return None
    return one.parse(text)


def resolved(sources: Sequence[tuple[str, Mapping[str, str]]]) -> Resolved:
    """Return what holds of the sources, the strongest first; names in any case.

    Raises: FatalError for a value that Felix does not start with, be it masked or not.
    """
    values, origins, log = {one.name: _default(one) for one in TABLE}, {}, []
    for source, raw in sources:
        for name, text in raw.items():
            one = BY_LOWER_NAME.get(name.lower())
            if one is None:
                log.append(f"INFO Ignoring unknown config param. raw name={name}")
                continue
            if "L" in one.flags and source not in LOCAL:
                log.append(f"WARNING Ignoring local-only configuration parameter {one.name}")
                continue
            try:
                value = _value(one, text)
            except (ValueError, FatalError) as error:
                told = f'parse config parameter "{one.name}" from {source}: {error}'
                if "!" in one.flags or isinstance(error, FatalError):
                    raise FatalError(f"Failed to {told}") from error
                log.append(f"WARNING Failed to {told}; using default value")
                value = _default(one)
            if one.name in origins:
                log.append(f"INFO Skipping config value for {one.name} from {source}")
                continue
            values[one.name], origins[one.name] = value, source
    return Resolved(values, origins, log)


def raw_from_spec(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return a FelixConfiguration's spec as the texts that a file would have."""
    return {name: _text(name, value) for name, value in spec.items()}


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(_port(one) for one in value) or "none"
    if isinstance(value, str) and name.lower().endswith("interval"):
        return f"{sum(_seconds(value)):g}"
    return str(value)


def _port(one: Mapping[str, Any]) -> str:
    net = f"{one['net']}:" if one.get("net") else ""
    return f"{str(one.get('protocol', '')).lower()}:{net}{one.get('port')}"


def _seconds(text: str) -> list[float]:
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", text)
    return [float(number) * UNITS_S[unit] for number, unit in parts]
