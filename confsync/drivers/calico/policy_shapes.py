"""The shape of policies: their rules, and whom a rule is about.

Separate because rules are most of what may be written, and both kinds of policy have them.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel

from confsync.drivers.calico import fields
from confsync.model.shapes import Shape, choice, fault, integer, read_flag, shown

ACTIONS: Final = ("Allow", "Deny", "Log", "Pass")
INGRESS: Final = "Ingress"
EGRESS: Final = "Egress"
_FAMILIES: Final = (4, 6)

Flag = Annotated[bool, PlainValidator(read_flag)]
Name = Annotated[str, PlainValidator(fields.read_name)]
Namespace = Annotated[str, PlainValidator(fields.read_namespace)]
PolicyName = Annotated[str, PlainValidator(fields.read_policy_name)]
Key = Annotated[str, PlainValidator(fields.read_label_key)]
LabelValue = Annotated[str, PlainValidator(fields.read_label_value)]
Text = Annotated[str, PlainValidator(fields.read_text)]
Selector = Annotated[str, PlainValidator(fields.read_selector)]
Net = Annotated[str, PlainValidator(fields.read_net)]
Nets = Annotated[tuple[Net, ...], AfterValidator(fields.apart("the network"))]
Protocol = Annotated[int | str, PlainValidator(fields.read_protocol)]
_Port = Annotated[int | str, PlainValidator(fields.read_port)]
_Ports = Annotated[
    tuple[_Port, ...], AfterValidator(fields.apart("the port")), AfterValidator(fields.filled)
]
_Nets = Annotated[Nets, AfterValidator(fields.filled)]
_Order = Annotated[int | float, PlainValidator(fields.read_order)]
_Action = Annotated[str, PlainValidator(choice("an action", *ACTIONS))]
_Type = Annotated[str, PlainValidator(choice("a direction", INGRESS, EGRESS))]
_Types = Annotated[tuple[_Type, ...], AfterValidator(fields.apart("the direction"))]
_IcmpType = Annotated[int, PlainValidator(integer(0, 254))]
_IcmpCode = Annotated[int, PlainValidator(integer(0, 255))]
_Method = Annotated[str, PlainValidator(fields.read_method)]
_Methods = Annotated[
    tuple[_Method, ...], AfterValidator(fields.apart("the method")), AfterValidator(fields.filled)
]
_HttpPath = Annotated[str, PlainValidator(fields.read_http_path)]
_Names = Annotated[
    tuple[Name, ...], AfterValidator(fields.apart("the account")), AfterValidator(fields.filled)
]
_Hint = Annotated[str, PlainValidator(choice("a hint for Felix", "AssumeNeededOnEveryNode"))]


def _family(value: object) -> int:
    if type(value) is not int or value not in _FAMILIES:
        raise fault("CS-V046", f"{shown(value)} is not a version of IP", "use 4 or 6")
    return value


_Family = Annotated[int, PlainValidator(_family)]


class CamelShape(Shape):
    """A map whose keys are Calico's, in its spelling."""

    model_config = ConfigDict(alias_generator=to_camel)


class MetaShape(CamelShape):
    """What any object may have beside the fields of its spec."""

    labels: dict[Key, LabelValue] = Field(default_factory=dict)
    annotations: dict[Key, Text] = Field(default_factory=dict)


class IcmpShape(CamelShape):
    """Which messages of ICMP."""

    type: _IcmpType | None = None
    code: _IcmpCode | None = None


class HttpPathShape(CamelShape):
    """One path of HTTP, or how it begins."""

    exact: _HttpPath | None = None
    prefix: _HttpPath | None = None


class HttpShape(CamelShape):
    """Which requests of HTTP."""

    methods: _Methods = ()
    paths: Annotated[tuple[HttpPathShape, ...], AfterValidator(fields.filled)] = ()


class AccountsShape(CamelShape):
    """Which service accounts of Kubernetes."""

    names: _Names = ()
    selector: Selector | None = None


class ServicesShape(CamelShape):
    """Which service of Kubernetes."""

    name: Name
    namespace: Name | None = None


class EntityShape(CamelShape):
    """Where packets come from, or go to."""

    nets: _Nets = ()
    not_nets: _Nets = ()
    selector: Selector | None = None
    not_selector: Selector | None = None
    namespace_selector: Selector | None = None
    services: ServicesShape | None = None
    ports: _Ports = ()
    not_ports: _Ports = ()
    service_accounts: AccountsShape | None = None


class RuleNotesShape(CamelShape):
    """What is noted at a rule."""

    annotations: dict[Key, Text] = Field(default_factory=dict)


class RuleShape(CamelShape):
    """What is done with which packets."""

    action: _Action
    ip_version: _Family | None = None
    protocol: Protocol | None = None
    not_protocol: Protocol | None = None
    icmp: IcmpShape | None = None
    not_icmp: IcmpShape | None = Field(default=None, alias="notICMP")
    source: EntityShape | None = None
    destination: EntityShape | None = None
    http: HttpShape | None = None
    metadata: RuleNotesShape | None = None


class PolicyShape(MetaShape):
    """What both kinds of policy say."""

    tier: Namespace | None = None
    order: _Order | None = None
    selector: Selector | None = None
    service_account_selector: Selector | None = None
    types: _Types = ()
    ingress: tuple[RuleShape, ...] = ()
    egress: tuple[RuleShape, ...] = ()
    performance_hints: tuple[_Hint, ...] = ()


class GlobalPolicyShape(PolicyShape):
    """A policy for every namespace and for hosts."""

    namespace_selector: Selector | None = None
    do_not_track: Flag = False
    pre_dnat: Flag = Field(default=False, alias="preDNAT")
    apply_on_forward: Flag = False
