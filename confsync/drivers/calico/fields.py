"""Read single values of Calico's resources: names, labels, networks, ports, protocols.

Separate because every kind uses them. A value comes out as Calico itself writes it, so that what
stands in the datastore and what is wanted compare as they are.
Source: projectcalico/calico, libcalico-go/lib/validator/v3 and api/pkg/lib/numorstring.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeVar

from confsync.drivers.calico import selector
from confsync.model.shapes import fault, listed, shown

T = TypeVar("T", bound=Hashable)

NAME_CHARS: Final = 253
"""The length of a DNS subdomain, RFC 1123, as Kubernetes counts it."""
PORT_MAX: Final = 65_535
PROTOCOL_MAX: Final = 255
PROTOCOLS: Final = ("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite")
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_POLICY: Final = re.compile(rf"({_LABEL}\.)?{_LABEL}", re.ASCII)
_NAMESPACE: Final = re.compile(_LABEL, re.ASCII)
_NAMESPACE_CHARS: Final = 63
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_PORT_NAME: Final = re.compile(r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_PORTS: Final = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?", re.ASCII)
_NET: Final = re.compile(r"([0-9A-Fa-f:.]+)/[0-9]{1,3}", re.ASCII)
_INTERFACE: Final = re.compile(r"\*|[a-zA-Z0-9_.-]{1,15}", re.ASCII)
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE")


def read_name(value: object) -> str:
    """Return an object's name: a DNS subdomain."""
    if not isinstance(value, str) or not _SUBDOMAIN.fullmatch(value) or len(value) > NAME_CHARS:
        hint = f"use at most {NAME_CHARS} of a-z 0-9 - and dots between, such as web.example"
        raise fault("CS-V301", f"{shown(value)} cannot be a name in Calico", hint)
    return value


def read_policy_name(value: object) -> str:
    """Return a policy's name, with its tier before a dot if it is not the usual one."""
    hint = "use a-z 0-9 and -, with the tier and one dot before it if there is one"
    if not isinstance(value, str) or len(value) > NAME_CHARS:
        raise fault("CS-V301", f"{shown(value)} cannot be the name of a policy", hint)
    if not _POLICY.fullmatch(value) and not value.startswith(("ossg.", "knp.")):
        raise fault("CS-V301", f"{shown(value)} cannot be the name of a policy", hint)
    return value


def read_namespace(value: object) -> str:
    """Return the name of a namespace, or of a tier: no dots."""
    good = isinstance(value, str) and _NAMESPACE.fullmatch(value)
    if not isinstance(value, str) or not good or len(value) > _NAMESPACE_CHARS:
        hint = f"use at most {_NAMESPACE_CHARS} of a-z 0-9 and -, without dots"
        raise fault("CS-V301", f"{shown(value)} cannot be a name here", hint)
    return value


def read_label_key(value: object) -> str:
    """Return the key of a label or an annotation: a name, a domain and a slash may stand before."""
    text = value if isinstance(value, str) else ""
    domain, slash, name = text.rpartition("/")
    fine = not slash or (_SUBDOMAIN.fullmatch(domain) and len(domain) <= NAME_CHARS)
    if not fine or not _KEY_NAME.fullmatch(name):
        hint = "use at most 63 letters, digits and - _ . like role, or example.org/role"
        raise fault("CS-V302", f"{shown(value)} cannot be the key of a label", hint)
    return text


def read_label_value(value: object) -> str:
    """Return the value of a label; it may be empty."""
    if not isinstance(value, str) or (value and not _KEY_NAME.fullmatch(value)):
        hint = "use a text of at most 63 letters, digits and - _ . between them"
        if isinstance(value, bool | int | float):
            hint = f'write it as a text, "{str(value).lower()}"'
        raise fault("CS-V302", f"{shown(value)} cannot be the value of a label", hint)
    return value


def read_text(value: object) -> str:
    """Return any text."""
    if not isinstance(value, str):
        raise fault("CS-V048", f"{shown(value)} is not a text", "put it between quotes")
    return value


def read_selector(value: object) -> str:
    """Return a selector as it is written, once it is known to be one."""
    text = read_text(value)
    if not text.strip():
        raise fault("CS-V303", "an empty selector", "write all() for everything, or leave it out")
    try:
        selector.parse(text)
    except selector.BadSelectorError as bad:
        raise fault("CS-V303", f"{shown(value)}: {bad}", bad.hint) from None
    return text


def read_net(value: object) -> str:
    """Return a network in its shortest form."""
    hint = "write it like 192.0.2.0/24 or 2001:db8::/32"
    found = _NET.fullmatch(value) if isinstance(value, str) else None
    if not isinstance(value, str) or not found:
        address = _address(value)
        if address:
            hint = f"write {address}/{address.max_prefixlen} for this address alone"
        raise fault("CS-V304", f"{shown(value)} is not a network", hint)
    try:
        net = ip_network(value, strict=False)
    except ValueError:
        raise fault("CS-V304", f"{shown(value)} is not a network", hint) from None
    if ip_address(found[1]) != net.network_address:
        hint = f"maybe you want {_fitting(ip_address(found[1]))} or {net}"
        raise fault("CS-V304", f"{shown(value)} has host bits set", hint)
    return str(net)


