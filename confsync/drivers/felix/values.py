"""What a document says of one parameter, as the text that Felix reads in its file.

Separate because every value goes through one door: what Felix would turn into its default, or read
as something else, is refused here, and what it takes in several ways is written in one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from confsync.drivers.felix import networks, numbers
from confsync.drivers.felix.patterns import read_pattern
from confsync.drivers.felix.tables import Parameter
from confsync.drivers.felix.texts import NONE, items, plain, text_of
from confsync.model.ids import Json
from confsync.model.shapes import fault, listed, shown

REGION_CHARS: Final = 46
"""A DNS label of 63, less Calico's prefix ``openstack-region-``."""
DSCP_MAX: Final = 63
TRUE: Final = ("true", "1", "yes", "y", "t")
_FALSE: Final = ("false", "0", "no", "n", "f")
_REGION: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_RATE: Final = re.compile(r"[1-9][0-9]{0,3}/(second|minute|hour|day)", re.ASCII)
_PATH: Final = re.compile(r"/[!-~]*", re.ASCII)
_PROGRAM: Final = re.compile(r"[A-Za-z0-9._/+-]+", re.ASCII)
_PAIR: Final = re.compile(r"(\w+)=([^,]+)", re.ASCII)
_SPAN: Final = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+", re.ASCII)

Read = Callable[[Parameter, Json], str]


def read(parameter: Parameter, value: Json) -> str:
    """Return the one text by which a value stands in felix.cfg; reading that gives it again.

    Raises: what `shapes.fault` makes, for all that Felix would not take as it is meant.
    """
    if isinstance(value, str) and value.lower() == NONE:
        if parameter.non_zero:
            hint = f"leave it out for {parameter.default or 'what Felix finds by itself'}"
            raise fault("CS-V218", f"{parameter.name} cannot be nothing at all", hint)
        return NONE
    return READERS[parameter.kind](parameter, value)


def _bool(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    word = str(value).lower() if isinstance(value, bool | str) else ""
    if word not in TRUE + _FALSE:
        raise fault("CS-V224", f"{shown(value)} is neither true nor false", "use true or false")
    return "true" if word in TRUE else "false"


def _one_of(parameter: Parameter, value: Json) -> str:
    word = value.lower() if isinstance(value, str) else value
    found = next((one for one in parameter.of if one.lower() == word), "")
    if not found:
        hint = f"use {listed(parameter.of)}"
        raise fault("CS-V225", f"{shown(value)} is not a choice of {parameter.name}", hint)
    return found


def _pattern(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    return read_pattern(text_of(value))


def _string(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    return text_of(value)


def _file(parameter: Parameter, value: Json) -> str:
    text = text_of(value)
    if "executable" in parameter.of and _PROGRAM.fullmatch(text):
        return text
    if not _PATH.fullmatch(text):
        hint = f"write an absolute path without spaces; {NONE} is no file at all"
        raise fault("CS-V226", f"{shown(value)} is not the path of a file", hint)
    return text


def _region(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    text = text_of(value)
    if not _REGION.fullmatch(text) or len(text) > REGION_CHARS:
        hint = f"use at most {REGION_CHARS} of a-z 0-9 -, and no dash first or last"
        raise fault("CS-V227", f"{shown(value)} is not the name of a region", hint)
    return text


def _rate(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    text = text_of(value)
    if not _RATE.fullmatch(text):
        hint = "write it like 10/minute; second, hour and day are known, and numbers to 9999"
        raise fault("CS-V227", f"{shown(value)} is not a rate", hint)
    return text


def _dscp(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    number = numbers.decimal_of(value)
    if not 0 <= number <= DSCP_MAX:
        raise fault("CS-V213", f"{shown(value)} is out of bounds", f"use 0..{DSCP_MAX}")
    return str(number)


def _pairs(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    return ",".join(f"{key}={said}" for key, said in _split(value))


def _spans(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    found = _split(value)
    for key, said in found:
        if not _SPAN.fullmatch(said):
            hint = "write its unit as well, such as 90s or 1m30s"
            raise fault("CS-V228", f"{shown(said)} is not a time for {key}", hint)
    return ",".join(f"{key}={said}" for key, said in found)


def _split(value: Json) -> list[tuple[str, str]]:
    """Return keys with their values, which may be written as a map."""
    if isinstance(value, Mapping):
        value = [f"{key}={plain(said)}" for key, said in value.items()]
    found = [(one, _PAIR.fullmatch(one)) for one in items(value)]
    if wrong := next((one for one, pair in found if not pair), ""):
        hint = "write it like key=value, with letters, digits and _ in the key"
        raise fault("CS-V228", f"{shown(wrong)} is not a key with its value", hint)
    pairs = [(pair[1], pair[2]) for _, pair in found if pair]
    keys = [key for key, _ in pairs]
    if twice := next((key for at, key in enumerate(keys) if key in keys[:at]), ""):
        raise fault("CS-V228", f"{twice} stands there twice", "name each once")
    return pairs


READERS: Final[Mapping[str, Read]] = {
    "bool": _bool,
    "*bool": _bool,
    "oneof": _one_of,
    "string": _string,
    "file": _file,
    "regexp": _pattern,
    "region": _region,
    "log-rate": _rate,
    "dscp": _dscp,
    "keyvaluelist": _pairs,
    "keydurationlist": _spans,
    "int": numbers.read_int,
    "seconds": numbers.read_seconds,
    "millis": numbers.read_millis,
    "mark-bitmask": numbers.read_mark,
    "portrange": numbers.read_port_range,
    "portrange-list": numbers.read_port_ranges,
    "route-table-range": numbers.read_table_range,
    "route-table-ranges": numbers.read_table_ranges,
    "ipv4": networks.read_ipv4,
    "ipv6": networks.read_ipv6,
    "cidr-list": networks.read_cidrs,
    "hostname": networks.read_hostname,
    "host-address": networks.read_bind,
    "authority": networks.read_authority,
    "endpoint-list": networks.read_endpoints,
    "port-list": networks.read_failsafe,
    "iface-param": networks.read_interface,
    "iface-filter-slice": networks.read_interface_filters,
    "iface-list": networks.read_prefixes,
    "iface-list-regexp": networks.read_excludes,
}
"""Who reads which type of Felix's; a table with a type of its own needs its reader here."""
