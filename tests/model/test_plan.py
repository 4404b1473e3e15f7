"""Plans: values that can be read, compared and read back by a newer process."""

import json
from dataclasses import replace

import pytest

from confsync.model.plan import Difference, Impact, Plan, Step

ADDED = Difference("+", "bgp.peers.rr3", None, {"asn": 65501}, Impact.HITLESS)
RESET = Difference("~", "bgp.local_as", 65501, 65502, Impact.SESSION_RESET)
STEP = Step("bird", "configure", 1, "bird", Impact.HITLESS, "configure", {"file": "x"}, (ADDED,))


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (ADDED, '+ bgp.peers.rr3 {"asn":65501}'),
        (RESET, "~ bgp.local_as 65501 -> 65502"),
        (Difference("-", "bgp.x", "old", None, Impact.HITLESS), "- bgp.x old"),
    ],
)
def test_a_difference_reads_like_a_line(difference, text):
    assert text == str(difference)


def test_a_long_value_is_shown_in_short():
    text = str(Difference("+", "bgp.x", None, "y" * 500, Impact.HITLESS))
    assert text.endswith("y...")
    assert len(text) < 150


def test_a_difference_is_json_for_the_command_line():
    expected = {
        "op": "~",
        "path": "bgp.local_as",
        "before": 65501,
        "after": 65502,
        "impact": "session reset",
        "note": "",
    }
    assert expected == json.loads(json.dumps(RESET.as_json()))


def test_a_step_is_read_back_without_what_is_for_people_only():
    assert replace(STEP, differences=()) == Step.from_json(json.loads(json.dumps(STEP.as_json())))


def test_a_plans_impact_is_its_worst_steps():
    worst = replace(STEP, impact=Impact.SESSION_RESET)
    assert Impact.HITLESS is Plan("r", ()).impact
    assert Impact.SESSION_RESET is Plan("r", (STEP, worst, STEP)).impact


def test_impacts_are_ordered_from_harmless_to_worst():
    assert sorted(Impact, key=lambda impact: impact.rank) == list(Impact)
    assert Impact.HITLESS.rank < Impact.SESSION_RESET.rank < Impact.KERNEL_RESTART.rank


def test_the_digest_is_of_revision_steps_and_order():
    other = replace(STEP, args={"file": "y"})
    plans = [
        Plan("r", (STEP, other)),
        Plan("r", (other, STEP)),
        Plan("r", (STEP,)),
        Plan("s", (STEP,)),
        Plan("r", ()),
    ]
    assert len(plans) == len({plan.digest for plan in plans})
    assert Plan("r", (STEP,)).digest == Plan("r", (STEP,), ("a warning",)).digest


def test_differences_are_those_of_all_steps_in_order():
    second = replace(STEP, differences=(RESET,))
    assert (ADDED, RESET) == Plan("r", (STEP, second)).differences
