"""Real lvm over loop devices: metadata alone, so nothing is ever active here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from confsync.drivers.lvm.command import Commands
from tests.lab.lvm import Lvm
from tests.lab.storage import Storage


@pytest.fixture
def lvm(tmp_path: Path) -> Iterator[Lvm]:
    made = Lvm(tmp_path / "lvm")
    yield made
    made.close()


@pytest.fixture
def storage(lvm: Lvm, tmp_path: Path) -> Storage:
    """Give the driver, whose lvm is the laboratory's."""
    binary = tmp_path / "lvm.sh"
    words = " ".join(f"{name}={value}" for name, value in lvm.env.items())
    binary.write_text(f'#!/bin/sh\n{words} exec lvm "$@"\n')
    binary.chmod(0o755)
    return Storage(str(binary), commands=Commands(str(tmp_path / "lock" / "confsync")))
