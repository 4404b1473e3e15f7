"""Settings become ports, and each command lets go of what it took."""

from __future__ import annotations

from pathlib import Path

import pytest

from confsync import wiring
from confsync.drivers.bird.driver import BirdDriver
from confsync.edge.consul import ConsulSource
from confsync.edge.directory import DirectorySource
from confsync.edge.metrics import DRIVERS
from confsync.model.errors import BadSettings
from confsync.model.section import Scope
from confsync.settings import Settings
from tests.flow.model_host import Silent


def settings(tmp_path: Path, **more: object) -> Settings:
    source = {"kind": "directory", "path": str(tmp_path / "tree")}
    state_dir = tmp_path / "state"
    found = {"site": "bgo", "node": "n1", "state_dir": state_dir, "source": source, **more}
    return Settings.model_validate(found)


def test_a_level_is_asked_for_only_by_names_that_the_node_has(tmp_path: Path) -> None:
    assert {"site": "bgo", "node": "n1"} == wiring.names_of(settings(tmp_path))
    assert {"site": "bgo", "node": "n1", "role": "edge", "variant": "big"} == wiring.names_of(
        settings(tmp_path, role="edge", variant="big")
    )


def test_only_an_enabled_driver_carries_its_section(tmp_path: Path) -> None:
    assert {} == wiring.parts_of(settings(tmp_path))
    parts = wiring.parts_of(settings(tmp_path, drivers={"bird": {"enabled": True}}))
    assert {"bgp": BirdDriver} == {name: type(part.driver) for name, part in parts.items()}


def test_storage_is_planned_first_and_routing_last(tmp_path: Path) -> None:
    felix = {"enabled": True, "calico_version": "3.26"}
    enabled = {"bird": {"enabled": True}, "felix": felix}
    enabled["lvm"] = {"enabled": True, "volume_groups": ["vg_ext"]}
    assert ["lvm", "felix", "bgp"] == list(wiring.parts_of(settings(tmp_path, drivers=enabled)))


def test_recovery_knows_every_driver_without_settings(tmp_path: Path) -> None:
    felix = {"enabled": True, "calico_version": "3.26"}
    enabled = {"bird": {"enabled": True}, "lvm": {"enabled": True}, "felix": felix}
    parts = wiring.parts_of(settings(tmp_path, drivers=enabled)).values()
    recovery = wiring.drivers_for_recovery()
    assert {part.driver.name for part in parts} == set(recovery)
    assert all(name == driver.name for name, driver in recovery.items())
    of_nodes = {name for name, one in wiring.SECTIONS.items() if one.scope is Scope.NODE}
    assert {part.section.name for part in parts} == of_nodes


def test_what_is_the_sites_is_no_part_of_a_node(tmp_path: Path) -> None:
    drivers = {"calico": {"enabled": True}}
    chosen = settings(tmp_path, drivers=drivers, source={"kind": "consul"})
    assert {} == wiring.parts_of(chosen)
    assert ["calico"] == list(wiring.parts_of(chosen, Scope.SITE))


def test_every_driver_has_its_metrics(tmp_path: Path) -> None:
    assert set(DRIVERS) == set(settings(tmp_path).drivers.model_dump())


@pytest.mark.parametrize(
    ("source", "kind"),
    [({"kind": "directory", "path": "/tree"}, DirectorySource), ({"kind": "consul"}, ConsulSource)],
)
def test_the_source_is_the_one_that_is_named(source: object, kind: type, tmp_path: Path) -> None:
    assert kind is type(wiring.source_of(settings(tmp_path, source=source)))


def test_layers_that_lie_within_each_other_are_bad_settings(tmp_path: Path) -> None:
    nested = settings(tmp_path, hierarchy=("common", "common/{site}"))
    with pytest.raises(BadSettings, match="lies within"):
        wiring.wire(nested, wiring.Room({}, None, Silent()))  # type: ignore[arg-type]
