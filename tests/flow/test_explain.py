"""Why a value is so: the layers' words, their authors, whose holds, and what runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from confsync.drivers.bird.section import BgpSection
from confsync.flow.explain import Explainer
from confsync.flow.passed import Pass
from confsync.flow.reconcile import Rules
from confsync.model.change import Change
from confsync.model.desired import build
from confsync.model.errors import HostBusy, UnknownKey, Unreachable, Violation
from confsync.model.ids import SectionName, canonical, digest
from confsync.model.layers import layer_paths, merge
from confsync.model.policy import Budgets
from confsync.model.section import Ownership
from confsync.model.snapshot import Head, Phase
from tests.flow.clock import virtual
from tests.flow.scripted import AWAY, ScriptedSource
from tests.flow.toy import DRIVER, Facts, World, world

BGP = SectionName("bgp")
HIERARCHY = ("common", "sites/{site}/common", "nodes/{node}")
NAMES = {"site": "bgo", "node": "bgo-compute-03", "role": "compute"}
FACTS = {"fact.ipv4.trp1": "172.18.0.7"}
COMMON, SITE, NODE = (f"desired/{path}/bgp" for path in layer_paths(HIERARCHY, NAMES))
RR1 = {"ipv4": "172.18.6.1", "asn": 64512, "source": "{fact.ipv4.trp1}"}
BASE = {"router_id": "172.18.0.7", "local_as": 64512, "peers": {"rr1": RR1}}


class Asking:
    """One host's Explainer, and a source that keeps records as a push does."""

    def __init__(self):
        self.source = ScriptedSource()
        self.facts = Facts()
        self.facts.known = {**NAMES, **FACTS}
        self.number = 400

    def push(self, by="lars", why="because", **documents):
        """Publish documents by key; a record and the texts are kept."""
        self.number += 1
        keys = {"common": COMMON, "site": SITE, "node": NODE}
        touched = {}
        for name, tree in documents.items():
            key, raw = keys[name], canonical(tree)
            before = self.source.documents.get(key)
            touched[key] = (digest(before) if before else None, digest(raw))
            self.source.put(key, raw.decode())
            self.source.blobs[digest(raw)] = raw
        layers = [
            layer
            for layer in layer_paths(HIERARCHY, NAMES)
            if f"desired/{layer}/bgp" in self.source.documents
        ]
        self.source.publish(self.number, *layers)
        head = Head(
            Phase.COMPLETE, self.number, by, f"2026-11-22T10:00:0{self.number % 10}Z", "cli", why
        )
        self.source.records.insert(0, Change(head, touched))

    @property
    def explainer(self):
        rules = Rules(HIERARCHY, NAMES, Budgets())
        sections = {BGP: BgpSection()}

        def others(node):
            site = node.partition("-")[0]
            return {"site": site, "node": node, "role": "compute"}

        return Explainer({}, sections, self.source, self.facts, rules, others)

    async def found(self):
        snapshot = await self.source.snapshot(layer_paths(HIERARCHY, NAMES))
        desired = build({BGP: BgpSection()}, merge(snapshot, HIERARCHY, self.facts.known))
        return Pass(snapshot=snapshot, desired=desired)

    async def ask(self, key, node="", found=None):
        return await self.explainer.explain(key, node, found or await self.found(), 41.0)


def told(one):
    """Return the words of an answer: layer, value, change if it is exact, who, and the winner."""
    return [
        (
            word["layer"],
            word["value"],
            word["change"] if word["exact"] else None,
            word["by"],
            word["wins"],
        )
        for word in one["layers"]
    ]


@pytest.fixture
def asking():
    made = Asking()
    made.push(common=BASE)
    return made


async def test_every_layer_is_told_with_its_author_and_the_last_one_wins(asking):
    asking.push("maria", "AS for bgo", site={"local_as": 65501, "peers": {"rr1": {"asn": "65501"}}})
    one = await asking.ask("bgp.peers.rr1.asn")
    assert [
        ("common", 64512, 401, "lars", False),
        ("sites/bgo/common", "65501", 402, "maria", True),
    ] == told(one)
    assert ("65501", "layer", "bgo-compute-03") == (one["value"], one["source"], one["node"])
    assert "AS for bgo" == one["layers"][1]["why"]
    assert "sites/{site}/common" == one["layers"][1]["level"]
    assert ["common", "sites/bgo/common", "nodes/bgo-compute-03"] == one["hierarchy"]
    assert ("scripted:desired/common/bgp", 1) == (
        one["layers"][0]["document"],
        one["layers"][0]["line"],
    )


async def test_a_change_that_touched_the_document_alone_is_not_blamed(asking):
    asking.push("maria", "rr1 learns BFD", common={**BASE, "peers": {"rr1": {**RR1, "bfd": True}}})
    (word,) = (await asking.ask("bgp.peers.rr1.asn"))["layers"]
    assert (401, True, "lars") == (word["change"], word["exact"], word["by"])
    (word,) = (await asking.ask("bgp.peers.rr1.bfd"))["layers"]
    assert (402, "maria") == (word["change"], word["by"])


