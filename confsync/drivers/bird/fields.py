"""The leaves of a `bgp` document: one reader each, from what JSON holds to a typed value.

Separate because every refusal is worded here, for operators: what was found, and what to write.
A reader returns a value or raises `fault`; it never coerces (YAML's ``"30"`` is not 30), but for
AS numbers, which operators write both ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from pydantic_core import PydanticCustomError

from confsync.drivers.bird.bgp import Address, Family, Network
from confsync.model.ids import Json
from confsync.model.limits import BGP_NAME_CHARS, BGP_PATH_BYTES, BGP_TEXT_CHARS

ASN_MAX: Final = 2**32 - 1
_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{BGP_NAME_CHARS - 1}}}", re.ASCII)
_PREFIX: Final = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}", re.ASCII)
_ASDOT: Final = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})", re.ASCII)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SHOWN_CHARS: Final = 60


def fault(code: str, message: str, hint: str = "") -> PydanticCustomError:
    """Return the refusal of one leaf, in our words."""
    return PydanticCustomError(code, "{message}", {"message": message, "hint": hint})


def shown(value: Json) -> str:
    """Return what was found, in ASCII and short."""
    text = json.dumps(value, default=lambda _: "...")
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."


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


def integer(low: int, high: int) -> Callable[[object], int]:
    """Return the reader of a whole number within bounds."""

    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            message = f"{shown(value)} is not a whole number from {low} to {high}"
            raise fault("CS-V046", message, f"use {low}..{high}")
        return value

    return read


def read_hold(value: object) -> int:
    """Return a hold time: none (0), or no shorter than BGP allows."""
    if value in (1, 2) and type(value) is int:
        raise fault("CS-V046", f"{value} is too short", "use 0 (no hold timer) or 3..65535")
    return integer(0, 65_535)(value)


def read_flag(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        hint = "write true or false (yes, no, on and off are plain text in YAML 1.2)"
        raise fault("CS-V047", f"{shown(value)} is neither true nor false", hint)
    return value


def read_action(value: object) -> bool:
    """Return whether an action permits."""
    if value not in ("permit", "deny"):
        raise fault("CS-V049", f"{shown(value)} is not an action", "use permit or deny")
    return value == "permit"


def read_name(value: object) -> str:
    """Return the name of a peer or an announcement."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        hint = f"use 1 to {BGP_NAME_CHARS} of a-z 0-9 _ -, a letter or digit first"
        raise fault("CS-V050", f"{shown(value)} cannot be a name here", hint)
    return value


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


def read_router_id(value: object) -> IPv4Address:
    """Return a router id: 32 bits, written as an IPv4 address, not zero."""
    address = _address(value, Family.IPV4)
    if address is None or int(address) == 0:
        raise fault("CS-V052", f"{shown(value)} is not a router id", "use an IPv4 address")
    return IPv4Address(address)


def address_of(family: Family) -> Callable[[object], Address]:
    """Return the reader of a host's address in one family."""

    def read(value: object) -> Address:
        address = _address(value, family)
        if address is None:
            other = Family.IPV6 if family is Family.IPV4 else Family.IPV4
            hint = f"it belongs under {other}" if _address(value, other) else ""
            raise fault("CS-V044", f"{shown(value)} is not an {_named(family)} address", hint)
        if problem := _unfit(address):
            raise fault("CS-V044", f"{shown(value)} is {problem}", "use the host's unicast address")
        return address

    return read


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
        if address.is_link_local:
            return "link-local, which only a later version supports"
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
