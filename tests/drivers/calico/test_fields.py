"""Single values where they are too long, or many."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from confsync.drivers.calico import fields

LABEL = "a" * 63


@pytest.mark.parametrize(
    ("read", "longest"),
    [
        (fields.read_name, ".".join([LABEL] * 4)[:253]),
        (fields.read_policy_name, f"{'a' * 126}.{'b' * 126}"),
        (fields.read_namespace, LABEL),
        (fields.read_label_key, f"{'.'.join([LABEL] * 4)[:253]}/{LABEL}"),
        (fields.read_label_value, LABEL),
        (fields.read_port_name, "a" * 15),
        (fields.read_port, "a" * 15),
        (fields.read_interface, "a" * 15),
    ],
)
def test_a_name_ends_at_its_length(read, longest):
    assert longest == read(longest)
    with pytest.raises(PydanticCustomError):
        read(f"{longest}a")


def test_a_domain_before_a_label_ends_at_its_length():
    with pytest.raises(PydanticCustomError):
        fields.read_label_key(f"{'.'.join([LABEL] * 4)[:253]}a/b")


@pytest.mark.parametrize("text", ["a\n", "\na", "a ", "ä"])
@pytest.mark.parametrize(
    "read",
    [
        fields.read_name,
        fields.read_policy_name,
        fields.read_namespace,
        fields.read_label_key,
        fields.read_label_value,
        fields.read_port,
        fields.read_port_name,
        fields.read_protocol,
        fields.read_interface,
        fields.read_net,
        fields.read_address,
    ],
)
def test_what_cannot_be_seen_is_not_taken(read, text):
    with pytest.raises(PydanticCustomError):
        read(text)


def test_a_set_may_have_many_networks():
    nets = tuple(f"10.{high}.{low}.0/24" for high in range(200) for low in range(250))
    assert nets == fields.apart("the network")(nets)
    with pytest.raises(PydanticCustomError, match=r"10\.0\.0\.0/24"):
        fields.apart("the network")((*nets, nets[0]))


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("10.1.2.3/8", "maybe you want 10.1.2.3/32 or 10.0.0.0/8"),
        ("172.16.0.0/8", "maybe you want 172.16.0.0/12 or 172.0.0.0/8"),
        ("10.0.0.1", "write 10.0.0.1/32 for this address alone"),
        ("2001:db8::1", "write 2001:db8::1/128 for this address alone"),
        ("10.0.0.0/255.0.0.0", "write it like 192.0.2.0/24 or 2001:db8::/32"),
    ],
)
def test_what_is_no_network_is_told_the_one_that_may_be_meant(written, hint):
    with pytest.raises(PydanticCustomError) as refused:
        fields.read_net(written)
    assert hint == refused.value.context["hint"]
