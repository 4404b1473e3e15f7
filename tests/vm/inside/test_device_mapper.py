"""What the tests of LVM stand on: real device-mapper, file systems on it, and online growth."""

from __future__ import annotations

import subprocess

import pytest

from tests.vm.inside.conftest import blank


def run(command: str) -> str:
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def group(disks: list[str]) -> str:
    run(f"vgcreate vg0 {' '.join(disks)}")
    return "vg0"


@pytest.mark.parametrize("grow", ["xfs_growfs /mnt", "resize2fs -f /dev/vg0/data"])
def test_a_mounted_file_system_grows_and_keeps_its_data(group: str, grow: str):
    kind = "xfs" if "xfs" in grow else "ext4"
    run(f"lvcreate --size 320m --name data {group} && mkfs -t {kind} /dev/vg0/data")
    run("mount /dev/vg0/data /mnt && seq 100000 >/mnt/file")
    before = run("sha256sum /mnt/file; df --output=size /mnt")
    run(f"lvextend --size 640m vg0/data && {grow}")
    after = run("sha256sum /mnt/file; df --output=size /mnt")
    assert before.split()[0] == after.split()[0]
    assert int(after.split()[-1]) > 1.5 * int(before.split()[-1])


def test_a_thin_volume_holds_data(group: str):
    run(f"lvcreate --type thin-pool --size 64m --name pool {group}")
    run(f"lvcreate --virtualsize 400m --thinpool pool --name thin {group}")
    run("mkfs.ext4 -q /dev/vg0/thin && mount /dev/vg0/thin /mnt && seq 100000 >/mnt/file")
    used = run(f"sync; lvs --noheadings -o data_percent {group}/pool")
    assert 1 < float(used) < 50


def test_a_mirror_is_in_sync(group: str):
    run(f"lvcreate --type raid1 --size 32m --name twice {group}")
    run(
        f"until lvs --noheadings -o sync_percent {group}/twice | grep -q 100.00; do sleep 0.1; done"
    )


def test_nothing_of_a_test_meets_the_next(group: str):
    run(f"lvcreate --size 320m --name data {group} && mkfs.xfs -q /dev/vg0/data")
    run("mount /dev/vg0/data /mnt && dmsetup suspend vg0-data")
    blank()
    assert "No devices found\n" == run("dmsetup ls; pvs; blkid || true; find /dev -name 'vg0*'")
    run("vgcreate vg0 /dev/ubda && lvcreate --wipesignatures y --size 32m --name data vg0")
