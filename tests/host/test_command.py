"""An operator's own check: what counts as passing, and what it may not do to us."""

from __future__ import annotations

import pytest

from confsync.host.command import CommandProbe
from confsync.model import limits
from confsync.ports import Verdict

PASSES = {"passes": True, "reason": ""}


def script(tmp_path, text: str) -> str:
    path = tmp_path / "check"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_only_the_exit_code_counts(tmp_path):
    assert PASSES == await CommandProbe(script(tmp_path, "echo CRITICAL; exit 0")).sample()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo fine; echo DNS is dead; exit 2", "exit code 2: DNS is dead"),
        ("echo out; echo why >&2; exit 1", "exit code 1: why"),
        ("exit 3", "exit code 3"),
        ("kill -9 $$", "signal 9"),
        ("yes | head -c 99999999", "exit code"),
    ],
)
async def test_a_failing_check_tells_its_last_line(tmp_path, text, reason):
    found = await CommandProbe(script(tmp_path, f"set -e; {text}; exit 7")).sample()
    assert not found["passes"]
    assert found["reason"].startswith(reason)
    assert len(found["reason"]) < 200


async def test_words_are_split_without_a_shell(tmp_path):
    check = script(tmp_path, '[ "$2" = "a b; exit 1" ]')
    assert PASSES == await CommandProbe(f"{check} x 'a b; exit 1'").sample()


async def test_a_check_that_hangs_or_is_not_there_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "COMMAND_S", 0.2)
    slow = await CommandProbe(script(tmp_path, "sleep 60")).sample()
    assert "did not end within" in slow["reason"]
    gone = await CommandProbe(str(tmp_path / "nothing")).sample()
    assert "cannot be started" in gone["reason"]


async def test_it_is_not_asked_more_often_than_needed(tmp_path):
    count = tmp_path / "count"
    probe = CommandProbe(script(tmp_path, f"echo x >>{count}"))
    await probe.sample()
    await probe.sample()
    assert "x\nx\n" == count.read_text(), "the baseline is of before the change"
    await probe.sample()
    await probe.sample()
    assert "x\nx\n" == count.read_text()


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (True, True, Verdict.OK),
        (True, False, Verdict.WAIT),
        (False, False, Verdict.OK),
        (False, True, Verdict.OK),
        (None, False, Verdict.WAIT),
    ],
)
def test_what_passed_before_must_pass_after(before, after, verdict):
    baseline = None if before is None else {"passes": before, "reason": ""}
    seen = [PASSES, {"passes": after, "reason": "exit code 2: DNS is dead"}]
    judged = CommandProbe("/bin/check dns").judge(baseline, seen)
    assert verdict is judged.verdict
    assert ("/bin/check dns: exit code 2: DNS is dead" == judged.reason) == (
        verdict is Verdict.WAIT
    )
