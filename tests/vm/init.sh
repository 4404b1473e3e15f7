#!/bin/bash
# The first program of the guest (init=). Its / is the machine's own, read-only through hostfs; $vm_folder (from
# the kernel's command line) is the one folder that both sides write. Loads the modules, makes the root that
# guest.py describes in fstab, and hands over to serve.sh, or to systemd with serve.sh as one of its units.
# Sparing with programs: to start one costs 60 ms in here.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
trap 'echo "init.sh: line $LINENO failed"; poweroff -f' ERR

# Of an ordinary user's guest root's files are nobody's, and so would this set-user-id program be: load it by hand.
mount() { /lib64/ld-linux-x86-64.so.2 /usr/bin/mount "$@"; }

. "$vm_folder/boot.env" # systemd=true|false files=(FILE ...), the mount points that are files
root=/mnt/root
mount -t proc proc /proc
mount -t tmpfs -o mode=755 scratch /mnt
mkdir -p /mnt/{upper,work,root}
modprobe --dirname "$vm_folder" --all overlay dm-mod autofs4 ipv6 # the others load themselves when they are asked for
mount --all --fstab "$vm_folder/fstab.root"
for file in "${files[@]}"; do
    mkdir -p "${file%/*}"
    : >"$file"
done
mount --all --fstab "$vm_folder/fstab"
if $systemd; then
    exec switch_root $root /lib/systemd/systemd --log-target=console --show-status=0
fi
mkdir -p $root/run/lvm $root/run/lock/lvm
export DM_DISABLE_UDEV=1 # no udevd runs here: LVM makes device-mapper's nodes itself
exec chroot $root bash /guest/serve.sh
