"""What lies on volumes, as real blkid tells it of several at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from confsync.drivers.lvm import content
from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.found import Volume
from tests.lab.storage import sh

MAKERS = {
    "ext4": ("mkfs.ext4 -q {}", 8 << 20),
    "xfs": ("mkfs.xfs -q {}", 320 << 20),
    "swap": ("mkswap --quiet {}", 8 << 20),
    "": (":", None),
    "crypto_LUKS": ("printf 'LUKS\\272\\276\\0\\1' | dd of={} conv=notrunc status=none", None),
}


def volume(folder: Path, number: int, make: str) -> Volume:
    path = folder / str(number)
    path.touch()
    with path.open("r+b") as file:
        file.truncate((320 if "xfs" in make else 8) << 20)
    sh(make.format(path))
    return Volume(name=str(path), uuid=str(number), extents=1, active=True, device=f"1:{number}")


@pytest.mark.parametrize("order", [list(MAKERS), list(reversed(MAKERS)), ["", "", "ext4", ""]])
async def test_each_volume_is_told_with_its_size_whatever_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: list[str]
):
    monkeypatch.setattr(content, "node_of", lambda one: one.name)
    volumes = [volume(tmp_path, number, MAKERS[kind][0]) for number, kind in enumerate(order)]
    expected = {
        one.device: (kind, MAKERS[kind][1]) for one, kind in zip(volumes, order, strict=True)
    }
    assert expected == await content.probe(Commands(), volumes)


async def test_what_may_not_answer_is_not_asked(tmp_path: Path):
    sick = Volume(name="a", uuid="a", extents=1, active=True, device="1:1", health="suspended")
    idle = Volume(name="b", uuid="b", extents=1, device="1:2")
    assert {} == await content.probe(Commands(), [sick, idle])