def _fitting(address: IPv4Address | IPv6Address) -> str:
    """Return an address as the largest network that begins there."""
    zeros = (int(address) & -int(address)).bit_length() - 1
    return f"{address}/{address.max_prefixlen - zeros}"


def _address(value: object) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(value) if isinstance(value, str) and "%" not in value else None
    except ValueError:
        return None


def read_address(value: object) -> str:
    """Return an address in its shortest form."""
    address = _address(value)
    if address is None:
        hint = "write one address, such as 192.0.2.1 or 2001:db8::1"
        raise fault("CS-V308", f"{shown(value)} is not an address", hint)
    return str(address)


def read_port(value: object) -> int | str:
    """Return a port's number, a range ``low:high``, or the name of a port."""
    hint = f'use 1..{PORT_MAX}, a range such as "8000:8100", or the name of a port'
    if type(value) is int and 1 <= value <= PORT_MAX:
        return value
    message = f"{shown(value)} is not a port"
    if not isinstance(value, str):
        raise fault("CS-V305", message, hint)
    if found := _PORTS.fullmatch(value):
        low, high = int(found[1]), int(found[2] or found[1])
        if not 1 <= low <= PORT_MAX or not 1 <= high <= PORT_MAX:
            raise fault("CS-V305", message, hint)
        if low > high:
            raise fault("CS-V305", f"{shown(value)} ends before it begins", f"write {high}:{low}")
        return low if low == high else f"{low}:{high}"
    if re.fullmatch(r"[0-9]+-[0-9]+", value, re.ASCII):
        hint = f'write "{value.replace("-", ":")}"'
    if not _PORT_NAME.fullmatch(value):
        raise fault("CS-V305", message, hint)
    return value


def read_port_number(value: object) -> int:
    """Return the number of a port."""
    if type(value) is not int or not 1 <= value <= PORT_MAX:
        raise fault("CS-V305", f"{shown(value)} is not the number of a port", f"use 1..{PORT_MAX}")
    return value


def read_port_name(value: object) -> str:
    """Return the name of a port."""
    if not isinstance(value, str) or not _PORT_NAME.fullmatch(value):
        hint = "use at most 15 of a-z 0-9 and single -, with a letter in it"
        raise fault("CS-V305", f"{shown(value)} cannot be the name of a port", hint)
    return value


def read_protocol(value: object) -> int | str:
    """Return a protocol by its name, or by its number."""
    if type(value) is int and 1 <= value <= PROTOCOL_MAX:
        return value
    if isinstance(value, str):
        if value in PROTOCOLS:
            return value
        if re.fullmatch(r"[1-9][0-9]{0,2}", value, re.ASCII) and int(value) <= PROTOCOL_MAX:
            return int(value)
        same = [name for name in PROTOCOLS if name.lower() == value.lower()]
        if same:
            raise fault("CS-V306", f"{shown(value)} is not a protocol", f"write {same[0]}")
    hint = f"use {listed((*PROTOCOLS, f'a number from 1 to {PROTOCOL_MAX}'))}"
    raise fault("CS-V306", f"{shown(value)} is not a protocol", hint)


def read_interface(value: object) -> str:
    """Return the name of an interface; ``*`` = all of a host's."""
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value):
        hint = "use 1 to 15 letters, digits and _ . -, or * for all of them"
        raise fault("CS-V307", f"{shown(value)} is not an interface", hint)
    return value


def read_order(value: object) -> int | float:
    """Return a policy's place among the others: the lowest comes first."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise fault("CS-V309", f"{shown(value)} is not a number", "write one, such as 100 or 10.5")
    return int(value) if value == int(value) else value


def read_method(value: object) -> str:
    """Return an HTTP method."""
    if not isinstance(value, str) or value not in _METHODS:
        raise fault("CS-V310", f"{shown(value)} is not an HTTP method", f"use {listed(_METHODS)}")
    return value


def read_http_path(value: object) -> str:
    """Return the path of an HTTP request, or how it begins."""
    if not isinstance(value, str) or not value.startswith("/") or set(value) & set("? #"):
        hint = "begin with / and leave out ?, # and spaces"
        raise fault("CS-V310", f"{shown(value)} is not a path of HTTP", hint)
    return value


def apart(what: str) -> Callable[[tuple[T, ...]], tuple[T, ...]]:
    """Return the check that nothing is said twice."""

    def check(values: tuple[T, ...]) -> tuple[T, ...]:
        seen: set[T] = set()
        for value in values:
            if value in seen:
                raise fault("CS-V311", f"{what} {shown(value)} is named twice", "name it once")
            seen.add(value)
        return values

    return check


def filled(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return what a rule matches: an empty list would match everything."""
    if not values:
        hint = "leave the key out if everything is meant"
        raise fault("CS-V315", "an empty list would match everything", hint)
    return values
