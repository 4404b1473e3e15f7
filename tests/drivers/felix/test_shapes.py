"""The `felix` document: names in any case, values of some version, faults with their place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from confsync.drivers.felix.render import read_file, render
from confsync.drivers.felix.shapes import READER, Felix, faults_for, felix_of
from confsync.drivers.felix.tables import table, versions

ERAS = yaml.safe_load((Path(__file__).parent / "eras.yaml").read_text())


def parsed(parameters, **other):
    reading = READER.read({"parameters": parameters, **other})
    assert reading.faults == ()
    return felix_of(reading.document)


def told(parameters):
    return [str(fault) for fault in parsed(parameters)[1]]


@pytest.mark.parametrize("era", ERAS, ids=lambda era: era["era"])
def test_what_ran_over_the_years_is_good_in_every_version(era):
    assert era["options"] == read_file(era["file"])
    value, faults = parsed(era["options"])
    assert () == faults
    assert sorted(era["options"].values()) == sorted(value.parameters.values())
    assert [()] * len(versions()) == [faults_for(value, version) for version in versions()]
    assert value.parameters == read_file(render(value.parameters, {}).decode())


def test_names_become_the_official_ones_and_values_their_texts():
    value, faults = parsed({"mtuifacepattern": "^bond0$", "VXLANPORT": 31439}, unknown="keep")
    assert () == faults
    assert Felix({"MTUIfacePattern": "^bond0$", "VXLANPort": "31439"}, "keep") == value


def test_an_empty_document_says_nothing():
    assert (Felix({}), ()) == felix_of(READER.read({}).document)


def test_the_value_is_a_document_that_reads_back_as_the_same():
    value, _ = parsed({"VXLANPort": 31439, "healthEnabled": True}, unknown="keep")
    again = READER.read(value.tree())
    assert (value, ()) == felix_of(again.document)
    assert ["HealthEnabled", "VXLANPort"] == list(value.tree()["parameters"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"VXLANProt": 1},
            "felix.parameters.VXLANProt: unknown parameter; did you mean VXLANPort? (CS-V200)",
        ),
        (
            {"ipipEnabled": True},
            (
                "felix.parameters.ipipEnabled: unknown parameter; "
                "in felix.cfg it is IpInIpEnabled (CS-V200)"
            ),
        ),
        (
            {"zzzzzz": 1},
            (
                "felix.parameters.zzzzzz: unknown parameter; "
                "see the reference of Felix's configuration for its parameters (CS-V200)"
            ),
        ),
        (
            {"VXLANPort": 1, "vxlanport": 1},
            (
                "felix.parameters.vxlanport: VXLANPort is the same: Felix knows no case, "
                "and takes either; keep one of them (CS-V201)"
            ),
        ),
        (
            {"vxlanPort": "010"},
            (
                'felix.parameters.vxlanPort: "010" is octal to Felix: 8; '
                "write 8, or 10 if that is meant (CS-V212)"
            ),
        ),
    ],
)
def test_a_fault_names_its_place_and_the_way_to_mend_it(parameters, message):
    assert [message] == told(parameters)


def test_one_fault_does_not_hide_another():
    value, faults = parsed({"VXLANProt": 1, "HealthPort": -1, "HealthEnabled": True})
    assert {"CS-V200", "CS-V213"} == {fault.code for fault in faults}
    assert {"HealthEnabled": "true"} == value.parameters


@pytest.mark.parametrize(
    ("tree", "code"),
    [
        ({"unknown": "ignore"}, "CS-V049"),
        ({"parameter": {}}, "CS-V040"),
        ({"parameters": []}, "CS-V042"),
    ],
)
def test_the_section_itself_is_read_strictly(tree, code):
    assert [code] == [fault.code for fault in READER.read(tree).faults]


def test_a_value_of_one_version_is_refused_on_a_host_of_another():
    value, faults = parsed({"IstioDSCPMark": 23, "LogSeverityScreen": "trace"})
    assert () == faults
    assert () == faults_for(value, "3.32")
    assert [
        (
            "felix.parameters.IstioDSCPMark: IstioDSCPMark is not known to Calico 3.27; "
            "it is to 3.32 (CS-V202)"
        ),
        (
            'felix.parameters.LogSeverityScreen: "TRACE" is not a choice of LogSeverityScreen '
            "(in Calico 3.27); use DEBUG, INFO, WARNING, ERROR or FATAL (CS-V225)"
        ),
    ] == [str(fault) for fault in faults_for(value, "3.27")]


def test_what_a_newer_version_lost_is_known_to_the_older():
    value, faults = parsed({"BpfIpv6Support": True})
    assert () == faults
    assert () == faults_for(value, "3.27")
    assert "it is to 3.26 or 3.27" in str(faults_for(value, "3.32")[0])


def test_a_version_without_a_table_is_no_version():
    with pytest.raises(KeyError):
        faults_for(Felix({}), "1.4")


@given(st.sampled_from(versions()), st.data())
def test_every_default_may_be_written_in_its_version(version, data):
    known = [one for one in table(version).values() if one.default]
    one = data.draw(st.sampled_from(known))
    value, faults = parsed({one.name: one.default})
    assert () == faults
    assert () == faults_for(value, version)
