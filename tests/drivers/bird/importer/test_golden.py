"""Configurations that somebody wrote by hand, and the documents drafted of them."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from confsync.drivers.bird.importer import draft
from tests.drivers.bird.importer.cases import CASES, FOLDER, READABLE, outcome, read
from tests.lab.bird import BINARY


@pytest.mark.parametrize("case", CASES)
def test_a_configuration_becomes_this_document(case):
    name, text = outcome(case)
    assert (FOLDER / case / name).read_text() == text


@pytest.mark.parametrize("case", CASES)
def test_bird_reads_what_we_read_and_refuses_what_we_refuse(case):
    done = subprocess.run(
        [BINARY, "-p", "-c", "bird.conf"], cwd=FOLDER / case, capture_output=True, check=False
    )
    assert (case in READABLE) == (done.returncode == 0), done.stderr


@pytest.mark.parametrize("case", READABLE)
def test_a_draft_gives_back_what_was_read(case):
    value, faults = draft.parsed(yaml.safe_load((FOLDER / case / "document.yaml").read_text()))
    assert ((), read(case).value) == (faults, value)


@pytest.mark.parametrize("case", READABLE)
def test_no_draft_shows_a_password(case):
    drafted = (FOLDER / case / "document.yaml").read_text()
    assert "hush" not in drafted
    assert "shown to nobody" not in drafted
