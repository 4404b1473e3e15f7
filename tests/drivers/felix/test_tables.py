"""The tables: which parameters each version of Felix has."""

from __future__ import annotations

import pytest

from confsync.drivers.felix import values
from confsync.drivers.felix.tables import Parameter, knowing, table, versions


def test_the_versions_are_in_their_order_and_those_in_use_are_there():
    found = versions()
    assert sorted(found, key=lambda one: [int(part) for part in one.split(".")]) == list(found)
    assert {"3.26", "3.27", "3.32"} <= set(found)


def test_an_unknown_version_is_said_to_be_unknown():
    with pytest.raises(KeyError):
        table("2.6")


@pytest.mark.parametrize(("version", "count"), [("3.27", 163), ("3.32", 211)])
def test_a_table_is_as_large_as_the_tag_it_stands_for(version, count):
    assert count == len(table(version))


def test_names_are_found_in_any_case_and_keep_their_own():
    assert "VXLANPort" == table("3.27")["vxlanport"].name
    assert {"3.26", "3.27", "3.32"} == {version for version, _ in knowing("mtuIfacePattern")}
    assert ("3.32",) == tuple(version for version, _ in knowing("ISTIODSCPMARK"))
    assert () == knowing("VXLANProt")


def test_a_parameter_has_its_type_its_default_and_its_flags():
    found = table("3.27")["datastoretype"]
    flags = frozenset({"non-zero", "die-on-fail", "local"})
    assert Parameter("DatastoreType", "oneof", ("kubernetes", "etcdv3"), "etcdv3", flags) == found
    assert found.die_on_fail
    assert found.local
    assert found.non_zero
    assert "ipipEnabled" == table("3.27")["ipinipenabled"].yaml
    assert ("0:65535",) == table("3.26")["healthport"].of == table("3.32")["healthport"].of
    assert ("-1:",) == table("3.32")["gogcthreshold"].of


@pytest.mark.parametrize("version", versions())
def test_every_default_is_a_value_that_we_would_take(version):
    for one in table(version).values():
        if one.default and not one.default.startswith("/tmp/felix-cpu-<"):
            assert one.default == values.read(one, one.default), one.name
