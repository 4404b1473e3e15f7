from __future__ import annotations

import asyncio
import json

import pytest

from confsync.cli import main
from confsync.cli.status import age
from confsync.host.journal import SqliteJournal
from confsync.model.errors import Held, RollbackFailed
from confsync.model.ids import Digest, DriverName, TxnId
from confsync.model.status import (
    AgentState,
    DriverStatus,
    LastTransaction,
    Mark,
    SiteStatus,
    SourceStatus,
)
from tests.edge.surface import FakeAgent, serving


@pytest.fixture
def agent():
    return FakeAgent()


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "agent.toml"
    path.write_text(f'[http]\nsocket = "{tmp_path}/agent.sock"\nstate_dir = 5\n')
    monkeypatch.setenv("NO_COLOR", "1")
    return path


@pytest.fixture
async def command(agent, config, tmp_path, capsys):
    """Run commands against a served fake agent: (exit, stdout, stderr)."""

    async def run(*arguments):
        code = await asyncio.to_thread(main, [*arguments, "--config", str(config)])
        out, err = capsys.readouterr()
        return code, out, err

    async with serving(agent, tmp_path, listen=""):
        yield run


@pytest.fixture
def alone(config, capsys):
    def run(*arguments):
        code = main([*arguments, "--config", str(config)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("in-sync", 0), ("pending", 2), ("observing", 2), ("frozen", 2), ("applying", 2),
        ("starting", 2), ("rolled-back", 4), ("rejected", 4), ("drifted", 4), ("halted", 5),
        ("stale", 69),
    ],
)  # fmt: skip
async def test_status_ends_with_the_state_s_code(command, agent, state, code):
    agent.show(state=AgentState(state))
    assert code == (await command("status"))[0]
    found, out, _ = await command("status", "--json")
    assert code == found == json.loads(out)["exit"]
    assert state == json.loads(out)["data"]["state"]


async def test_status_of_a_node_in_sync(command):
    assert (
        (await command("status"))[1]
        == """\
bgo-compute-03  IN-SYNC  since 2026-11-22T10:00:00Z
  place     site bgo, role compute
  changes   desired #419 aaaaaaaaaaaa, attempted -, applied #419 aaaaaaaaaaaa
  source    consul, last answer 12s ago
  bird      owned, ipv4 2/2 up
"""
    )


async def test_status_of_a_node_in_trouble(command, agent):
    agent.show(
        state=AgentState.ROLLED_BACK,
        reason="bird: rr3 not Established after 30 s",
        next="confsync agent retry",
        unrecorded=True,
        desired=Mark(420, Digest("b" * 64)),
        attempted=Mark(420, Digest("b" * 64)),
        held=("rr2_ipv4",),
        warnings=("roles/compute hides sites/bgo/common",),
        source=SourceStatus("consul", "", 723.0, "no leader"),
        drivers={
            DriverName("bird"): DriverStatus(
                "edited",
                "changed by hand",
                ("line 7",),
                None,
                {"ipv4": {"up": 1, "expected": 2}},
                3,
            )
        },
        last_transaction=LastTransaction(
            TxnId("t1"), "rolled-back", Digest("b" * 64), "2026-11-22T10:00:00Z", 812, "rr3"
        ),
    )
    code, out, _ = await command("status")
    assert 4 == code
    assert (
        out
        == """\
bgo-compute-03  ROLLED-BACK  since 2026-11-22T10:00:00Z
  reason    bird: rr3 not Established after 30 s
  next:     confsync agent retry
  place     site bgo, role compute
  changes   desired #420 bbbbbbbbbbbb, attempted #420 bbbbbbbbbbbb, applied #419 aaaaaaaaaaaa, \
edited past the last push
  source    consul, last answer 12m03s ago: no leader
  bird      edited, ipv4 1/2 up, 3 items drifted, changed by hand
            line 7
  held      rr2_ipv4: disabled by hand, kept so
  last      rolled-back bbbbbbbbbbbb at 2026-11-22T10:00:00Z in 812 ms: rr3
  warning   roles/compute hides sites/bgo/common
"""
    )