@pytest.mark.parametrize("lost", ["records", "blobs"])
async def test_what_no_record_tells_is_not_made_up(asking, lost):
    asking.push("maria", common={**BASE, "peers": {"rr1": {**RR1, "bfd": True}}})
    if lost == "records":
        asking.source.records.clear()
    else:
        del asking.source.blobs[digest(canonical(BASE))]
    (word,) = (await asking.ask("bgp.peers.rr1.asn"))["layers"]
    assert (402, False, True, "") == (word["change"], word["exact"], word["recorded"], word["by"])


async def test_an_edit_past_the_push_is_unrecorded_and_the_rest_of_its_document_is_not(asking):
    asking.source.put(COMMON, json.dumps({**BASE, "router_id": "172.18.0.8"}))
    (word,) = (await asking.ask("bgp.router_id"))["layers"]
    assert (False, None) == (word["recorded"], word["change"])
    (word,) = (await asking.ask("bgp.peers.rr1.asn"))["layers"]
    assert (True, 401, "lars") == (word["recorded"], word["change"], word["by"])


async def test_a_push_that_never_ended_is_not_blamed(asking):
    pair = (digest(canonical(BASE)), digest(b"{}"))
    head = Head(Phase.PUBLISHING, 402, "maria")
    asking.source.records.insert(0, Change(head, {COMMON: pair}))
    (word,) = (await asking.ask("bgp.local_as"))["layers"]
    assert (401, True, "lars") == (word["change"], word["exact"], word["by"])


async def test_records_that_cannot_be_read_leave_the_layers_told(asking):
    found = await asking.found()
    asking.source.fault = AWAY
    one = await asking.ask("bgp.local_as", found=replace(found, fault=AWAY))
    assert 64512 == one["value"]
    assert [401] == [word["change"] for word in one["layers"]], "the manifest is in what is known"
    assert "" == one["layers"][0]["by"]
    assert [str(AWAY), f"who wrote it is not known: {AWAY}"] == one["notes"]


async def test_a_null_removes_and_is_told_as_the_word_that_holds(asking):
    asking.push(node={"peers": {"rr1": None}, "announce": {"x": "10.0.0.0/24"}})
    one = await asking.ask("bgp.peers.rr1.asn")
    assert ("removed", None) == (one["source"], one["value"])
    assert [(64512, False), (None, True)] == [(w["value"], w["wins"]) for w in one["layers"]]
    whole = await asking.ask("bgp.peers.rr1")
    assert ("removed", [None]) == (whole["source"], [w["value"] for w in whole["layers"]])
    assert {"removed"} == {part["source"] for part in whole["parts"]}


async def test_a_default_is_told_apart_from_what_a_layer_says(asking):
    one = await asking.ask("bgp.peers.rr1.hold_s")
    assert (90, "default", []) == (one["value"], one["source"], one["layers"])
    assert {"kind": "a value", "default": 90, "impact": "session reset", "keys": ()} == one["field"]
    unset = await asking.ask("bgp.peers.rr1.password_file")
    assert ("unset", None) == (unset["source"], unset["value"])


async def test_an_inherited_value_names_the_place_that_says_it(asking):
    asking.push(site={"peer_defaults": {"hold_s": 30}})
    one = await asking.ask("bgp.peers.rr1.hold_s")
    assert (30, "inherited", "bgp.peer_defaults.hold_s") == (
        one["value"],
        one["source"],
        one["inherits"],
    )
    assert [("sites/bgo/common", 30, 402, "lars", True)] == told(one)
    whole = await asking.ask("bgp.peers.rr1")
    inherited = [part["key"] for part in whole["parts"] if part["source"] == "inherited"]
    assert ["bgp.peers.rr1.hold_s"] == inherited


async def test_a_nulled_value_falls_back_and_the_null_does_not_win(asking):
    asking.push(site={"peer_defaults": {"hold_s": 30}, "peers": {"rr1": {"hold_s": 20}}})
    asking.push(node={"peers": {"rr1": {"hold_s": None}}})
    one = await asking.ask("bgp.peers.rr1.hold_s")
    assert (30, "inherited") == (one["value"], one["source"])
    assert [
        ("bgp.peer_defaults.hold_s", 30, True),
        ("bgp.peers.rr1.hold_s", 20, False),
        ("bgp.peers.rr1.hold_s", None, False),
    ] == [(word["key"], word["value"], word["wins"]) for word in one["layers"]]


async def test_facts_are_put_in_here_and_needed_elsewhere(asking):
    here = await asking.ask("bgp.peers.rr1.source")
    assert ("172.18.0.7", "layer") == (here["value"], here["source"])
    assert "{fact.ipv4.trp1}" == here["layers"][0]["value"]
    there = await asking.ask("bgp.peers.rr1.source", "osl-compute-11")
    assert ("fact", ["fact.ipv4.trp1"], None) == (there["source"], there["needs"], there["value"])
    assert ("osl-compute-11", "osl") == (there["node"], there["place"]["site"])
    assert "sites/osl/common" in there["hierarchy"]
    assert there["live"] is None
    assert [] == there["notes"]
    assert 90 == (await asking.ask("bgp.peers.rr1.hold_s", "osl-compute-11"))["value"]


