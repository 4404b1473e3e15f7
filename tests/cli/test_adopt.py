"""``confsync adopt``: what people and programs are told of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from confsync.cli import main
from confsync.model.errors import NotOwned
from tests.edge.surface import FakeAgent, serving

DATA = {
    "names": {"cs_far_ipv4": "upstream"},
    "lost": [],
    "draft": "local_as: 64512\n",
    "differences": [],
    "refusals": [],
}
ITEM = {"op": "~", "text": "~ bgp.peers.far.hold_s 90 -> 9", "impact": "session reset"}


class Adopting(FakeAgent):
    """Answers an order to adopt with what a test wants."""

    def __init__(self):
        super().__init__()
        self.answer = DATA

    async def adopt(self, actor, order):
        self._called("adopt", order)
        return self.answer


@pytest.fixture
def agent():
    return Adopting()


@pytest.fixture
async def command(agent, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    config = tmp_path / "agent.toml"
    config.write_text(f'[http]\nsocket = "{tmp_path}/agent.sock"\n')

    async def run(*arguments):
        code = await asyncio.to_thread(main, ["adopt", *arguments, "--config", str(config)])
        return code, *capsys.readouterr()

    async with serving(agent, tmp_path, listen=""):
        yield run


async def test_adopting_shows_the_kept_names_and_says_that_nothing_was_touched(command, agent):
    code, out, _ = await command("bird", "--allow", "lost:bird")
    assert 0 == code
    assert "keeps the name upstream   (cs_far_ipv4)\n" in out
    assert out.endswith("Adopted; the host was not touched.\n")
    order = {"driver": "bird", "plan": False, "draft": False, "allow": ["lost:bird"]}
    assert [("adopt", order)] == agent.calls


@pytest.mark.parametrize(("differences", "code"), [([], 0), ([ITEM], 2)])
async def test_looking_ends_like_a_plan(command, agent, differences, code):
    agent.answer = {**DATA, "differences": differences}
    found, out, _ = await command("bird", "--plan")
    assert code == found
    assert "Adopted" not in out


async def test_what_stands_against_it_is_told_with_its_allowance(command, agent):
    refusal = "the first plan has session reset; to allow it: --allow reset:bgp.peers.far.hold_s"
    agent.answer = {**DATA, "differences": [ITEM], "refusals": [refusal]}
    code, out, err = await command("bird")
    assert (75, f"{refusal}\n") == (code, err)
    assert "Adopted" not in out
    code, out, _ = await command("bird", "--json")
    assert (75, [refusal]) == (code, json.loads(out)["data"]["refusals"])


async def test_a_draft_is_printed_as_it_is_and_what_is_lost_beside_it(command, agent):
    agent.answer = {**DATA, "lost": ["protocol ospf v3"]}
    assert (0, "local_as: 64512\n", "warning: protocol ospf v3\n") == await command(
        "bird", "--draft"
    )


async def test_what_cannot_be_adopted_is_refused_with_the_reason(command, agent):
    agent.refusal = NotOwned("bird cannot be adopted: the file does not parse")
    code, _, err = await command("bird")
    assert (75, "bird cannot be adopted: the file does not parse\n") == (code, err)
