"""Other versions of BIRD than the one at hand; their answers are scripted, as they were seen."""

from __future__ import annotations

import pytest

from confsync.drivers.bird.daemon import Daemon
from confsync.drivers.bird.driver import BirdDriver, BirdSettings
from confsync.model.errors import DeadlinePassed
from confsync.model.section import Ownership
from tests.drivers.bird.scripted import answering

RENDER = "0" * 32
READY = "0003-Daemon is up and running\n0000 \n"
BUSY = "0004-Reconfiguration in progress\n0000 \n"
OLD = {
    "show status": (
        "1000-BIRD 1.6.8\n1011-Router ID is 10.9.1.1\n Current server time is 2026-11-22 10:07:15\n"
        " Last reboot on 2026-11-22 10:07:08\n Last reconfiguration on 2026-11-22 10:07:08\n"
        "0013 Daemon is up and running\n"
    ),
    "show protocols all": (
        "2002-name     proto    table    state  since       info\n"
        "1002-b        BGP      master   up     10:07:13    Established   \n"
        "1006-  Preference:     100\n   Input filter:   ACCEPT\n"
        "   Routes:         1 imported, 2 exported, 1 preferred\n \n0000 \n"
    ),
    "show bfd sessions": ["9001 There is no BFD protocol running\n"],
    "configure check": (
        "0002-Reading configuration from /etc/bird/bird.conf\n0020 Configuration OK\n"
    ),
}
NEW = {
    "eval cs_render": [f"0023 {RENDER}\n"],
    "configure status": [READY],
    "show status": (
        "1000-BIRD 3.3.2\n1011-Router ID is 10.9.1.1\n Hostname is vm\n"
        " Current server time is 2026-11-22 10:07:15.245\n Last reboot on 2026-11-22 10:07:08.503\n"
        " Last reconfiguration on 2026-11-22 10:07:08.503\n0013 Daemon is up and running\n"
    ),
    "show protocols all": (
        "2002-Name       Proto      Table      State  Since         Info\n"
        "1002-kernel1    Kernel     master4    up     10:07:08.503  \n"
        "1006-  Created:            10:07:08.503\n   Channel ipv4\n     State:          UP\n \n"
        "1002-b          BGP        ---        up     10:07:13.085  Established   \n"
        "1006-  Created:            10:07:08.503\n   BGP state:          Established\n"
        "     Neighbor address: 10.9.1.2\n     Send hold timer:  13.2/18\n   Channel ipv4\n"
        "     State:          UP\n     Import state:   UP\n     Export state:   READY\n"
        "     Table:          master4\n     Import limit:   50\n       Action:       disable\n"
        "     Routes:         7 imported, 2 exported, 7 preferred\n"
        "     Route change stats:     received   rejected   filtered    ignored   RX limit"
        "      limit   accepted\n       Import updates:              7          0          0"
        "          0          0          0          7\n"
        "     Pending 0 attribute sets with total 0 prefixes\n"
        "     TX pending:     0\n \n"
        "1002-device1    Device     ---        up     10:07:08.503  \n1006- \n0000 \n"
    ),
    "show bfd sessions": ["9001 There is no BFD protocol running\n"],
    "configure check": OLD["configure check"],
}


def driver(tmp_path, version):
    program = tmp_path / "bird"
    program.write_text(f"#!/bin/sh\necho BIRD version {version} >&2\n")
    program.chmod(0o755)
    files = {"config_file": str(tmp_path / "bird.conf"), "control_socket": str(tmp_path / "s")}
    return BirdDriver(BirdSettings(enabled=True, binary=str(program), **files))


async def observed(tmp_path, version, answers):
    one = driver(tmp_path, version)
    async with answering(str(tmp_path / "s"), version, answers) as asked:
        seen = await one.observe()
        one.close()
    return seen, asked


async def test_bird_1_is_refused_with_the_reason_and_asked_to_do_nothing(tmp_path):
    seen, asked = await observed(tmp_path, "1.6.8", OLD)
    expected = "BIRD 1.6.8 is too old: confsync needs 2.0 or later (two daemons, no window)"
    assert (Ownership.ABSENT, expected) == (seen.ownership, seen.problem)
    assert {"configure status", "configure check"} >= {one for one in asked if "conf" in one}


async def test_bird_3_is_read_with_all_that_it_adds(tmp_path):
    seen, asked = await observed(tmp_path, "3.3.2", NEW)
    assert "3.3.2" == seen.detail["version"]
    assert ["b", "device1", "kernel1"] == sorted(seen.detail["protocols"])
    session = seen.detail["protocols"]["b"]
    assert ("Established", "10.9.1.2") == (session["info"], session["neighbor"])
    counts = {"state": "UP", "imported": 7, "exported": 2, "limit_hit": False}
    assert {"ipv4": counts} == session["channels"]
    assert not [one for one in asked if one.startswith(("echo", "reload"))]


async def test_nothing_else_is_configured_while_bird_3_still_reconfigures(tmp_path):
    """3.3.2 aborts when a configure comes while another one is under way."""
    answers = {
        **NEW,
        'configure "/x" timeout 9': (
            "0002-Reading configuration from /x\n0022-Undo scheduled in 9 s\n"
            "0004 Reconfiguration in progress\n"
        ),
        "configure status": [BUSY, BUSY, BUSY, READY],
        "show protocols": ["0000 \n"],
    }
    async with answering(str(tmp_path / "s"), "3.3.2", answers) as asked:
        daemon = Daemon(str(tmp_path / "s"))
        standing = await daemon.configure("/x", revert_after_s=9)
        daemon.close()
    assert "" == standing.condition.busy
    assert asked.count("configure status") > len(answers["configure status"]) - 1
    assert 1 == sum("timeout" in one for one in asked)


async def test_a_reconfiguration_that_never_ends_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("confsync.model.limits.BIRD_CONFIGURE_S", 1.0)
    async with answering(str(tmp_path / "s"), "3.3.2", {**NEW, "configure status": [BUSY]}):
        daemon = Daemon(str(tmp_path / "s"))
        with pytest.raises(DeadlinePassed, match="did not finish reconfiguring"):
            await daemon.settle()
        daemon.close()
