"""A guest with real device-mapper, and tests of what it promises.

From a test: the fixture `guest` (or `systemd_guest`) and `guest.run("vgcreate vg0 /dev/ubda")`;
tests that are to run in there are modules of `inside`. By hand: `scripts/guest COMMAND`.
"""
