"""Guards: what one change may take away, and the name that lifts each refusal."""

import pytest

from confsync.model.ids import ObjectId
from confsync.model.plan import Difference, Impact, Plan, Step
from confsync.model.policy import Budgets, moved, refusals, vanished, went_back

V4 = [ObjectId("session", "bgp.ipv4", name) for name in ("rr1", "rr2")]
V6 = [ObjectId("session", "bgp.ipv6", name) for name in ("rr1", "rr2")]
PEERS = [ObjectId("peer", "bgp.peers", f"rr{number}") for number in range(1, 8)]
TREE = {"bgp": {"peers": {f"rr{n}": {"asn": n, "ipv4": "x"} for n in range(6)}}, "lvm": {"a": 1}}

NOTHING, DEFAULT = Plan("0" * 64, ()), Budgets()


def plan(*hits, impact=Impact.SESSION_RESET):
    difference = Difference("~", "bgp.local_as", 1, 2, impact, frozenset(hits))
    step = Step("bird", "configure", 1, "bird", impact, "change", {}, (difference,))
    return Plan("0" * 64, (step,))


def found(
    the_plan=NOTHING,
    had=(),
    want=(),
    had_tree=None,
    want_tree=None,
    budgets=DEFAULT,
    allow=(),
):
    refused = refusals(
        the_plan, frozenset(had), frozenset(want), had_tree or {}, want_tree or {}, budgets, allow
    )
    return [f"{refusal.rule}:{refusal.place}" for refusal in refused]


def test_a_first_apply_passes():
    assert [] == found(plan(*V4), (), [*V4, *PEERS], {}, TREE)


def test_the_same_again_passes():
    assert [] == found(had=[*V4, *PEERS], want=[*V4, *PEERS], had_tree=TREE, want_tree=TREE)


@pytest.mark.parametrize(("kept", "refused"), [(6, []), (5, ["mass_removal:bgp.peers"])])
def test_one_peer_may_go_and_two_may_not(kept, refused):
    assert refused == found(had=PEERS, want=PEERS[:kept])


def test_the_budget_of_peers_is_a_setting():
    assert [] == found(had=PEERS, want=PEERS[:3], budgets=Budgets(max_removed_peers=4))
    assert ["mass_removal:bgp.peers"] == found(
        had=PEERS, want=PEERS[:6], budgets=Budgets(max_removed_peers=0)
    )


def test_a_refusal_says_what_would_go_and_how_to_allow_it():
    (refusal,) = refusals(Plan("0" * 64, ()), frozenset(PEERS), frozenset(), {}, {}, Budgets(), ())
    expected = (
        "7 of 7 bgp.peers would go (rr1, rr2, rr3, rr4, rr5 and 2 more); one change may remove 1; "
        "to allow it: --allow mass_removal:bgp.peers"
    )
    assert expected == str(refusal)


@pytest.mark.parametrize(
    ("kept", "refused"), [(5, []), (4, ["mass_removal:bgp"]), (0, ["mass_removal:bgp"])]
)
def test_a_share_of_a_sections_values_may_go(kept, refused):
    want = {"bgp": {"peers": {f"rr{n}": TREE["bgp"]["peers"][f"rr{n}"] for n in range(kept)}}}
    assert refused == found(had_tree=TREE, want_tree=want)


def test_exactly_the_share_may_go():
    had = {"bgp": {str(n): n for n in range(10)}}
    keep = {"bgp": {str(n): n for n in range(7)}}
    assert [] == found(had_tree=had, want_tree=keep)
    assert ["mass_removal:bgp"] == found(
        had_tree=had, want_tree=keep, budgets=Budgets(max_removed_percent=29)
    )


def test_a_section_that_vanished_is_a_mass_removal():
    assert ["mass_removal:bgp"] == found(had_tree=TREE, want_tree={"lvm": {"a": 1}})


def test_a_share_of_few_values_says_nothing():
    had = {"bgp": {str(n): n for n in range(9)}}
    assert [] == found(had_tree=had, want_tree={})


def test_a_list_counts_by_its_items():
    had = {"bgp": {"members": [f"10.0.0.{n}" for n in range(58)]}}
    assert ["mass_removal:bgp"] == found(
        had_tree=had, want_tree={"bgp": {"members": ["placeholder"]}}
    )


