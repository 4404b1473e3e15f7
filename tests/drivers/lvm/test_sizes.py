"""Sizes: what operators write, in extents, and as it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from confsync.drivers.lvm.sizes import (
    ALL_FREE,
    MAX_BYTES,
    Size,
    exact,
    extents_of,
    extents_on,
    read_extent,
    read_headroom,
    read_size,
    told,
)

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        *[(text, 1000 * MIB) for text in ("1000M", "1000m", "1000MB", "1000MiB", "1000 mib")],
        ("40G", 40 * GIB),
        ("1.5T", 1536 * GIB),
        ("512s", 512 * 512),
        ("10000000B", 10_000_000),
        ("0.3KiB", 308),  # 307.2: rounded up
    ],
)
def test_suffixes_are_of_1024_in_either_case(text, size_bytes):
    assert Size(size_bytes) == read_size(text)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("260", "did you mean 260GiB?"),
        (260, "did you mean 260GiB?"),
        ("10,5M", "did you mean 10.5M?"),
        ("101%FREE", "did you mean 100%FREE?"),
        ("150%vg", "did you mean 100%VG?"),
        ("0%FREE", "did you mean 100%FREE?"),
        ("50%PVS", "percentages are of FREE or VG"),
        *[
            (bad, "write it like 260GiB")
            for bad in ("-1", "0G", "1e3M", "", "GiB", "1 2G", "\u0661G")
        ],
        ("9EiB", "write it like 260GiB"),
        (True, "write it like 260GiB"),
    ],
)
def test_what_lvm_would_take_for_something_else_is_refused(value, hint):
    with pytest.raises(PydanticCustomError) as refused:
        read_size(value)
    assert hint in refused.value.context["hint"]


def test_shares_are_read_in_either_case():
    assert (ALL_FREE, Size(percent=50, of="VG")) == (read_size("100%free"), read_size("50%vg"))


def test_a_size_rounds_up_to_extents():
    assert [1, 1, 2, 3] == [extents_of(size, 4 * MIB) for size in (1, 4194304, 4194305, 10**7)]


def test_a_device_gives_what_is_left_after_its_first_mib():
    # as a real one did: 256 MiB, 63 extents (lvm2 2.03.16)
    assert 63 == extents_on(256 * MIB, 4 * MIB)
    assert 0 == extents_on(MIB, 4 * MIB)


@pytest.mark.parametrize("value", ["3MiB", "64KiB", "2GiB", "4"])
def test_an_extent_is_a_usual_one(value):
    with pytest.raises(PydanticCustomError):
        read_extent(value)


def test_headroom_may_be_none_without_a_unit():
    assert [0, GIB] == [read_headroom(0), read_headroom("1GiB")]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(260 * GIB, "260 GiB"), (32000 * MIB, "31.25 GiB"), (GIB + 1, "~1 GiB"), (0, "0 B")],
)
def test_people_read_it_shortly(size_bytes, text):
    assert text == told(size_bytes)


@given(st.integers(1, MAX_BYTES))
def test_a_written_size_loses_nothing(size_bytes):
    assert Size(size_bytes) == read_size(exact(size_bytes))
