"""Storage as hosts have it, whole and broken: shell commands for blank disks of 64 MiB.

Why separate: the recorded reports are made from these, and a test in the guest may want one too.
Shape: name -> commands for `sh -e`, with the disks as $a to $f; groups are `vg0`, `vg1`.
"""

from __future__ import annotations

from typing import Final

UNMAP: Final = """\
umount --all --types xfs,ext4
awk 'NR > 1 { print $1 }' /proc/swaps | xargs --no-run-if-empty swapoff
dmsetup --force remove_all
mdadm --stop --scan --quiet
find /dev -mindepth 2 -xtype l -delete # nobody told LVM
rmdir /dev/* 2>/dev/null
"""
"""Takes everything off a guest's disks, whatever is mounted, mapped or suspended there."""
BLANK: Final = f"""\
{UNMAP}
for disk in /dev/ubd?; do blkdiscard --force "$disk" && echo "$disk"; done
"""

_DATA: Final = "vgcreate vg0 $a $b\nlvcreate --size 20m --name data vg0\n"

LAYOUTS: Final = {
    "blank": "",
    "unused-pv": "pvcreate $a",
    "linear": """\
        vgcreate --addtag confsync.vg vg0 $a $b
        lvcreate --size 20m --name data --addtag confsync.managed --addtag confsync.id=data vg0
        lvcreate --size 8m --name other vg0
        lvextend --size 32m vg0/data $b
        lvcreate --size 4m --name two-words vg0
        lvchange --activate n vg0/two-words
        vgcreate --physicalextentsize 1m vg1 $c
        """,
    "mounted": f"{_DATA}mkfs.ext4 -q /dev/vg0/data\nmount /dev/vg0/data /mnt",
    "full": "vgcreate vg0 $a\nlvcreate --extents 100%FREE --name data vg0",
    "striped": "vgcreate vg0 $a $b\nlvcreate --stripes 2 --size 28m --name fast vg0",
    "raid": "vgcreate vg0 $a $b\nlvcreate --type raid1 --nosync --size 20m --name twice vg0",
    "snapshot": f"{_DATA}lvcreate --snapshot --size 8m --name before vg0/data",
    "thin": """\
        vgcreate vg0 $a $b
        lvcreate --type thin-pool --size 32m --name pool vg0
        lvcreate --virtualsize 100m --thinpool pool --name thin vg0
        lvcreate --snapshot --name before vg0/thin
        """,
    "cache": """\
        vgcreate vg0 $a $b
        lvcreate --size 20m --name data vg0 $a
        lvcreate --size 16m --name quick vg0 $b
        lvconvert --yes --type cache --cachevol quick vg0/data
        """,
    "missing-pv": f"{_DATA}lvcreate --size 8m --name other vg0 $b\nvgchange --activate n vg0\n"
    "dd if=/dev/zero of=$b bs=1M count=1 conv=notrunc",
    "missing-pv-active": f"{_DATA}lvcreate --size 8m --name other vg0 $b\n"
    "dd if=/dev/zero of=$b bs=1M count=1 conv=notrunc",
    "duplicate-pv": f"{_DATA}dd if=$a of=$c bs=1M",
    "duplicate-pv-inactive": f"{_DATA}vgchange --activate n vg0\ndd if=$a of=$c bs=1M",
    "same-name": """\
        vgcreate vg0 $a
        vgcreate --config "devices/global_filter=[\\"r|$a|\\"]" vg0 $b
        """,
    "exported": f"{_DATA}vgchange --activate n vg0\nvgexport vg0",
    "foreign": """\
        vgcreate --config 'local/extra_system_ids=["other"]' --systemid other vg0 $a
        """,
    "read-only": f"{_DATA}lvchange --permission r vg0/data",
    "suspended": f"{_DATA}dmsetup suspend vg0-data",
    "inactive-table": f"{_DATA}dmsetup table vg0-data | dmsetup load vg0-data",
    "table-differs": f"{_DATA}dmsetup table vg0-data | sed s/40960/32768/ | dmsetup load vg0-data\n"
    "dmsetup resume vg0-data",
    "no-table": f"""{_DATA}
        lvcreate --activate n --zero n --wipesignatures n --size 8m --name other vg0
        uuid=LVM-$(lvs --noheadings --options vg_uuid,lv_uuid vg0/other | tr -d ' -')
        dmsetup create vg0-other --notable --uuid $uuid
        """,
    "part-alone": """\
        vgcreate vg0 $a $b
        lvcreate --type thin-pool --size 32m --name pool vg0
        vgchange --activate n vg0
        lvchange --yes --activate y vg0/pool_tmeta
        """,
    "pvmove": f"""{_DATA}
        modprobe dm-mirror
        echo 1 >/sys/module/dm_mirror/parameters/raid1_resync_throttle
        pvmove --config global/use_lvmpolld=0 --interval 100 $a >/dev/null &
        until lvs --all vg0 | grep pvmove0; do sleep 0.1; done
        kill -9 $!
        """,
    "half-written": f"{_DATA}dd if=$b of=/run/before bs=1M count=1\n"
    "lvcreate --size 8m --name other vg0\ndd if=/run/before of=$b bs=1M conv=notrunc",
    "hostile": """\
        parted --script $a mklabel gpt mkpart one 1MiB 32MiB
        echo secret | cryptsetup luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $b -
        mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 $c $d
        mkfs.ext4 -q $e
        mkswap $f
        swapon $f
        """,
}
