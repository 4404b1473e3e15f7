"""The guest that real systemd has booted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vm.guest import Guest

pytestmark = pytest.mark.root

MOUNT = """\
[Mount]
What=/dev/vg0/data
Where=/srv/data
Type=ext4
"""


def test_every_unit_has_started(systemd_guest: Guest):
    assert "running\n" == systemd_guest.must("systemctl is-system-running --wait", 60)
    assert "active\n" == systemd_guest.must("systemctl is-active bird")
    assert "confsync.service" in systemd_guest.must("systemctl cat confsync")


def test_a_mount_unit_mounts_a_volume_that_udev_has_named(systemd_guest: Guest):
    must = systemd_guest.must
    must("vgcreate vg0 /dev/ubda && lvcreate --size 32m --name data vg0")
    must("mkfs.ext4 -q /dev/vg0/data")
    (systemd_guest.folder / "srv-data.mount").write_text(MOUNT)
    must("cp /guest/srv-data.mount /run/systemd/system/ && systemctl daemon-reload")
    must("systemctl start srv-data.mount")
    assert "/dev/mapper/vg0-data\n" == must("findmnt --noheadings --output SOURCE /srv/data")
    assert "../../dm-0\n" == must("readlink /dev/disk/by-id/dm-name-vg0-data")
