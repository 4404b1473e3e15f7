"""The leaves of a `bgp` document: one reader each, from what JSON holds to a typed value.

Separate because every refusal is worded here, for operators: what was found, and what to write.
A reader returns a value or raises `fault`; it never coerces (YAML's ``"30"`` is not 30), but for
AS numbers, which operators write both ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from pydantic_core import PydanticCustomError

from confsync.drivers.bird.policy import Address, Family, Network
from confsync.model.limits import (
    BGP_MULTIHOP,
    BGP_NAME_CHARS,
    BGP_PATH_BYTES,
    BGP_TEXT_CHARS,
    BIRD_SYMBOL_CHARS,
)
from confsync.model.shapes import fault, integer, listed, shown

ASN_MAX: Final = 2**32 - 1
_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{BGP_NAME_CHARS - 1}}}", re.ASCII)
_SYMBOL: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_.:-]{{0,{BIRD_SYMBOL_CHARS - 1}}}", re.ASCII)
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_.@:-]{1,15}", re.ASCII)
_INTERFACES: Final = re.compile(r"-?[A-Za-z0-9_.@:*?-]{1,15}", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|\+00:00)", re.ASCII)
_PREFIX: Final = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}", re.ASCII)
_ASDOT: Final = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})", re.ASCII)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def read_asn(value: object) -> int:
    """Return an AS number, written as a number or as its digits."""
    hint = f"use 1..{ASN_MAX}"
    number = value
    if isinstance(value, str):
        if dotted := _ASDOT.fullmatch(value):
            plain = int(dotted[1]) * 65536 + int(dotted[2])
            raise fault("CS-V043", f"{shown(value)} is asdot notation", f"write it as {plain}")
        if value.isascii() and value.isdigit() and len(value) <= len(str(ASN_MAX)):
            number = int(value)
    if type(number) is not int or not 1 <= number <= ASN_MAX:
        raise fault("CS-V043", f"{shown(value)} is not an AS number", hint)
    return number


def read_hold(value: object) -> int:
    """Return a hold time: none (0), or no shorter than BGP allows."""
    if value in (1, 2) and type(value) is int:
        raise fault("CS-V046", f"{value} is too short", "use 0 (no hold timer) or 3..65535")
    return integer(0, 65_535)(value)


def flag_or(what: str, *words: str) -> Callable[[object], str]:
    """Return the reader of true or false, written as `on` and `off`, or of one of a few words."""

    def read(value: object) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, str) and value in (*words, "on", "off"):
            return value
        hint = f"use {listed(('true', 'false', *words))} (yes and no are plain text in YAML 1.2)"
        raise fault("CS-V047", f"{shown(value)} is not {what}", hint)

    return read


def not_empty(families: tuple[str, ...]) -> tuple[str, ...]:
    """Return the families of a session: one without any brings nothing, and looks well."""
    if not families:
        raise fault("CS-V049", "a session of no family brings nothing", "use ipv4, ipv6 or both")
    return families


def read_name(value: object) -> str:
    """Return the name of a peer or an announcement."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        hint = f"use 1 to {BGP_NAME_CHARS} of a-z 0-9 _ -, a letter or digit first"
        raise fault("CS-V050", f"{shown(value)} cannot be a name here", hint)
    return value


def read_symbol(value: object) -> str:
    """Return a name that BIRD uses: of a table, of a protocol, of another hand's filter."""
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        hint = f"use 1 to {BIRD_SYMBOL_CHARS} letters, digits, and _ . : -, a letter or _ first"
        raise fault("CS-V050", f"{shown(value)} is not a name that BIRD knows", hint)
    return value


def read_interface(value: object) -> str:
    """Return the name of one interface."""
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value):
        hint = "use the name of one interface, 1 to 15 characters"
        raise fault("CS-V067", f"{shown(value)} is not an interface", hint)
    return value


def read_interfaces(value: object) -> str:
    """Return a pattern of interfaces' names; a dash before it excludes what it matches."""
    if not isinstance(value, str) or not _INTERFACES.fullmatch(value):
        hint = 'use names or patterns such as "eth*", with a dash before what is excluded'
        raise fault("CS-V067", f"{shown(value)} is not a pattern of interfaces", hint)
    return value


def read_moment(value: object) -> str:
    """Return a time by its shape: RFC 3339, UTC; a value cannot know what time it is."""
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            datetime.fromisoformat(value)
            return value
    except ValueError:
        pass
    hint = "write it like 2026-11-24T06:00:00Z"
    raise fault("CS-V068", f"{shown(value)} is not a time in UTC", hint)


def read_reason(value: object) -> str:
    """Return why something is as it is: a text that says something."""
    text = read_text(value)
    if not text.strip():
        raise fault("CS-V048", "empty", "say why, for everybody who will ask")
    return text


def read_peer_as(value: object) -> int | str:
    """Return a neighbour's AS number, or that any of our own or of another AS will do."""
    return value if value in ("internal", "external") else read_asn(value)


def read_cluster_id(value: object) -> IPv4Address:
    """Return the id of a cluster of reflectors."""
    found = read_router_id(value)
    if isinstance(found, str):
        raise fault("CS-V052", f"{shown(value)} is not a cluster id", "use an IPv4 address")
    return found


def read_next_hop(value: object) -> str:
    """Return what is told as next hop: auto, self, keep or an address."""
    if isinstance(value, str) and value in ("auto", "self", "keep"):
        return value
    try:
        return str(read_any_address(value))
    except PydanticCustomError:
        hint = "use auto, self, keep or an address"
        raise fault("CS-V044", f"{shown(value)} is not a next hop", hint) from None


