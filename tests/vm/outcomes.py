"""Tests for the guest with every outcome; test_sender.py names this file, nothing else finds it."""

from __future__ import annotations

import asyncio

import pytest


def test_passes():
    pass


async def test_passes_as_a_coroutine():
    await asyncio.sleep(0)


def test_fails():
    print("said before")  # noqa: T201 - what a failure shows
    assert 1 == len("two")


def test_is_skipped():
    pytest.skip("why")


@pytest.fixture
def broken():
    yield
    raise OSError("left over")


def test_breaks_at_its_end(broken: None):
    pass