def test_other_values_are_no_removal():
    had = {"bgp": {str(n): n for n in range(10)}}
    assert [] == found(had_tree=had, want_tree={"bgp": {str(n): -n for n in range(10)}})


def test_all_sessions_of_a_family_may_not_be_hit_at_once():
    assert ["all_sessions:bgp.ipv4"] == found(plan(*V4, V6[0]), [*V4, *V6], [*V4, *V6])


def test_removed_and_reset_sessions_count_together():
    assert ["all_sessions:bgp.ipv4"] == found(plan(V4[1]), V4, [V4[1]])


def test_new_sessions_do_not_make_up_for_old_ones():
    new = ObjectId("session", "bgp.ipv4", "rr9")
    assert ["all_sessions:bgp.ipv4"] == found(plan(*V4), V4, [*V4, new])


@pytest.mark.parametrize("impact", Impact)
def test_hitless_differences_interrupt_nothing(impact):
    refused = [] if impact is Impact.HITLESS else ["all_sessions:bgp.ipv4"]
    assert refused == found(plan(*V4, impact=impact), V4, V4)


def test_the_setting_lets_all_sessions_be_hit():
    assert [] == found(plan(*V4), V4, V4, budgets=Budgets(all_sessions_of_a_family=True))


MASS, IPV4, IPV6 = "mass_removal:bgp.peers", "all_sessions:bgp.ipv4", "all_sessions:bgp.ipv6"


@pytest.mark.parametrize(
    ("allow", "refused"),
    [
        ([IPV4], [MASS, IPV6]),
        (["all_sessions:*"], [MASS]),
        (["all_sessions:*", MASS], []),
        (["mass_removal:bgp"], [MASS, IPV4, IPV6]),
        (["*:*", "*", "all_sessions", "all_sessions:bgp"], [MASS, IPV4, IPV6]),
    ],
)
def test_an_allowance_lifts_the_refusal_that_it_names(allow, refused):
    assert refused == found(had=[*V4, *V6, *PEERS], allow=allow)


def test_all_refusals_come_at_once():
    every = found(had=[*V4, *V6, *PEERS], had_tree=TREE)
    assert [
        "mass_removal:bgp.peers",
        "mass_removal:bgp",
        "all_sessions:bgp.ipv4",
        "all_sessions:bgp.ipv6",
    ] == every


def test_what_vanished_is_refused_key_by_key():
    keys = ("head", "desired/common/bgp")
    assert keys == tuple(refusal.place for refusal in vanished(keys, ()))
    assert ["head"] == [r.place for r in vanished(keys, ["vanished:desired/common/bgp"])]
    assert () == vanished(keys, ["vanished:*"])
    message = str(vanished(keys, ())[1])
    assert "write null" in message
    assert "confsync push" in message
    assert message.endswith("--allow vanished:desired/common/bgp")


@pytest.mark.parametrize(
    ("pinned", "names", "expected"),
    [
        (None, {"node": "n1"}, []),
        ({"node": "n1"}, {"node": "n1"}, []),
        ({"node": "n1"}, {"node": "n2"}, ["node"]),
        ({"site": "bgo", "role": "nat"}, {"site": "osl"}, ["role", "site"]),
        ({}, {"variant": "gpu"}, ["variant"]),
    ],
)
def test_a_host_that_is_said_to_be_another_is_refused_name_by_name(pinned, names, expected):
    assert expected == [refusal.place for refusal in moved(pinned, names, ())]


def test_a_moved_host_says_what_it_was_and_is_and_how_to_confirm_it():
    (refusal,) = moved({"role": "nat"}, {}, ())
    assert "was role nat" in str(refusal)
    assert "now said to be (none)" in str(refusal)
    assert str(refusal).endswith("--allow identity:role")
    assert () == moved({"role": "nat"}, {}, ["identity:role"])


def test_what_went_back_is_refused_until_allowed():
    (refusal,) = went_back(("head",), ())
    assert ("older", "head") == (refusal.rule, refusal.place)
    assert () == went_back(("head",), ["older:head"])


def test_volumes_have_a_budget_of_their_own():
    volumes = [ObjectId("volume", "lvm.volumes", f"vg_ext/lv_{name}") for name in "abc"]
    assert [] == found(had=volumes, want=volumes[1:])
    assert ["mass_removal:lvm.volumes"] == found(had=volumes, want=volumes[2:])
    assert [] == found(had=volumes, want=volumes[2:], budgets=Budgets(max_removed_volumes=2))
