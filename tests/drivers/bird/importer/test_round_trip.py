"""From a document to the file that we write of it, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.importer.whole import Read, whole
from confsync.drivers.bird.render import render
from confsync.drivers.bird.section import BgpSection
from tests.drivers.bird.importer.cases import MAIN

BIRD = Path(__file__).parents[1]
DOCUMENTS = sorted(
    str(path.relative_to(BIRD))
    for path in (*BIRD.glob("profiles/*.yaml"), *BIRD.glob("golden/*/document.yaml"))
    if path.parent.name == "profiles" or (path.parent / "bird.conf").exists()
)
SECRET = "/etc/confsync/secrets/transit.conf"


def again(value: Bgp) -> Read:
    return whole({MAIN: render(value), SECRET: 'password "x";\n'}, MAIN)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_file_of_ours_is_read_as_what_it_says(document):
    value = BgpSection().parse(yaml.safe_load((BIRD / document).read_text()))
    assert isinstance(value, Bgp)
    found = again(value)
    assert () == found.lost
    # A filter that no channel uses does nothing, and is not looked for.
    filters = {one.name: one for one in (*value.filters, *found.value.filters)}
    made = replace(found.value, filters=tuple(filters[name] for name in sorted(filters)))
    assert render(value) == render(made)
