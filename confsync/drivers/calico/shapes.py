"""The shape of a `calico` document: objects by kind and name, as calicoctl calls the kinds.

Separate because this is the whole of what may be written, and of what may not: other kinds have
other owners, and a document that names one is told who.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field, PlainValidator

from confsync.drivers.calico import fields
from confsync.drivers.calico.felix import FelixShape
from confsync.drivers.calico.policy_shapes import (
    CamelShape,
    GlobalPolicyShape,
    MetaShape,
    Name,
    Namespace,
    Nets,
    PolicyName,
    PolicyShape,
    Protocol,
)
from confsync.drivers.calico.resources import SECTION
from confsync.model.shapes import Reader

_IPAM: Final = "addresses are given out from it: change it with calicoctl, by hand"
_BGP: Final = "the bgp section writes BIRD itself"
_OPENSTACK: Final = "networking-calico writes it"
_CALICO: Final = "Calico's own daemons write it"
_LATER: Final = "it is not managed yet"

READ_ONLY: Final = {
    "bgpconfigurations": _BGP,
    "bgpfilters": _BGP,
    "bgppeers": _BGP,
    "blockaffinities": _CALICO,
    "caliconodestatuses": _CALICO,
    "clusterinformations": _OPENSTACK,
    "ipamconfigurations": _IPAM,
    "ippools": _IPAM,
    "ipreservations": _IPAM,
    "kubecontrollersconfigurations": _LATER,
    "nodes": _CALICO,
    "profiles": _LATER,
    "stagedglobalnetworkpolicies": _LATER,
    "stagedkubernetesnetworkpolicies": _LATER,
    "stagednetworkpolicies": _LATER,
    "tiers": _LATER,
    "workloadendpoints": _OPENSTACK,
}
"""Kinds that are only read here, and why."""

_Address = Annotated[str, PlainValidator(fields.read_address)]
_Addresses = Annotated[tuple[_Address, ...], AfterValidator(fields.apart("the address"))]
_Interface = Annotated[str, PlainValidator(fields.read_interface)]
_PortName = Annotated[str, PlainValidator(fields.read_port_name)]
_PortNumber = Annotated[int, PlainValidator(fields.read_port_number)]
_Profiles = Annotated[tuple[Name, ...], AfterValidator(fields.apart("the profile"))]


class SetShape(MetaShape):
    """Networks that rules find by the set's labels."""

    nets: Nets = ()


class EndpointPortShape(CamelShape):
    """A port of a host that rules may call by a name."""

    name: _PortName
    protocol: Protocol
    port: _PortNumber


class EndpointShape(MetaShape):
    """An interface of a host that policies protect."""

    node: Name
    interface_name: _Interface | None = None
    expected_ips: _Addresses = Field(default=(), alias="expectedIPs")
    profiles: _Profiles = ()
    ports: tuple[EndpointPortShape, ...] = ()


class Document(CamelShape):
    """A whole `calico` section as documents write it."""

    globalnetworkpolicies: dict[PolicyName, GlobalPolicyShape] = Field(default_factory=dict)
    networkpolicies: dict[Namespace, dict[PolicyName, PolicyShape]] = Field(default_factory=dict)
    globalnetworksets: dict[Name, SetShape] = Field(default_factory=dict)
    networksets: dict[Namespace, dict[Name, SetShape]] = Field(default_factory=dict)
    hostendpoints: dict[Name, EndpointShape] = Field(default_factory=dict)
    felixconfigurations: dict[Name, FelixShape] = Field(  # type: ignore[valid-type] # made of data
        default_factory=dict
    )


READER: Final = Reader(
    SECTION,
    Document,
    (
        ("networkpolicies", "*", "*"),
        ("networkpolicies", "*"),
        ("networksets", "*", "*"),
        ("networksets", "*"),
        ("globalnetworkpolicies", "*"),
        ("globalnetworksets", "*"),
        ("hostendpoints", "*"),
        ("felixconfigurations", "*"),
    ),
)
