"""Devices that the kernel uses for somebody: refused with the reason, and no byte is changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from confsync.model.errors import NotOwned
from tests.lab.storage import Storage, content, sh

RAID = "mdadm --create /dev/md0 --run --quiet --level=1 --raid-devices=2 {0} missing"
LAYOUTS = {
    "swap in use": ("mkswap --quiet {0} && swapon {0}", "is in use"),
    "mounted": ("mkfs.ext4 -q {0} && mount -o ro {0} /mnt", "is in use"),
    "a member of md": (f"{RAID} --metadata=1.0", "is used by md0"),
    "under device-mapper": ("echo 0 2048 linear {0} 0 | dmsetup create theirs", "is used by dm-"),
}


@pytest.fixture
def disk(disks: list[str]) -> Iterator[str]:
    yield disks[0]
    sh(f"swapoff {disks[0]}; umount /mnt; mdadm --stop --quiet /dev/md0", check=False)


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_device_that_the_kernel_uses_is_refused(disk: str, disks: list[str], layout: str):
    command, reason = LAYOUTS[layout]
    sh(command.format(disk))
    before, storage = content(disk), Storage()
    with pytest.raises(NotOwned, match=reason):
        await storage.apply(storage.new_group(disks[1], disk))
    assert before == content(disk)
