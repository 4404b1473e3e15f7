"""Numbers in felix.cfg: whole ones, times, masks, ranges of ports and of route tables.

Separate because Go reads numbers in more ways than people write them: 010 is eight, inf is a time,
1_000 is a thousand. One way is taken, plain decimal, and what else could be meant is told.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from confsync.drivers.felix.tables import Parameter
from confsync.drivers.felix.texts import items, plain
from confsync.model.ids import Json
from confsync.model.shapes import fault, shown

INT_MAX: Final = 2**63 - 1
PORT_MAX: Final = 65_535
MARK_BITS_MIN: Final = 2
RANGES_MAX: Final = 7
"""How many ranges of ports fit into one rule of iptables: 15 ports, two for each."""
TABLE_RANGE_MAX: Final = 250
TABLE_MAX: Final = 2**32 - 1
TABLES_MAX: Final = 0xFFFF
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_TIME: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]{1,9})?", re.ASCII)
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h)", re.ASCII)
_HEX: Final = re.compile(r"0x[0-9a-f]{1,8}", re.ASCII | re.IGNORECASE)
_PORTS: Final = re.compile(r"(0|[1-9][0-9]{0,4})(?::(0|[1-9][0-9]{0,4}))?", re.ASCII)
_TABLES: Final = re.compile(r"([1-9][0-9]{0,9})-([1-9][0-9]{0,9})", re.ASCII)
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_NARROWER: Final = {
    **dict.fromkeys(("VXLANPort", "WireguardListeningPort"), (1, PORT_MAX)),
    **dict.fromkeys(("WireguardListeningPortV6", "BPFKubeProxyHealthzPort"), (1, PORT_MAX)),
    "VXLANVNI": (0, 2**24 - 1),
    "DeviceRouteProtocol": (0, 255),
    "BPFExtToServiceConnmark": (0, 2**32 - 1),
    "WireguardRoutingRulePriority": (1, 32_765),
    **dict.fromkeys(("VXLANMTU", "VXLANMTUV6", "IpInIpMtu"), (0, PORT_MAX)),
    **dict.fromkeys(("WireguardMTU", "WireguardMTUV6"), (0, PORT_MAX)),
}
"""What the kernel takes, where Felix itself would take any number and fail later."""


def read_int(parameter: Parameter, value: Json) -> str:
    """Return a whole number in plain decimal."""
    low, high = _bounds(parameter)
    number = decimal_of(value)
    if not low <= number <= high:
        limits = f"at least {low}" if high == INT_MAX else f"from {low} to {high}"
        raise fault("CS-V213", f"{shown(value)} is out of bounds", f"use a number {limits}")
    return str(number)


def read_seconds(parameter: Parameter, value: Json) -> str:
    """Return a time in seconds, as short as it can be written."""
    return _time(parameter, value, "seconds", 1000)


def read_millis(parameter: Parameter, value: Json) -> str:
    """Return a time in milliseconds."""
    return _time(parameter, value, "milliseconds", 1)


def read_mark(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return a mask of the marks that Felix may use, as ``0xffff0000``."""
    written_hex = isinstance(value, str) and _HEX.fullmatch(value)
    number = int(str(value), 16) if written_hex else decimal_of(value)
    if not 0 <= number < 2**32 or number.bit_count() < MARK_BITS_MIN:
        hint = f"use 32 bits with at least {MARK_BITS_MIN} set, such as 0xffff0000"
        raise fault("CS-V215", f"{shown(value)} is not a mask of marks", hint)
    return f"0x{number:08x}"


def read_port_range(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return a port, or a range of ports as ``low:high``."""
    found = _PORTS.fullmatch(plain(value))
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not found or not low <= high <= PORT_MAX:
        hint = "write one port, or a range like 30000:32767"
        raise fault("CS-V216", f"{shown(value)} is not a range of ports", hint)
    return found[0]


def read_port_ranges(parameter: Parameter, value: Json) -> str:
    """Return ranges of ports."""
    found = [read_port_range(parameter, one) for one in items(value)]
    if len(found) > RANGES_MAX:
        hint = f"use at most {RANGES_MAX}: no more fit into one rule"
        raise fault("CS-V216", f"{len(found)} ranges of ports", hint)
    return ",".join(found)


def read_table_range(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return the route tables that Felix may use, of the first 250."""
    _, high, text = _tables(plain(value))
    if high > TABLE_RANGE_MAX:
        hint = f"use tables from 1 to {TABLE_RANGE_MAX}, like 65-99"
        raise fault("CS-V217", f"{shown(value)} is out of bounds", hint)
    return text


def read_table_ranges(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return ranges of route tables that Felix may use."""
    found = [_tables(one) for one in items(value)]
    if sum(high - low + 1 for low, high, _ in found) > TABLES_MAX:
        raise fault("CS-V217", "too many route tables", f"name at most {TABLES_MAX} in all")
    return ",".join(text for _, _, text in found)


def decimal_of(value: Json) -> int:
    """Return a whole number that nobody can read as another one."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise fault("CS-V212", f"{shown(value)} is not a whole number", "write it in digits")
    text = plain(value)
    if _DECIMAL.fullmatch(text) and len(text) <= len(str(INT_MAX)) and text != "-0":
        return int(text)
    if re.fullmatch(r"0[0-7]+", text):
        hint = f"write {int(text, 8)}, or {text.lstrip('0') or 0} if that is meant"
        raise fault("CS-V212", f"{shown(text)} is octal to Felix: {int(text, 8)}", hint)
    try:
        hint = f"write {int(text, 0)}"
    except ValueError:
        hint = "write it in digits"
    raise fault("CS-V212", f"{shown(value)} is not a plain whole number", hint)


def _bounds(parameter: Parameter) -> tuple[int, int]:
    if parameter.name in _NARROWER:
        return _NARROWER[parameter.name]
    if not parameter.of:
        return -INT_MAX - 1, INT_MAX
    low, _, high = parameter.of[0].partition(":")
    return int(low or -INT_MAX - 1), int(high or INT_MAX)


def _time(parameter: Parameter, value: Json, unit: str, unit_ms: int) -> str:
    text = str(value) if type(value) in (int, float) else plain(value)
    if not _TIME.fullmatch(text):
        hint = f"write {unit} as a number, such as 90 or 0.5"
        if found := _DURATION.fullmatch(text):
            number = Decimal(int(found[1]) * _UNIT_MS[found[2]]) / unit_ms
            hint = f"did you mean {number}? here it is a number of {unit}"
        raise fault("CS-V214", f"{shown(value)} is not a time in {unit}", hint)
    number = Decimal(text)
    low, high = _bounds(parameter)
    if not low <= number <= min(high, INT_MAX // 10**9):
        raise fault("CS-V214", f"{shown(value)} is out of bounds", f"use {unit} that will pass")
    return f"{number.normalize():f}"


def _tables(text: str) -> tuple[int, int, str]:
    found = _TABLES.fullmatch(text)
    low, high = (int(found[1]), int(found[2])) if found else (1, 0)
    if not low <= high <= TABLE_MAX:
        hint = "write the first and the last table, like 65-99"
        raise fault("CS-V217", f"{shown(text)} is not a range of route tables", hint)
    return low, high, text