def read_merge(value: object) -> bool | int:
    """Return whether equal paths are merged, or how many of them at most."""
    return value if isinstance(value, bool) else integer(1, 255)(value)


def read_log_target(value: object) -> str:
    """Return where BIRD logs: syslog, stderr or a file."""
    return value if value in ("syslog", "stderr") else read_path(value)


def read_multihop(value: object) -> int:
    """Return how many hops away a neighbour may be; 0 = it must be on our own network."""
    if isinstance(value, bool):
        return BGP_MULTIHOP if value else 0
    return integer(1, 255)(value)


def read_text(value: object) -> str:
    """Return a text that BIRD can hold between quotes: it knows no escapes."""
    if not isinstance(value, str):
        raise fault("CS-V048", f"{shown(value)} is not a text")
    if len(value) > BGP_TEXT_CHARS:
        raise fault("CS-V048", f"{len(value)} characters", f"use at most {BGP_TEXT_CHARS}")
    if not _quotable(value):
        hint = 'leave out " and control characters'
        raise fault("CS-V048", f"{shown(value)} cannot be written in BIRD's file", hint)
    return value


def read_path(value: object) -> str:
    """Return the absolute path of a file that is named, not read, here.

    Why: what stands in the place of a password's file may be the password; it is not repeated.
    """
    hint = f'name a file by its absolute path, at most {BGP_PATH_BYTES} bytes, without "'
    if not isinstance(value, str) or not value.startswith("/") or not _quotable(value):
        raise fault("CS-V051", "what stands here is not an absolute path", hint)
    if len(value.encode()) > BGP_PATH_BYTES or value.endswith("/") or "*" in value:
        raise fault("CS-V051", "what stands here is not the path of one file", hint)
    if any(part in ("", ".", "..") for part in value.split("/")[1:]):
        raise fault("CS-V051", "the path is not in its shortest form", "leave out //, . and ..")
    return value


def _quotable(text: str) -> bool:
    return text.isprintable() and '"' not in text


def read_router_id(value: object) -> IPv4Address | str:
    """Return a router id: 32 bits, written as an IPv4 address, not zero; or `auto`."""
    if value == "auto":
        return "auto"
    address = _address(value, Family.IPV4)
    if address is None or int(address) == 0:
        raise fault("CS-V052", f"{shown(value)} is not a router id", "use an IPv4 address, or auto")
    return IPv4Address(address)


def address_of(family: Family) -> Callable[[object], Address]:
    """Return the reader of a host's address in one family."""

    def read(value: object) -> Address:
        address = _address(value, family)
        if address is None:
            other = Family.IPV6 if family is Family.IPV4 else Family.IPV4
            hint = f"it belongs under {other}" if _address(value, other) else ""
            if isinstance(value, list | tuple):
                hint = "write one address; each neighbour is a peer of its own"
            raise fault("CS-V044", f"{shown(value)} is not an {_named(family)} address", hint)
        if problem := _unfit(address):
            raise fault("CS-V044", f"{shown(value)} is {problem}", "use the host's unicast address")
        return address

    return read


def neighbour_of(family: Family) -> Callable[[object], tuple[Address, str]]:
    """Return the reader of a neighbour's address; `%` and an interface may follow it."""
    plain = address_of(family)

    def read(value: object) -> tuple[Address, str]:
        text, percent, interface = str(value).partition("%")
        if not percent:
            return plain(value), ""
        return plain(text), read_interface(interface)

    return read


def read_any_address(value: object) -> Address:
    """Return a host's address of whichever family it is written in."""
    written_v6 = isinstance(value, str) and ":" in value
    return address_of(Family.IPV6 if written_v6 else Family.IPV4)(value)


def _address(value: object, family: Family) -> Address | None:
    if not isinstance(value, str) or "%" in value:
        return None
    try:
        return IPv4Address(value) if family is Family.IPV4 else IPv6Address(value)
    except ValueError:
        return None


def _unfit(address: Address) -> str:
    """Return why an address cannot be an end of a session."""
    if isinstance(address, IPv6Address):
        if address in _MAPPED:
            return "an IPv4 address in IPv6 clothes"
    elif address.is_reserved or int(address) < 2**24:
        return "a reserved address"
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_multicast:
        return "a multicast address"
    return "a loopback address" if address.is_loopback else ""


def read_any_prefix(value: object) -> Network:
    """Return a prefix of whichever family it is written in."""
    written_v6 = isinstance(value, str) and ":" in value
    return prefix_of(Family.IPV6 if written_v6 else Family.IPV4)(value)


def prefix_of(family: Family) -> Callable[[object], Network]:
    """Return the reader of a prefix in one family."""
    kind = IPv4Network if family is Family.IPV4 else IPv6Network

    def read(value: object) -> Network:
        example = "192.0.2.0/24" if family is Family.IPV4 else "2001:db8::/32"
        message = f"{shown(value)} is not an {_named(family)} prefix"
        if not isinstance(value, str) or not _PREFIX.fullmatch(value):
            raise fault("CS-V045", message, f"write it like {example}")
        try:
            net: Network = kind(value, strict=False)
        except ValueError:
            raise fault("CS-V045", message, f"write it like {example}") from None
        if _address(value.split("/")[0], family) != net.network_address:
            raise fault("CS-V045", f"{shown(value)} has host bits set", f"maybe you want {net}")
        if isinstance(net, IPv6Network) and net.subnet_of(_MAPPED):
            raise fault("CS-V045", f"{shown(value)} is an IPv4 prefix in IPv6 clothes")
        return net

    return read


def _named(family: Family) -> str:
    return {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}[family]
