"""Durations as Go writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.drivers.calico.durations import read_duration, written

GO = {
    0: "0s",
    1: "1ms",
    999: "999ms",
    1_000: "1s",
    1_050: "1.05s",
    59_999: "59.999s",
    60_000: "1m0s",
    90_000: "1m30s",
    3_600_000: "1h0m0s",
    86_400_000: "24h0m0s",
    3_661_001: "1h1m1.001s",
}
"""What `time.Duration.String` says, by milliseconds."""


@pytest.mark.parametrize(("length_ms", "text"), GO.items())
def test_a_duration_is_written_as_go_does(length_ms, text):
    assert text == written(length_ms)


@given(st.integers(0, 10**12))
def test_a_written_duration_is_read_as_itself(length_ms):
    assert written(length_ms) == read_duration(written(length_ms))
    assert written(length_ms) == read_duration(f"{length_ms}ms")
