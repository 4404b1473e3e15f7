"""Addresses, hosts, interfaces and ports in felix.cfg.

Separate because Felix is lax where others pay for it: it masks host bits away, takes a port that is
none, and looks at no host name before it connects.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from confsync.drivers.felix.numbers import PORT_MAX
from confsync.drivers.felix.patterns import read_pattern
from confsync.drivers.felix.tables import Parameter
from confsync.drivers.felix.texts import items, text_of
from confsync.model.ids import Json
from confsync.model.shapes import fault, shown

_HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}", re.ASCII)
_BIND: Final = re.compile(r"[A-Za-z0-9:._+-]{1,64}", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,15}", re.ASCII)
_INTERFACE: Final = re.compile(r"[A-Za-z0-9:._+-]{1,15}", re.ASCII)
_SLASHED: Final = re.compile(r"/(\S+)/")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_FAILSAFE: Final = re.compile(r"(?:(\w+):)?(?:\[([^\]]+)\]:|([^:\[\]]+):)?([^:]+)", re.ASCII)
_IPV4_ONLY: Final = frozenset({"ExternalNodesCIDRList"})
"""What is about IPIP, which carries IPv4 alone."""


def read_ipv4(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return an IPv4 address."""
    try:
        return str(IPv4Address(text_of(value)))
    except ValueError:
        raise fault("CS-V221", f"{shown(value)} is not an IPv4 address") from None


def read_ipv6(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return an IPv6 address."""
    text = text_of(value)
    try:
        found = IPv6Address(text)
    except ValueError:
        found = None
    if found is None or found.ipv4_mapped or "%" in text:
        raise fault("CS-V221", f"{shown(value)} is not an IPv6 address")
    return str(found)


def read_cidrs(parameter: Parameter, value: Json) -> str:
    """Return prefixes and addresses."""
    found = items(value)
    for one in found:
        _check_cidr(one)
        if parameter.name in _IPV4_ONLY and ":" in one:
            hint = "IPIP carries IPv4 alone: leave it out"
            raise fault("CS-V222", f"{shown(one)} is not an IPv4 prefix", hint)
    return ",".join(found)


def read_hostname(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return the name of a host, or its IPv4 address."""
    text = text_of(value)
    if not _HOST.fullmatch(text):
        hint = "use letters, digits and . _ -"
        raise fault("CS-V221", f"{shown(value)} is not the name of a host", hint)
    return text


def read_bind(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return an address to listen on: a host's name or its address in either family."""
    text = text_of(value)
    if not _BIND.fullmatch(text):
        raise fault("CS-V221", f"{shown(value)} is not an address", "use a host, or its address")
    return text


def read_authority(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return ``host:port``."""
    host, colon, port = text_of(value).partition(":")
    if not colon or not _HOST.fullmatch(host) or not _is_port(port):
        hint = "write host:port, such as 127.0.0.1:2379, without http://"
        raise fault("CS-V221", f"{shown(value)} is not a host with its port", hint)
    return f"{host}:{port}"


def read_endpoints(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return the URLs of etcd's members: one scheme, a host and a port each, nothing else."""
    found = [_endpoint(one) for one in items(value)]
    if len({scheme for scheme, _ in found}) > 1:
        hint = "use http:// or https:// for all"
        raise fault("CS-V223", f"{shown(value)} has two schemes", hint)
    return ",".join(text for _, text in found)


def read_interface(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return an interface; a plus at its end stands for anything."""
    return _interface(text_of(value))


def read_interface_filters(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return several of them."""
    return ",".join(_interface(one) for one in items(value))


def read_prefixes(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return what names of interfaces begin with."""
    found = items(value)
    for one in found:
        _check_prefix(one)
    return ",".join(found)


def read_excludes(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return names of interfaces, and regular expressions between slashes."""
    found = items(value)
    for one in found:
        if slashed := _SLASHED.fullmatch(one):
            read_pattern(slashed[1])
        else:
            _check_prefix(one)
    return ",".join(found)


def read_failsafe(parameter: Parameter, value: Json) -> str:  # noqa: ARG001
    """Return ports that stay open, as ``tcp:22``, with a prefix where they do for it alone."""
    found = [_failsafe(one) for one in items(value)]
    return ",".join(
        f"{protocol}:{f'[{net}]' if ':' in net else net}{':' if net else ''}{port}"
        for protocol, net, port in found
    )


def failsafe_ports(text: str) -> tuple[tuple[str, str, int], ...]:
    """Return what a list of such ports opens: protocol, prefix (empty = all), port."""
    return tuple(_failsafe(one) for one in items(text))


def hosts_in(text: str) -> tuple[tuple[str, int], ...]:
    """Return the hosts that endpoints or a ``host:port`` name, each with its port."""
    found = (one.rpartition("/")[2].rpartition(":") for one in text.split(","))
    return tuple((host, int(port)) for host, colon, port in found if colon)


def _endpoint(text: str) -> tuple[str, str]:
    hint = "write it like http://127.0.0.1:2379"
    if "@" in text:
        raise fault("CS-V223", "a URL with a user in it", f"Felix takes none; {hint}")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise fault("CS-V223", f"{shown(text)} is not a URL", hint) from None
    if url.scheme not in ("http", "https") or not url.hostname or not port:
        raise fault("CS-V223", f"{shown(text)} is not the URL of an endpoint", hint)
    if url.path not in ("", "/") or set("?#") & set(text):
        raise fault("CS-V223", f"{shown(text)} has more than a host and a port", hint)
    if not _HOST.fullmatch(url.hostname) and not _is_ipv6(url.hostname):
        raise fault("CS-V223", f"{shown(text)} names no host", hint)
    return url.scheme, f"{url.scheme}://{url.netloc}"


def _failsafe(text: str) -> tuple[str, str, int]:
    hint = "write it like tcp:22, udp:10.0.0.0/8:53 or tcp:[fd00::/8]:22"
    found = _FAILSAFE.fullmatch(text)
    if not found or not _is_port(found[4]):
        raise fault("CS-V216", f"{shown(text)} is not a port to keep open", hint)
    protocol, net = (found[1] or "tcp").lower(), found[2] or found[3] or ""
    if protocol not in ("tcp", "udp"):
        hint = "use tcp or udp: the others have no failsafe ports"
        raise fault("CS-V216", f"{shown(text)} is of no protocol known here", hint)
    if net:
        _check_cidr(net)
    return protocol, net, int(found[4])


def _check_cidr(text: str) -> None:
    hint = "write it like 192.0.2.0/24 or fd00::/8"
    try:
        net = ip_network(text, strict=False)
    except ValueError:
        raise fault("CS-V222", f"{shown(text)} is not a prefix", hint) from None
    if "%" in text or ip_address(text.partition("/")[0]) != net.network_address:
        hint = f"did you mean {net}?"
        raise fault("CS-V222", f"{shown(text)} has host bits set", hint)


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        hint = "use 1 to 15 characters; + at the end stands for anything"
        raise fault("CS-V220", f"{shown(text)} is not an interface", hint)
    return text


def _check_prefix(text: str) -> None:
    if not _PREFIX.fullmatch(text):
        hint = "use 1 to 15 of A-Z a-z 0-9 _ -"
        raise fault("CS-V220", f"{shown(text)} is not an interface's name", hint)


def _is_port(text: str) -> bool:
    return bool(_PORT.fullmatch(text)) and int(text) <= PORT_MAX


def _is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).scope_id is None
    except ValueError:
        return False
