"""``confsync explain``: what people and programs are told, with and without an agent."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from confsync.cli import main
from confsync.model.errors import UnknownKey
from tests.edge.surface import FakeAgent, serving

AT = (datetime.now(UTC) - timedelta(days=2, hours=3, seconds=5)).isoformat()
WORD = {
    "layer": "common",
    "level": "common",
    "key": "bgp.peers.rr1.asn",
    "value": 64512,
    "wins": False,
    "document": "consul:confsync/v1/desired/common/bgp",
    "line": 2,
    "column": 7,
    "change": 390,
    "exact": False,
    "recorded": True,
    "by": "",
    "at": "",
    "via": "",
    "why": "",
}
WON = {
    **WORD,
    "layer": "sites/bgo",
    "value": 65501,
    "wins": True,
    "line": 0,
    "change": 401,
    "exact": True,
    "by": "lars",
    "at": AT,
    "why": "AS for bgo",
}
LIVE = {"driver": "bird", "value": 65501, "age_s": 41.2, "problem": ""}
ONE = {
    "key": "bgp.peers.rr1.asn",
    "value": 65501,
    "source": "layer",
    "inherits": "",
    "needs": [],
    "layers": [WORD, WON],
    "live": LIVE,
}
DATA = {
    **ONE,
    "node": "bgo-compute-03",
    "place": {"site": "bgo", "role": "compute", "variant": ""},
    "hierarchy": ["common", "sites/bgo"],
    "field": {"kind": "a value", "default": None, "impact": "session reset", "keys": []},
    "parts": [],
    "notes": [],
}


class Explaining(FakeAgent):
    """Answers with what a test wants."""

    def __init__(self):
        super().__init__()
        self.answer = DATA

    async def explain(self, key, node):
        self._called("explain", key, node)
        return self.answer


@pytest.fixture
def agent():
    return Explaining()


@pytest.fixture
async def command(agent, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    config = tmp_path / "agent.toml"
    config.write_text(f'[http]\nsocket = "{tmp_path}/agent.sock"\n')

    async def run(*arguments):
        code = await asyncio.to_thread(main, ["explain", *arguments, "--config", str(config)])
        return code, *capsys.readouterr()

    async with serving(agent, tmp_path, listen=""):
        yield run


async def test_the_layers_are_shown_from_weak_to_strong_and_the_live_value_last(command):
    code, out, err = await command("bgp.peers.rr1.asn")
    assert (0, "") == (code, err)
    assert (
        out
        == """\
bgp.peers.rr1.asn  65501  on bgo-compute-03 (site bgo, role compute)
    common     64512 (overridden)  #390 or before  consul:confsync/v1/desired/common/bgp:2:7
  * sites/bgo  65501  #401 by lars, 2d03h ago "AS for bgo"  consul:confsync/v1/desired/common/bgp
    live (bird) 65501, looked at 41s ago
