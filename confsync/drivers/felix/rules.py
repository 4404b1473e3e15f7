"""What must hold between parameters, what cannot be undone, and what deserves a second look.

Separate because each is about more than one value, or about the host as a whole. Nothing is decided
here: these are findings, for the section and the plan to weigh.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pydantic_core import PydanticCustomError

from confsync.drivers.felix import values
from confsync.drivers.felix.networks import failsafe_ports, hosts_in
from confsync.drivers.felix.shapes import SECTION, Felix
from confsync.drivers.felix.tables import knowing
from confsync.drivers.felix.texts import NONE
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Path
from confsync.model.shapes import listed

ETCD_PORT: Final = 2379
FAILSAFE: Final = ("FailsafeInboundHostPorts", "FailsafeOutboundHostPorts")
_DATASTORE: Final = ("EtcdEndpoints", "EtcdAddr", "TyphaAddr")
_NEEDED: Final = (
    ("tcp", 22, "ssh"),
    ("tcp", 179, "BGP"),
    *(("udp", port, "BFD") for port in (3784, 3785, 4784)),
    *(("tcp", port, "Consul") for port in (8300, 8301, 8302, 8500, 8501)),
    *(("udp", port, "Consul") for port in (8301, 8302)),
)
"""What a host is reached by, and reaches others by, whatever a policy says (RFC 5881, 5883)."""
_ETCD_TLS: Final = ("EtcdKeyFile", "EtcdCertFile", "EtcdCaFile")
_TYPHA_FILES: Final = ("TyphaKeyFile", "TyphaCertFile", "TyphaCAFile")
_TYPHA_NAMES: Final = ("TyphaCN", "TyphaURISAN")
_IRREVERSIBLE: Final = {
    "DatastoreType": "Felix reads its policy from another datastore",
    "FelixHostname": "Felix takes itself for another host, and drops this one's endpoints",
    "InterfacePrefix": "interfaces of running servers are no workloads any more",
    "IptablesMarkMask": "rules and marks of running traffic do not fit each other",
    "NftablesMarkMask": "rules and marks of running traffic do not fit each other",
    "BPFEnabled": "the whole data plane is replaced, and connections are lost",
    "DataplaneDriver": "another program drives the data plane",
    "UseInternalDataplaneDriver": "another program drives the data plane",
    "RouteTableRange": "routes stay behind in the tables that are left",
    "RouteTableRanges": "routes stay behind in the tables that are left",
}
_LOOPBACK: Final = re.compile(r"127\.|localhost$|\[::1\]", re.ASCII)
_ZEROES: Final = {"bool": "false", "int": "0", "seconds": "0", "millis": "0"}
_GLOB: Final = re.compile(r"[A-Za-z0-9_-]\*$", re.ASCII)


class Lacking(NamedTuple):
    """A port that a list of failsafe ports does not open, and for whom it is."""

    parameter: str
    protocol: str
    port: int
    who: str


def broken(value: Felix) -> Violations:
    """Return every broken rule: what Felix would not start with, whatever the version."""
    return tuple(violation for rule in RULES for violation in rule(value.parameters))


def doubtful(value: Felix, version: str | None = None) -> tuple[str, ...]:
    """Return what is allowed but deserves a second look; defaults are one version's, or all's."""
    looks = (_unverified, _etcd_tls, _globs, _tables_twice)
    found = (note for look in looks for note in look(value.parameters))
    return (*found, *_defaults(value.parameters, version))


def lacking(value: Felix) -> tuple[Lacking, ...]:
    """Return the ports that a given list of failsafe ports does not open to all.

    Why: a policy for the host itself drops all else. A list that is not given is Felix's own, which
    has neither BFD nor Consul; that is no fault of the document.
    """
    needed = (*_NEEDED, *(("tcp", port, "the datastore") for port in _datastore_ports(value)))
    return tuple(
        Lacking(name, *one)
        for name in FAILSAFE
        if name in value.parameters
        for one in needed
        if one[:2] not in _opened(value.parameters[name])
    )


def irreversible(
    before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return the changed parameters that cut a host off or cannot be undone, each with the reason.

    Shape: both map names in any case to texts; a name that lacks, or has an empty text, is the
    default. Another way to write the same is no change.
    """
    old, new = _texts(before), _texts(after)
    return tuple(
        (name, why)
        for name, why in _IRREVERSIBLE.items()
        if _standing(name, old) != _standing(name, new)
    )


