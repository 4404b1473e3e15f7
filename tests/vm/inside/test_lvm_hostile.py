"""Devices that the kernel uses for somebody: refused with the reason, and no byte is changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from confsync.model.errors import NotOwned
from tests.lab.storage import Storage, content, sh, step_of

RAID = "mdadm --create /dev/md0 --run --quiet --level=1 --raid-devices=2 {0} missing"
PATHS = """dmsetup create paths --table \
    "0 $(blockdev --getsz {0}) multipath 0 0 1 1 round-robin 0 1 1 {0} 1000"
"""
SECRET = "printf secret |"
LUKS = f"{SECRET} cryptsetup luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {{0}} -"
LISTED = "mkdir -p /etc/lvm/devices; echo devices/use_devicesfile=1 >/etc/lvm/lvmlocal.conf"
LAYOUTS = {
    "swap in use": ("mkswap --quiet {0} && swapon {0}", "is in use"),
    "mounted": ("mkfs.ext4 -q {0} && mount -o ro {0} /mnt", "is in use"),
    "a member of md": (f"{RAID} --metadata=1.0", "is used by md0"),
    "partitioned": ("parted --script {0} mklabel gpt mkpart one 1MiB 32MiB", "has partitions"),
    "a leg of a multipath": (f"modprobe -a dm-multipath dm-round-robin; {PATHS}", "is used by dm-"),
    "open LUKS": (f"{LUKS}; {SECRET} cryptsetup open --key-file - {{0}} theirs", "is used by dm-"),
    "not in system.devices": (
        f"{LISTED} && pvcreate -q {{2}} && test -s /etc/lvm/devices/system.devices",
        "is kept from LVM: it is not in /etc/lvm/devices/system.devices",
    ),
    "under device-mapper": ("echo 0 2048 linear {0} 0 | dmsetup create theirs", "is used by dm-"),
}


@pytest.fixture
def disk(disks: list[str]) -> Iterator[str]:
    yield disks[0]
    for command in (
        f"swapoff {disks[0]}",
        "umount /mnt",
        "mdadm --stop --quiet /dev/md0",
        f"parted --script {disks[0]} mklabel loop",
        "rm -r /etc/lvm/lvmlocal.conf /etc/lvm/devices",
    ):
        sh(command, check=False)


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_device_that_the_kernel_uses_is_refused(disk: str, disks: list[str], layout: str):
    command, reason = LAYOUTS[layout]
    sh(command.format(*disks))
    before, storage = content(disk), Storage()
    with pytest.raises(NotOwned, match=reason):
        await storage.driver.check(step_of(storage.new_group(disks[1], disk)))
    assert before == content(disk)