"""
    )


async def test_the_agent_is_asked_about_any_key_of_any_node(command, agent):
    assert 0 == (await command("bgp.filters.in.ipv4.rules[0]", "--node", "osl-nat-1"))[0]
    assert [("explain", "bgp.filters.in.ipv4.rules[0]", "osl-nat-1")] == agent.calls


async def test_as_json_it_is_what_the_agent_said(command):
    _, out, _ = await command("bgp.peers.rr1.asn", "--json")
    assert DATA == json.loads(out)["data"]


async def test_the_shape_is_shown_where_it_is_asked_for(command):
    _, out, _ = await command("bgp.peers.rr1.asn", "--schema")
    assert "    may be    a value; a change is: session reset\n" in out


async def test_notes_are_warnings(command, agent):
    agent.answer = {**DATA, "notes": ["no leader"]}
    assert "warning: no leader\n" == (await command("bgp.peers.rr1.asn"))[2]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": "default", "value": 90}, "90  (default, no layer says it)"),
        ({"source": "unset", "value": None}, "not set, no layer says it"),
        ({"source": "removed", "value": None}, "not set: removed"),
        ({"source": "map", "value": {"a": 1, "b": 2}}, "a map of 2"),
        ({"source": "fact", "needs": ["fact.ipv4.trp1"]}, "needs fact ipv4.trp1, which only the"),
        ({"source": "inherited", "value": True, "inherits": "bgp.peer_defaults.x"},
         "true  (from bgp.peer_defaults.x)"),
        ({"value": [1, 2]}, "[1, 2]"),
        ({"value": "10.0.0.1"}, "10.0.0.1  on"),
    ],
)  # fmt: skip
async def test_where_a_value_comes_from_is_told_apart(command, agent, changes, expected):
    agent.answer = {**DATA, **changes}
    assert f"bgp.peers.rr1.asn  {expected}" in (await command("x"))[1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"value": None}, "sites/bgo  null, removes it  #401"),
        ({"value": None, "wins": False}, "sites/bgo  null, removes it (overridden)  #401"),
        ({"key": "bgp.peers.rr1"}, "65501 at bgp.peers.rr1  #401"),
        ({"recorded": False, "exact": False, "change": None}, "65501  unrecorded  "),
        ({"change": None, "exact": False}, "65501  author unknown  "),
        ({"at": "yesterday", "why": ""}, "#401 by lars  consul"),
    ],
)
async def test_a_layers_word_and_its_author_are_told_as_far_as_they_are_known(
    command, agent, changes, expected
):
    agent.answer = {**DATA, "layers": [{**WON, **changes}]}
    assert expected in (await command("x"))[1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"problem": "the host has left it"},
         "live (bird) not known: 65501 was applied; the host has left it, looked at 41s ago"),
        ({"problem": "nothing was applied here yet", "value": None, "age_s": None},
         "live (bird) not known: nothing was applied here yet\n"),
        ({"value": None}, "live (bird) not set, looked at 41s ago"),
    ],
)  # fmt: skip
async def test_a_live_value_is_claimed_only_where_it_is_known(command, agent, changes, expected):
    agent.answer = {**DATA, "live": {**LIVE, **changes}}
    assert expected in (await command("x"))[1]


async def test_of_a_map_all_below_it_is_listed(command, agent):
    part = {**ONE, "key": "bgp.peers.rr1.bfd", "layers": []}
    agent.answer = {**DATA, "source": "map", "value": {"a": 1}, "layers": [], "parts": [part]}
    _, out, _ = await command("bgp.peers.rr1")
    assert "live (bird) as below" in out
    assert "\nbgp.peers.rr1.bfd  65501\n" in out


async def test_an_unknown_key_is_65_with_the_nearest(command, agent):
    agent.refusal = UnknownKey("ans is not in bgp.peers.rr1; did you mean asn?")
    code, out, err = await command("bgp.peers.rr1.ans")
    assert (65, "", "ans is not in bgp.peers.rr1; did you mean asn?\n") == (code, out, err)


# --- where no agent runs


@pytest.fixture
def alone(tmp_path, capsys, monkeypatch):
    """Run the verb on a folder of files, on a host without BIRD."""
    monkeypatch.setenv("NO_COLOR", "1")
    tree = tmp_path / "tree"
    for place, text in {
        "common/bgp": "local_as: 65501\nrouter_id: 10.0.0.1\n",
        "sites/osl/common/bgp": "local_as: 65502\n",
    }.items():
        (tree / place).parent.mkdir(parents=True)
        (tree / f"{place}.yaml").write_text(text)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'site = "bgo"\nnode = "bgo-compute-03"\nstate_dir = "{tmp_path}/state"\n'
        f'[source]\nkind = "directory"\npath = "{tree}"\nquiet_min_s = 0\n'
        f'[http]\nsocket = "{tmp_path}/none.sock"\n'
    )

    def run(*arguments):
        code = main(["explain", *arguments, "--config", str(config)])
        return code, *capsys.readouterr()

    return run


def test_without_an_agent_the_source_is_read(alone, tmp_path):
    code, out, _ = alone("bgp.local_as")
    assert 0 == code
    assert "bgp.local_as  65501  on bgo-compute-03 (site bgo, role compute)\n" in out
    assert f"* common  65501  unrecorded  {tmp_path}/tree/common/bgp.yaml:1:11\n" in out
    assert "live" not in out, "no driver is enabled here"


def test_another_node_has_the_layers_of_its_own_site_and_role(alone):
    _, out, _ = alone("bgp.local_as", "--node", "osl-nat-gpu-01", "--json")
    data = json.loads(out)["data"]
    assert 65502 == data["value"]
    assert {"site": "osl", "role": "nat", "variant": "gpu"} == data["place"]
    assert "roles/nat" in data["hierarchy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bgp.local_a"], "local_a is not in bgp; did you mean local_as?"),
        (["bgp", "--node", "A B"], "'A B' is no node's name"),
    ],
)
def test_what_there_cannot_be_is_65(alone, arguments, message):
    code, _, err = alone(*arguments)
    assert 65 == code
    assert message in err


def test_without_source_and_memory_it_is_69(alone, tmp_path):
    (tmp_path / "tree").rename(tmp_path / "gone")
    code, _, err = alone("bgp.local_as")
    assert 69 == code
    assert str(tmp_path / "tree") in err
