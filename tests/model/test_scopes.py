"""What is a node's and what is the site's: neither sees the other's documents."""

from __future__ import annotations

import pytest

from confsync.model.errors import SchemaViolated
from confsync.model.ids import LayerPath, SectionName
from confsync.model.scopes import of_site, share
from confsync.model.section import Scope
from confsync.model.snapshot import Layer, Snapshot
from tests.flow.toy import ToySection

HIERARCHY = ("common", "roles/{role}", "sites/{site}/common", "nodes/{node}")
PATTERNS = {
    LayerPath("common"): "common",
    LayerPath("sites/bgo/common"): "sites/{site}/common",
    LayerPath("nodes/n1"): "nodes/{node}",
}


class Whole(ToySection):
    """A section of the whole site."""

    name = SectionName("whole")
    scope = Scope.SITE


SECTIONS = {SectionName("toy"): ToySection(), SectionName("whole"): Whole()}


def snapshot(**layers: dict[str, bytes]) -> Snapshot:
    paths = {"common": "common", "site": "sites/bgo/common", "node": "nodes/n1"}
    found = (Layer(LayerPath(paths[name]), documents) for name, documents in layers.items())
    return Snapshot(tuple(found), origin="consul:x/")


def words(scope: Scope, given: Snapshot) -> list[str]:
    shared = share(given, SECTIONS, scope, PATTERNS)
    return [name for layer in shared.layers for name in layer.documents]


def test_only_what_every_node_shares_is_the_sites() -> None:
    assert ("common", "sites/{site}/common") == of_site(HIERARCHY)


def test_each_side_sees_its_own_and_both_what_nobody_has() -> None:
    given = snapshot(
        common={"toy": b"{}", "whole/sets": b"{}", "toyy": b"{}"}, site={"toy/a": b"{}"}
    )
    assert ["toy", "toyy", "toy/a"] == words(Scope.NODE, given)
    assert ["whole/sets", "toyy"] == words(Scope.SITE, given)


@pytest.mark.parametrize("name", ["whole", "whole/sets/ula"])
def test_a_sites_document_below_a_node_is_refused_with_where_it_belongs(name: str) -> None:
    with pytest.raises(SchemaViolated) as told:
        words(Scope.NODE, snapshot(common={"toy": b"{}"}, node={name: b"{}"}))
    assert str(told.value) == (
        f"consul:x/desired/nodes/n1/{name} whole is one for the whole site, and not read here; "
        "write it in common or sites/{site}/common (CS-S03)"
    )
