"""The demo is run as people run it; it must keep its promises and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SCENES = [
    "1  A good change",
    "2  A change that is refused",
    "3  A change that breaks the session",
    "4  The agent is killed in the middle of a change",
    "Where to look next",
]
LAB_SCENES = [
    "1  One change for both sites",
    "2  The line between the sites loses every packet",
    "3  An emergency at the site that is cut off",
    "4  The line is back",
    "Where to look next",
]

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a short path, since a unix socket's may have 107 bytes."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def started(folder: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Start the demo with these arguments, its temporary files in a folder of our own."""
    with subprocess.Popen(
        [ROOT / "scripts" / "demo", *request.param],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        yield child
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)


def processes_in(folder: Path) -> list[str]:
    """Return the command lines that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def assert_nothing_is_left(folder: Path) -> None:
    assert [] == list(folder.iterdir())
    wait_until("no process is left", lambda: not processes_in(folder), timeout_s=5)


@pytest.mark.parametrize("started", [[], ["--embedded"]], ids=["consul", "embedded"], indirect=True)
def test_each_scene_does_what_it_says(started: subprocess.Popen[str], folder: Path) -> None:
    text, _ = started.communicate(timeout=280)
    assert 0 == started.returncode, text
    assert SCENES == [line for line in text.splitlines() if line in SCENES]
    assert "did you mean asn?" in text
    assert "FAILED" not in text
    assert "\033" not in text, "no colours into a pipe"
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("started", [["--lab"]], indirect=True)
def test_two_sites_do_what_is_said(started: subprocess.Popen[str], folder: Path) -> None:
    text, _ = started.communicate(timeout=280)
    assert 0 == started.returncode, text
    assert LAB_SCENES == [line for line in text.splitlines() if line in LAB_SCENES]
    assert "FAILED" not in text
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("started", [["--embedded"]], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(
    started: subprocess.Popen[str], folder: Path, number: signal.Signals
) -> None:
    assert started.stdout
    for line in started.stdout:
        if line.startswith(SCENES[0]):
            break
    assert processes_in(folder)
    os.killpg(started.pid, number)
    os.killpg(started.pid, number)  # an impatient person
    text, _ = started.communicate(timeout=30)
    assert 130 == started.returncode, text
    assert "interrupted" in text
    assert_nothing_is_left(folder)
