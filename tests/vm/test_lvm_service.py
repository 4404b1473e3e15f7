"""The agent as its shipped unit, under real systemd and udevd: from a document to a mount."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.vm.guest import Guest

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]
SETTINGS = """
site = "lab"
node = "lab-node-1"
[source]
kind = "directory"
path = "/etc/confsync/tree"
[pace]
splay_s = 0
[drivers.bird]
enabled = true
hold_s = 0.1
[drivers.lvm]
enabled = true
volume_groups = ["vg_ext"]
"""
APPLY = """
while confsync apply; code=$?; [ $code = 2 ]; do sleep 1; done # until the source has been quiet
exit $code
"""
WRITER = """
[Service]
ExecStart=/bin/sh -c 'seq 200000 >/srv/data/file; while :; do seq 20000 >/srv/data/busy; sync; done'
"""


class Node:
    """A guest with the agent installed, and what its operator does."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.must = guest.must
        self.put("/etc/confsync/agent.toml", SETTINGS)
        self.put("/etc/systemd/system/confsync.service.d/lvm.conf", ROOT / "systemd/lvm.conf")

    def put(self, path: str, content: str | Path) -> None:
        """Write a file of the guest."""
        text = content.read_text() if isinstance(content, Path) else textwrap.dedent(content)
        (self.guest.folder / "put").write_text(text)
        self.must(f"mkdir -p $(dirname {path}) && cp /guest/put {path}")

    def want(self, **volumes: Any) -> None:
        """Write what the node's storage shall be."""
        group = {"devices": ["/dev/ubda"], "volumes": volumes}
        self._document("lvm", {"volume_groups": {"vg_ext": group}})

    def want_peers(self, **peers: bool) -> None:
        """Write the node's BGP peers, none of which is there; they may be required."""
        addresses = enumerate(sorted(peers), start=2)
        permit = {"ipv4": {"default": "permit"}}
        document = {
            "router_id": "192.0.2.1",
            "local_as": 64512,
            "peers": {
                name: {"ipv4": f"192.0.2.{last}", "asn": 65001, "required": peers[name]}
                for last, name in addresses
            },
            "import": permit,
            "export": permit,
        }
        self._document("bgp", document)

    def _document(self, name: str, document: Any) -> None:
        self.put(f"/etc/confsync/tree/nodes/lab-node-1/{name}.yaml", json.dumps(document))

    def start(self) -> None:
        """Start the agent; it is ready after its first pass, but answers before."""
        self.must("systemctl daemon-reload && systemctl start --no-block confsync")
        self.must("until [ -S /run/confsync/agent.sock ]; do sleep 0.2; done", 60)

    def apply(self, code: int = 0) -> str:
        """Have it carried out, as soon as what was written counts; return all that is said."""
        done = self.guest.run(APPLY, 200)
        assert code == done.rc, done.stdout + done.stderr + self.must("journalctl -u confsync")
        return done.stdout + done.stderr


@pytest.fixture
def node(systemd_guest: Guest) -> Node:
    return Node(systemd_guest)


def test_a_volume_is_made_mounted_grown_while_busy_and_retired(node: Node):
    data = {"size": "160MiB", "fs": "ext4", "mount": "/srv/data"}
    swap = {"size": "20MiB", "fs": "swap"}
    node.want(data=data, swap=swap)
    node.want_peers()
    node.start()
    node.apply()
    assert "/dev/mapper/vg_ext-data\n" == node.must("findmnt --noheadings -o SOURCE /srv/data")
    assert "/dev/dm-" in node.must("swapon --show=NAME --noheadings")
    assert "enabled\n" == node.must("systemctl is-enabled srv-data.mount")
    assert "No changes.\n" == node.must("confsync plan")

    node.put("/run/systemd/system/writer.service", WRITER)
    node.must("systemctl daemon-reload && systemctl start writer && sleep 1")
    checksum = node.must("sync; sha256sum /srv/data/file")
    before = int(node.must("df --output=size /srv/data | tail -1"))
    node.want(swap=swap, data={**data, "size": "400MiB"})
    node.apply()
    assert 2 * before < int(node.must("df --output=size /srv/data | tail -1"))
    node.must("systemctl is-active writer && systemctl stop writer")
    assert checksum == node.must("echo 3 >/proc/sys/vm/drop_caches; sha256sum /srv/data/file")

    node.want(swap=swap, data={**data, "size": "400MiB", "mount": "none"})
    node.apply()
    assert node.guest.run("findmnt /srv/data || test -e /etc/systemd/system/srv-data.mount").rc
    node.want(swap=swap, data={**data, "size": "400MiB", "mount": "none", "retire": True})
    node.apply()
    left = node.must("lvs --noheadings -o lv_name vg_ext").split()
    assert ["swap", "trash"] == sorted(name.partition(".")[0] for name in left)


def test_a_peer_that_does_not_come_up_undoes_the_volume_that_came_with_it(node: Node):
    data = {"size": "40MiB", "fs": "ext4", "mount": "/srv/data"}
    node.want(data=data)
    node.want_peers(one=False)
    node.start()
    node.apply()
    assert "one" in node.must("birdc show protocols")
    configured = node.must("sha256sum /etc/bird/bird.conf")
    free = node.must("vgs --noheadings -o vg_free vg_ext")

    node.want(data=data, more={"size": "80MiB", "fs": "ext4", "mount": "/srv/more"})
    node.want_peers(one=False, two=True)
    assert "two" in node.apply(code=4)
    assert configured == node.must("sha256sum /etc/bird/bird.conf")
    assert free == node.must("vgs --noheadings -o vg_free vg_ext")
    assert ["data"] == node.must("lvs --noheadings -o lv_name vg_ext").split()
    assert node.guest.run("findmnt /srv/more || test -e /etc/systemd/system/srv-more.mount").rc
    assert "/dev/mapper/vg_ext-data\n" == node.must("findmnt --noheadings -o SOURCE /srv/data")

    node.want_peers(one=False, two=False)
    node.apply()
    assert "two" in node.must("birdc show protocols")
    assert "/dev/mapper/vg_ext-more\n" == node.must("findmnt --noheadings -o SOURCE /srv/more")


def test_an_agent_that_is_killed_undoes_what_it_had_begun(node: Node):
    data, more = {"size": "40MiB"}, {"size": "40MiB", "fs": "ext4"}
    node.want(data=data)
    node.want_peers(one=False)
    node.start()
    node.apply()
    node.want(data={**data, "size": "80MiB"}, more=more)
    node.want_peers(one=False, two=True)
    # Storage comes first, and then the peer is waited for.
    node.must("until birdc show protocols | grep -q two; do sleep 0.5; done", 100)
    assert "more" in node.must("lvs --noheadings -o lv_name vg_ext")
    node.want(data=data)
    node.want_peers(one=False)
    node.must("systemctl kill --kill-whom=main --signal=KILL confsync")
    node.must("until journalctl -u confsync | grep -q recovered; do sleep 1; done", 100)
    node.apply()
    assert ["data", "40.00m"] == node.must("lvs --noheadings -o lv_name,lv_size vg_ext").split()
    assert "two" not in node.must("birdc show protocols")
