"""FelixConfiguration's fields: the form of each, and which version of Calico has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_core import PydanticCustomError

from confsync.drivers.calico.felix import TABLES, VERSIONS, faults_for, reader
from confsync.drivers.calico.reading import read
from confsync.drivers.calico.resources import Resources

FIELDS = yaml.safe_load((Path(__file__).parent / "golden" / "felix_values.yaml").read_text())
WANTED = {"type", "enum", "pattern", "min", "max", "items", "fields", "required"}


def configured(**spec: Any) -> Resources | tuple[Any, ...]:
    return read({"felixconfigurations": {"default": spec}})


def pairs(case: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return what is written and what it becomes; lists are values where the field takes them."""
    listed = case.get("lists", False)
    return [
        (one, one) if listed or not isinstance(one, list) else tuple(one) for one in case["good"]
    ]


@pytest.mark.parametrize("case", FIELDS, ids=lambda case: case["field"])
def test_a_good_value_becomes_what_calico_stores(case):
    for written, stored in pairs(case):
        value = configured(**{case["field"]: written})
        assert isinstance(value, Resources), (written, value)
        (body,) = value.objects.values()
        assert {case["field"]: stored} == body["spec"]
        assert type(stored) is type(body["spec"][case["field"]])
        assert value == read(value.tree())


@pytest.mark.parametrize("case", FIELDS, ids=lambda case: case["field"])
def test_a_bad_value_is_refused_at_its_field(case):
    for written in case["bad"]:
        found = configured(**{case["field"]: written})
        assert not isinstance(found, Resources), written
        (fault,) = found
        assert ("calico", "felixconfigurations", "default", case["field"]) == fault.path
        assert fault.hint


def test_a_field_is_refused_by_a_version_that_does_not_have_it():
    value = configured(bpfAttachType="TC", vxlanPort=4789)
    (fault,) = faults_for(value, "v3.27.2")
    assert (
        "calico.felixconfigurations.default.bpfAttachType: Felix 3.27 has no such field;"
        " known in 3.32; leave it out (CS-V313)"
    ) == str(fault)
    assert () == faults_for(value, "3.32")


def test_a_value_is_refused_by_a_version_that_does_not_take_it():
    value = configured(logSeverityScreen="Trace")
    assert () == faults_for(value, "3.32")
    (fault,) = faults_for(value, "3.26")
    assert "for Felix 3.26" in fault.message
    assert "CS-V049" == fault.code


def test_nothing_is_concluded_of_a_field_that_a_version_may_have_or_not():
    value = configured(iptablesFilterDenyAction="Reject")
    assert "iptablesFilterDenyAction" in TABLES["3.27"].unsure
    assert [(), (), ()] == [faults_for(value, version) for version in VERSIONS]


@pytest.mark.parametrize("version", ["3.29.1", "master", ""])
def test_nothing_is_concluded_of_a_version_without_a_table(version):
    assert () == faults_for(configured(bpfAttachType="TC"), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_field_of_a_table_can_be_read(version):
    table = TABLES[version]
    assert not set(table.fields) & set(table.unsure)
    for name, form in {**table.fields, **table.unsure}.items():
        assert set(form) <= WANTED, name
        reader(form)
        with pytest.raises(PydanticCustomError):
            reader(form)(object())


def test_an_empty_list_of_failsafe_ports_is_not_the_same_as_none():
    (body,) = configured(failsafeInboundHostPorts=[]).objects.values()
    assert {"spec": {"failsafeInboundHostPorts": []}} == body
