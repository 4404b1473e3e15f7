"""Where nothing is mounted over, and what must be on a host beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from confsync.drivers.lvm import attach, filesystems
from confsync.drivers.lvm.filesystems import require_tools
from confsync.drivers.lvm.step import FileSystem
from confsync.model.errors import HostBusy, NotOwned


def test_only_an_empty_folder_or_none_is_mounted_over(tmp_path: Path):
    attach.require_free(str(tmp_path / "absent"))
    attach.require_free(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(NotOwned, match="is not empty"):
        attach.require_free(str(tmp_path))
    with pytest.raises(NotOwned, match="/proc is not empty"):
        attach.require_free("/proc")
    with pytest.raises(HostBusy, match="Not a directory"):
        attach.require_free(str(tmp_path / "file"))


def test_a_tool_that_is_missing_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    require_tools(FileSystem.NONE)
    monkeypatch.setattr(filesystems, "_FOLDERS", (str(tmp_path),))
    with pytest.raises(HostBusy, match=r"no mkfs\.xfs on this host; Debian's xfsprogs has it"):
        require_tools(FileSystem.XFS)