def _typha_tls(parameters: Mapping[str, str]) -> Iterator[Violation]:
    """Felix ends at once unless all of Typha's are given, or none."""
    given = _given(parameters, (*_TYPHA_FILES, *_TYPHA_NAMES))
    missing = [name for name in _TYPHA_FILES if name not in given]
    if given and not set(_TYPHA_NAMES) & set(given):
        missing.append(listed(_TYPHA_NAMES))
    if given and missing:
        message = f"TLS to Typha needs {', '.join(missing)} as well"
        yield Violation("CS-V230", _at(given[0]), message, "give all of them, or none")


RULES: Final = (_typha_tls,)


def _unverified(parameters: Mapping[str, str]) -> Iterator[str]:
    if parameters.get("HealthEnabled") != "true":
        yield "HealthEnabled is not true: whether Felix is ready after a change cannot be seen"


def _etcd_tls(parameters: Mapping[str, str]) -> Iterator[str]:
    given = _given(parameters, _ETCD_TLS)
    missing = [name for name in _ETCD_TLS if name not in given]
    if given and missing:
        yield f"{given[0]} without {listed(missing)}: TLS to etcd asks for all three as a rule"


def _globs(parameters: Mapping[str, str]) -> Iterator[str]:
    for name, text in sorted(parameters.items()):
        kinds = {parameter.kind for _, parameter in knowing(name)}
        if "regexp" in kinds and _GLOB.search(text):
            letter = text[-2]
            yield (
                f"{name}: {text} is a regular expression, no pattern of file names: it asks for "
                f"any number of {letter}, also none"
            )


def _tables_twice(parameters: Mapping[str, str]) -> Iterator[str]:
    if len(_given(parameters, ("RouteTableRange", "RouteTableRanges"))) > 1:
        yield "RouteTableRange has no effect beside RouteTableRanges"


def _defaults(parameters: Mapping[str, str], version: str | None) -> Iterator[str]:
    for name, text in sorted(parameters.items()):
        known = [one for at, one in knowing(name) if version in (None, at)]
        if known and all(_zero_or_default(one.kind, one.default) == text for one in known):
            yield f"{name} is {text} by default already"


def _zero_or_default(kind: str, default: str) -> str:
    """Return the text of a default; where there is none it is what Go begins with."""
    return default or _ZEROES.get(kind, NONE)


def _texts(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that Felix looks at, each in the one way to write it."""
    return {name.lower(): _text(name, text) for name, text in parameters.items() if text}


def _text(name: str, text: str) -> str:
    for _, parameter in reversed(knowing(name)):
        try:
            found = values.read(parameter, text)
        except PydanticCustomError:
            continue
        return _ZEROES.get(parameter.kind, "") if found == NONE else found
    return text


def _standing(name: str, texts: Mapping[str, str]) -> str:
    return texts.get(name.lower(), knowing(name)[-1][1].default)


def _opened(text: str) -> frozenset[tuple[str, int]]:
    """Return what a list opens to everybody."""
    if text == NONE:
        return frozenset()
    return frozenset((protocol, port) for protocol, net, port in failsafe_ports(text) if not net)


def _datastore_ports(value: Felix) -> tuple[int, ...]:
    """Return where the datastore is.

    Why: an address of the host itself is a proxy; beyond it is etcd, on its usual port.
    """
    texts = (value.parameters.get(name, "") for name in _DATASTORE)
    found = {port for text in texts for host, port in hosts_in(text) if not _LOOPBACK.match(host)}
    return tuple(sorted(found)) or (ETCD_PORT,)


def _given(parameters: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    return [name for name in names if parameters.get(name, NONE) != NONE]


def _at(name: str) -> Path:
    return (SECTION, "parameters", name)
