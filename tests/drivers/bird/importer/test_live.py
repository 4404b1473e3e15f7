"""What a draft does on a running BIRD: nothing at all.

Each golden configuration that loses nothing is run, and then replaced by what we would write.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from confsync.drivers.bird.importer.whole import whole
from confsync.drivers.bird.policy import Named
from confsync.drivers.bird.render import render
from tests.drivers.bird.importer.cases import FOLDER, MAIN, READABLE, read
from tests.drivers.bird.importer.random_filters import FUNCTIONS, body, routes
from tests.lab.bird import Bird
from tests.lab.standing import differences, look
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = pytest.mark.root

KEPT_WHOLE = [case for case in READABLE if not read(case).lost]
SEED = 4
FILTERS = 300
HEAD = "router id 192.0.2.1;\nprotocol device {}\n"


@pytest.mark.parametrize("case", KEPT_WHOLE)
def test_a_draft_restarts_nothing_and_moves_nothing(case: str, lab: Lab) -> None:
    folder = lab.folder / "near"
    shutil.copytree(FOLDER / case, folder)
    near = lab.keep(Bird(folder, (folder / "bird.conf").read_text()))
    drafted = read(case)
    before = look(near, (), "")
    held_down = frozenset(drafted.protocols - before.since.keys())
    text = render(drafted.value, held_down, drafted.names)
    reply = near.configure(text.replace("/etc/bird", str(folder)))  # where secrets lie
    assert reply[-1].startswith("0003 "), reply
    assert [] == list(differences(before, look(near, (), "")))


def test_rules_decide_and_change_as_the_filters_that_they_were_made_of(lab: Lab) -> None:
    chance = random.Random(SEED)
    tables = pipes = ""
    given = routes(SEED) + FUNCTIONS
    for number in range(FILTERS):
        given += f"filter f{number} {{ {body(chance)} }}\n"
        tables += f"ipv4 table t{number};\n"
        pipes += f"protocol pipe p{number} {{ table master4; peer table t{number};"
        pipes += f" import none; export filter f{number}; }}\n"
    text = f"{HEAD}{given}{tables}{pipes}"
    drafted = whole({MAIN: text}, MAIN)
    assert FILTERS / 2 < sum(isinstance(one.exports, Named) for one in drafted.value.pipes)
    value = replace(drafted.value, foreign=(), routes=())
    names = {own: name for own, name in drafted.names.items() if name not in ("one", "two")}
    by_hand = held(lab.bird("hand", text))
    ours = held(lab.bird("ours", given + render(value, names=names)))
    assert len(by_hand) > FILTERS / 2
    assert by_hand == ours


def held(bird: Bird) -> frozenset[str]:
    """Return all routes of all tables with all their attributes."""
    seen = [look(bird, (), "").routes["BIRD"]]

    def still() -> bool:
        seen.append(look(bird, (), "").routes["BIRD"])
        return seen[-1] == seen[-2]

    wait_until("all routes are there", still)
    return seen[-1]