@pytest.mark.parametrize(
    ("work", "shown"),
    [
        (SiteStatus(), "  site      another agent acts for bgo\n"),
        (
            SiteStatus(holds=True, state="in-sync", desired=7, applied=7),
            "  site      in-sync at #7 (this agent acts for bgo)\n",
        ),
        (
            SiteStatus(holds=True, state="pending", desired=8),
            "  site      pending at no change, #8 desired (this agent acts for bgo)\n",
        ),
        (
            SiteStatus(
                holds=True,
                state="rolled-back",
                reason="no report from bgo-compute-04",
                next="confsync agent retry",
                desired=8,
                applied=7,
                drift=2,
                warnings=("order 0 comes first",),
                last_transaction=LastTransaction(
                    TxnId(3), "rolled-back", Digest("b" * 64), "2026-11-22T10:00:00Z", 812, "no"
                ),
            ),
            """\
  site      rolled-back at #7, #8 desired, 2 items drifted (this agent acts for bgo)
            no report from bgo-compute-04
            next: confsync agent retry
            last rolled-back bbbbbbbbbbbb at 2026-11-22T10:00:00Z in 812 ms: no
            warning: order 0 comes first
""",
        ),
    ],
)
async def test_status_shows_how_the_site_stands(command, agent, work, shown):
    agent.show(site_work=work)
    found = (await command("status"))[1].partition("  bird      owned, ipv4 2/2 up\n")
    assert shown == found[2]


@pytest.mark.parametrize(
    ("node", "site", "code"),
    [
        ("in-sync", "in-sync", 0), ("in-sync", "pending", 2), ("in-sync", "rejected", 4),
        ("in-sync", "rolled-back", 4), ("in-sync", "halted", 5), ("halted", "in-sync", 5),
        ("rolled-back", "halted", 5), ("stale", "rejected", 4), ("pending", "stale", 69),
        ("in-sync", "a word of tomorrow", 1),
    ],
)  # fmt: skip
async def test_status_ends_with_the_worse_of_the_node_and_the_site_it_acts_for(
    command, agent, node, site, code
):
    agent.show(state=AgentState(node), site_work=SiteStatus(holds=True, state=site))
    assert code == (await command("status"))[0]
    agent.show(state=AgentState.IN_SYNC, site_work=SiteStatus(state=site))
    assert 0 == (await command("status"))[0], "another agent tells of the site"


def test_status_without_an_agent(alone):
    code, out, err = alone("status")
    assert (69, "") == (code, out)
    assert err.startswith("no agent answers on ")
    code, out, _ = alone("status", "--json")
    assert 69 == code
    (error,) = json.loads(out)["errors"]
    assert "NoAgent" == error["code"]


async def test_orders_reach_the_agent_and_name_their_result(command, agent):
    assert 0 == (await command("agent", "pause", "--reason", "INC-1"))[0]
    assert 0 == (await command("agent", "resume", "--accept"))[0]
    assert 0 == (await command("agent", "retry"))[0]
    code, out, _ = await command("agent", "reload", "--wait")
    assert (0, "reloaded\n") == (code, out)
    assert ["pause", "resume", "retry", "reload"] == [call[0] for call in agent.calls]
    assert ["INC-1", True, True] == [agent.calls[n][2] for n in (0, 1, 3)]


@pytest.mark.parametrize(
    ("refusal", "code"), [(Held("paused by lars"), 75), (RollbackFailed("stuck"), 5)]
)
async def test_a_refusal_keeps_its_exit_code(command, agent, refusal, code):
    agent.refusal = refusal
    found, _, err = await command("agent", "retry")
    assert (code, f"{refusal}\n") == (found, err)
    found, out, _ = await command("agent", "retry", "--json")
    assert (code, code) == (found, json.loads(out)["exit"])


def test_a_reload_without_an_agent_says_so(alone):
    assert 69 == alone("agent", "reload")[0]


def test_without_an_agent_a_pause_is_written_down_for_the_next_one(alone, config, tmp_path):
    config.write_text(f'state_dir = "{tmp_path}/state"\n[http]\nsocket = "{tmp_path}/none"\n')
    code, out, _ = alone("agent", "pause", "--reason", "INC-1")
    assert 0 == code
    assert out.startswith("paused")
    assert "no agent is running" in out
    assert "INC-1" == asyncio.run(paused(tmp_path / "state"))
    assert 0 == alone("agent", "retry")[0]
    assert 0 == alone("agent", "resume")[0]
    assert asyncio.run(paused(tmp_path / "state")) is None


async def paused(folder):
    journal = SqliteJournal(folder / "journal.db")
    try:
        return await journal.paused()
    finally:
        await journal.aclose()


def test_check_config_tells_every_fault(alone):
    code, _, err = alone("agent", "run", "--check-config")
    assert 78 == code
    assert "site is missing" in err
    assert "[http] state_dir: no such setting" in err


def test_check_config_of_good_settings(alone, config):
    config.write_text('site = "bgo"\nnode = "bgo-nat-01"\n')
    code, out, _ = alone("agent", "run", "--check-config")
    assert (0, f"{config}: ok\n") == (code, out)


@pytest.mark.parametrize(
    ("age_s", "text"),
    [(0.9, "0s"), (59, "59s"), (723, "12m03s"), (3 * 3600 + 300, "3h05m"), (187200, "2d04h")],
)
def test_ages_are_told_as_people_say_them(age_s, text):
    assert text == age(age_s)
