"""Mistakes that operators have made, each as what was wrong and what was right.

A folder for each: `right.yaml` is what ran before or ended the mistake; it passes without a word.
`told.txt` is all that a person is told when `wrong.yaml` takes its place: why it is refused, or
what stands beside the plan and in it where only a person can know.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.render import render
from confsync.drivers.bird.section import BgpSection
from confsync.model import policy
from confsync.model.desired import Desired, build
from confsync.model.errors import InvalidConfig
from confsync.model.ids import SectionName
from confsync.model.layers import merge
from confsync.model.plan import Plan, Step
from confsync.model.snapshot import Layer, Snapshot
from tests.drivers.bird.speakers import seen, verdict

FOLDER = Path(__file__).parent / "mistakes"
MISTAKES = sorted(path.name for path in FOLDER.iterdir())
BGP = BgpSection()
SECTIONS = {SectionName("bgp"): BGP}
FACTS = {"node": "cn1", "fact.trp1.ipv4": "172.18.32.11"}


def desired(mistake: str, which: str) -> Desired:
    """Read a document as an agent would. Raises: InvalidConfig."""
    raw = (FOLDER / mistake / f"{which}.yaml").read_bytes()
    return build(SECTIONS, merge(Snapshot((Layer("site", {"bgp": raw}),)), ("site",), FACTS))


def speaker(found: Desired) -> Bgp:
    value = found.values[SectionName("bgp")]
    assert isinstance(value, Bgp)
    return value


def steps(had: Bgp, want: Bgp) -> tuple[Step, ...]:
    """Return the plan on a host where what was wanted before stands."""
    return BGP.plan(want, had, seen(had))


def told(mistake: str) -> list[str]:
    """Return what a person sees of a mistake."""
    try:
        wrong = desired(mistake, "wrong")
    except InvalidConfig as refused:
        return [f"refused: {fault}" for fault in refused.violations]
    right = desired(mistake, "right")
    had, want = speaker(right), speaker(wrong)
    planned = steps(had, want)
    plan = Plan(wrong.revision, planned)
    guards = policy.refusals(
        plan,
        BGP.inventory(had),
        BGP.inventory(want),
        right.tree,
        wrong.tree,
        policy.Budgets(),
        (),
    )
    return [
        *(f"warning: {note}" for note in wrong.warnings),
        *(f"{one} [{one.impact}]" for step in planned for one in step.differences),
        *(f"held: {guard}" for guard in guards),
    ]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_or_stands_out(mistake):
    lines = told(mistake)
    assert lines
    assert (FOLDER / mistake / "told.txt").read_text() == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_was_right_passes_without_a_word(mistake, tmp_path):
    right = desired(mistake, "right")
    assert () == right.warnings
    assert (0, "") == verdict(render(speaker(right)), tmp_path)


def test_a_folder_holds_a_mistake_and_nothing_else():
    for mistake in MISTAKES:
        names = {path.name for path in (FOLDER / mistake).iterdir()}
        assert {"wrong.yaml", "right.yaml", "told.txt"} == names, mistake
