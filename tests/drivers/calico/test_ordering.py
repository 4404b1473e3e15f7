"""The order of writes and deletions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from confsync.drivers.calico.ordering import in_order
from confsync.drivers.calico.resources import Kind, ObjectKey

KEYS = st.lists(
    st.builds(ObjectKey, st.sampled_from(Kind), st.just(""), st.sampled_from("abc")), unique=True
)
ONE_OF_EACH = [ObjectKey(kind, "n" if kind.in_namespace else "", "a") for kind in Kind]


def test_what_others_need_is_written_before_them_and_deleted_after_them():
    writes = [
        "globalnetworksets/a",
        "networksets/n/a",
        "globalnetworkpolicies/a",
        "networkpolicies/n/a",
        "hostendpoints/a",
        "felixconfigurations/a",
    ]
    assert writes == [str(key) for key in in_order(ONE_OF_EACH)]
    assert writes[::-1] == [str(key) for key in in_order((), ONE_OF_EACH)]


def test_deletions_come_last():
    new, old = ObjectKey(Kind.FELIX, "", "new"), ObjectKey(Kind.SET, "n", "old")
    assert (new, old) == in_order([new], [old])


@given(KEYS, KEYS)
def test_the_order_does_not_depend_on_how_keys_are_given(written, deleted):
    once = in_order(written, deleted)
    assert once == in_order(written[::-1], deleted[::-1])
    assert sorted([*written, *deleted]) == sorted(once)