async def test_our_own_name_is_this_host(asking):
    assert "172.18.0.7" == (await asking.ask("bgp.peers.rr1.source", "bgo-compute-03"))["value"]


async def test_facts_that_the_kernel_hides_are_needed_and_told(asking):
    found = await asking.found()
    asking.facts.fault = HostBusy("netlink is busy")
    one = await asking.ask("bgp.peers.rr1.source", found=found)
    assert ("fact", ["facts of this host: netlink is busy"]) == (one["source"], one["notes"])


async def test_a_place_in_a_list_is_told(asking):
    rules = [{"prefix": "10.0.0.0/8", "action": "permit"}]
    asking.push(site={"filters": {"in": {"ipv4": {"rules": rules}}}})
    one = await asking.ask("bgp.filters.in.ipv4.rules[0].action")
    assert ("permit", "layer") == (one["value"], one["source"])
    assert 402 == one["layers"][0]["change"]


async def test_a_whole_section_lists_every_place_that_a_layer_speaks_of(asking):
    one = await asking.ask("bgp")
    assert "map" == one["source"]
    assert [
        "bgp.local_as",
        "bgp.peers.rr1.asn",
        "bgp.peers.rr1.ipv4",
        "bgp.peers.rr1.source",
        "bgp.router_id",
    ] == [part["key"] for part in one["parts"]]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("bgp.peers.rr1.ans", "ans is not in bgp.peers.rr1; did you mean asn?"),
        ("bgp.peers.rr2.asn", "rr2 is not in bgp.peers; did you mean rr1?"),
        ("bgp.pears", "pears is not in bgp; did you mean peers?"),
        ("bpg.peers", "bpg is not in the sections; did you mean bgp?"),
        ("bgp.local_as[0]", "[0] is not in bgp.local_as; nothing is known here"),
        ("bgp.groups.x", "x is not in bgp.groups; nothing is known here"),
    ],
)
async def test_a_place_that_cannot_be_is_refused_with_the_nearest(asking, key, message):
    with pytest.raises(UnknownKey) as refused:
        await asking.ask(key)
    assert (message, 65) == (str(refused.value), refused.value.exit_code)


async def test_without_source_and_memory_there_is_no_answer(asking):
    with pytest.raises(Unreachable, match="does not answer"):
        await asking.ask("bgp", found=Pass(fault=AWAY))
    asking.source.fault = AWAY
    with pytest.raises(Unreachable):
        await asking.ask("bgp", "osl-compute-11", found=Pass())


async def test_a_refused_revision_is_told_while_the_one_before_is_explained(asking):
    fault = Violation("CS-V040", ("bgp", "x"), "unknown key")
    found = replace(await asking.found(), violations=(fault,))
    assert [str(fault)] == (await asking.ask("bgp.local_as", found=found))["notes"]


async def test_a_document_that_cannot_be_read_is_told_and_the_others_are_explained(asking):
    asking.source.put(SITE.replace("bgo", "osl"), "peers: [")
    one = await asking.ask("bgp.local_as", "osl-compute-11")
    assert 64512 == one["value"]
    assert "sites/osl/common/bgp" in one["notes"][0]


# --- what runs


async def live(w: World, key: str = "toy.a", found: Pass | None = None):
    return (await w.explainer.explain(key, "", found or await w.once(), 41.0))["live"]


@virtual
async def test_what_was_applied_and_still_runs_is_the_live_value(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        first = await w.once()
        expected = {"driver": DRIVER, "value": "1", "age_s": 41.0, "problem": ""}
        assert expected == await live(w, found=first), "just committed"
        assert expected == await live(w)


@virtual
async def test_a_value_that_waits_is_not_live_yet(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        await w.journal.pause("INC-1")
        w.push(2, a="2")
        assert "1" == (await live(w))["value"]


@virtual
async def test_nothing_is_claimed_to_run_where_the_host_has_left_what_was_applied(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.edit(a="hand")
        assert ("1", "the host has left it") == ((one := await live(w))["value"], one["problem"])
        w.box.ownership, w.box.problem = Ownership.EDITED, "puppet rewrote the file"
        assert "puppet rewrote the file" == (await live(w))["problem"]


@virtual
async def test_a_host_that_is_not_ours_runs_nothing_that_we_know(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.box.ownership = Ownership.FOREIGN
        w.push(1, a="1")
        assert "nothing was applied here yet: it is not ours" == (await live(w))["problem"]


@virtual
async def test_a_host_that_cannot_be_looked_at_is_not_claimed_to_run_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.faults["observe"] = [HostBusy("BIRD does not answer")]
        one = await live(w)
        assert "BIRD does not answer" in one["problem"]
