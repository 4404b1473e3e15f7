"""The driver against calicoctl: one object after the other, and never over somebody else's."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from confsync.drivers.calico import command
from confsync.drivers.calico.driver import CalicoDriver, CalicoSettings
from confsync.drivers.calico.resources import Resources
from confsync.drivers.calico.section import CalicoSection
from confsync.flow.recover import recover
from confsync.flow.transact import Outcome, Room, transact
from confsync.model import limits
from confsync.model.errors import (
    HostBusy,
    HostRefused,
    NotVerified,
    RollbackFailed,
    SchemaViolated,
)
from confsync.model.ids import digest
from confsync.model.machine import State
from confsync.model.plan import Plan, Step
from confsync.model.section import Observed, Ownership
from confsync.ports import Position
from tests.flow.model_host import Silent, process, target_of
from tests.lab.calico import Calico

pytestmark = pytest.mark.root

SECTION = CalicoSection()
NETS = {"globalnetworksets": {"ula": {"nets": ["fd00::/8"]}, "lan": {"nets": ["10.0.0.0/8"]}}}
ALLOW = {"order": 10, "selector": "all()", "types": ["Ingress", "Egress"]} | {
    "ingress": [{"action": "Allow", "source": {"selector": "global() && net == 'ula'"}}],
    "egress": [{"action": "Allow"}],
}
FIVE = {
    **NETS,
    "globalnetworkpolicies": {"allow": ALLOW},
    "networkpolicies": {"default": {"web": {"ingress": [{"action": "Allow"}]}}},
    "hostendpoints": {"n1-bond0": {"node": "n1", "interfaceName": "bond0", "labels": {"a": "b"}}},
}


@pytest.fixture
def calico(tmp_path: Path) -> Calico:
    return Calico(tmp_path / "calico")


@pytest.fixture
def driver(calico: Calico) -> CalicoDriver:
    return CalicoDriver(CalicoSettings(calicoctl=str(calico.program), config_file=""))


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALICO_UNDO_S", 0.0)


def resources(tree: Any) -> Resources:
    value = SECTION.parse(tree)
    assert isinstance(value, Resources), value
    return value


async def planned(driver: CalicoDriver, tree: Any, had: Any = None) -> tuple[Step, ...]:
    seen = await driver.observe()
    assert seen.ownership is Ownership.OWNED, seen.problem
    before = resources(had) if had is not None else None
    return SECTION.plan(resources(tree), before, seen)


async def carried(driver: CalicoDriver, steps: tuple[Step, ...], journal: Path) -> Outcome:
    plan = Plan(digest(b"new"), steps)
    async with process(journal) as kept:
        room = Room({driver.name: driver}, kept, Silent())
        return await transact(plan, target_of(plan), room, way_home=None)


def everything(calico: Calico) -> dict[str, Any]:
    """Return what stands in the datastore, but for versions, ids and times."""
    found = {}
    for kind in ("GlobalNetworkSet", "GlobalNetworkPolicy", "NetworkPolicy", "NetworkSet"):
        found |= {(kind, one["metadata"]["name"]): one for one in calico.items(kind)}
    for kind in ("HostEndpoint", "FelixConfiguration"):
        found |= {(kind, one["metadata"]["name"]): one for one in calico.items(kind)}
    return {f"{kind} {name}": (one["metadata"].get("labels"), one["spec"]) for (kind, name), one in
            found.items()}  # fmt: skip


async def test_sets_come_before_policies_and_those_before_endpoints(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    steps = await planned(driver, FIVE)
    outcome = await carried(driver, steps, tmp_path / "j")
    assert outcome.state is State.COMMITTED, outcome
    assert [
        "create GlobalNetworkSet(lan)",
        "create GlobalNetworkSet(ula)",
        "create GlobalNetworkPolicy(allow)",
        "create NetworkPolicy(default/web)",
        "create HostEndpoint(n1-bond0)",
    ] == calico.writes
    assert () == await planned(driver, FIVE), "what was written is what is wanted"


async def test_what_goes_goes_last_and_from_the_end(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    await carried(driver, await planned(driver, FIVE), tmp_path / "j")
    less = {"globalnetworksets": {"lan": {"nets": ["10.0.0.0/8", "172.16.0.0/12"]}}}
    steps = await planned(driver, less, FIVE)
    await carried(driver, steps, tmp_path / "j")
    assert [
        "update GlobalNetworkSet(lan)",
        "delete HostEndpoint(n1-bond0)",
        "delete NetworkPolicy(default/web)",
        "delete GlobalNetworkPolicy(allow)",
        "delete GlobalNetworkSet(ula)",
    ] == calico.writes[5:]
    assert {"GlobalNetworkSet lan"} == everything(calico).keys()


async def test_a_refusal_in_the_middle_takes_everything_back(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    calico.put({"kind": "GlobalNetworkSet", "metadata": {"name": "lan", "labels": {"x": "y"}}}
               | {"spec": {"nets": ["192.168.0.0/16"]}})  # fmt: skip
    before = everything(calico)
    calico.faults(reject={"allow": "error with field Selector = 'all()'"})
    outcome = await carried(driver, await planned(driver, FIVE), tmp_path / "j")
    assert outcome.state is State.ROLLED_BACK
    assert isinstance(outcome.cause, HostRefused)
    assert "cannot create GlobalNetworkPolicy allow" in outcome.reason
    assert before == everything(calico)
    assert ["delete GlobalNetworkSet(ula)", "update GlobalNetworkSet(lan)"] == calico.writes[-2:]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
async def test_a_calicoctl_that_dies_at_a_write_is_found_out(
    driver: CalicoDriver, calico: Calico, tmp_path: Path, when: str, number: int
) -> None:
    calico.faults(**{f"die_{when}_write": number})
    outcome = await carried(driver, await planned(driver, FIVE), tmp_path / "j")
    assert f"ended by signal {signal.SIGKILL.value}" in outcome.reason
    if outcome.state is State.HALTED:  # it died on the way back, too
        calico.faults()
        async with process(tmp_path / "j") as kept:
            await kept.resume()
            again = await recover(Room({driver.name: driver}, kept, Silent()))
        assert again is not None
        outcome = again
    assert outcome.state is State.ROLLED_BACK
    assert {} == everything(calico)


async def test_an_object_that_somebody_changed_is_planned_anew(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    await carried(driver, await planned(driver, NETS), tmp_path / "j")
    more = {"globalnetworksets": {"lan": {"nets": ["10.0.0.0/8", "172.16.0.0/12"]}}}
    steps = await planned(driver, more, NETS)
    other = calico.get("GlobalNetworkSet", "lan")
    assert other is not None
    calico.put({**other, "spec": {"nets": ["10.1.0.0/16"]}})
    with pytest.raises(HostBusy, match="changed since the plan was made"):
        await carried(driver, steps, tmp_path / "j")
    assert ["10.1.0.0/16"] == everything(calico)["GlobalNetworkSet lan"][1]["nets"]


async def test_a_change_between_our_look_and_our_write_is_not_written_over(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    calico.put({"kind": "GlobalNetworkSet", "metadata": {"name": "lan"}, "spec": {"nets": []}})
    (step, *_) = await planned(driver, NETS)
    saved = await driver.checkpoint(step)
    other = calico.get("GlobalNetworkSet", "lan")
    assert other is not None
    calico.put({**other, "spec": {"nets": ["10.1.0.0/16"]}})
    with pytest.raises(HostBusy, match=r"conflict|out of date"):
        await driver.apply(step, saved, 0.0)
    assert ["10.1.0.0/16"] == everything(calico)["GlobalNetworkSet lan"][1]["nets"]


async def test_the_way_back_leaves_what_somebody_else_wrote_and_halts(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    """The first object is ours, then theirs; the second one is refused."""
    steps = await planned(driver, NETS)
    async with process(tmp_path / "j") as kept:
        plan = Plan(digest(b"new"), steps)
        txn = await kept.begin(plan, target_of(plan), {})
        for number, step in enumerate(steps):
            saved = await driver.checkpoint(step)
            await kept.save(txn, number, saved)
            await driver.apply(step, saved, 0.0)
        theirs = calico.get("GlobalNetworkSet", "ula")
        assert theirs is not None
        calico.put({**theirs, "spec": {"nets": ["fd01::/16"]}})
    async with process(tmp_path / "j") as kept:
        outcome = await recover(Room({driver.name: driver}, kept, Silent()))
        assert outcome is not None
        assert outcome.state is State.HALTED
        assert "globalnetworksets/ula: another hand changed it" in outcome.reason
        assert ["fd01::/16"] == everything(calico)["GlobalNetworkSet ula"][1]["nets"]
        calico.put(theirs)  # whoever it was takes it back
        await kept.resume()
        outcome = await recover(Room({driver.name: driver}, kept, Silent()))
        assert outcome is not None
        assert outcome.state is State.ROLLED_BACK
    assert {} == everything(calico)


async def test_a_felix_configuration_keeps_the_fields_of_others(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    calico.put({"kind": "FelixConfiguration", "metadata": {"name": "default"}}
               | {"spec": {"interfacePrefix": "tap", "vxlanPort": 4789}})  # fmt: skip
    first = {"felixconfigurations": {"default": {"vxlanPort": 31439, "ipv6Support": True}}}
    (step,) = await planned(driver, first)
    assert ["foreign"] == [guard.rule for guard in step.guards]
    assert "felixconfigurations/default.vxlanPort" == step.guards[0].place
    await carried(driver, (step,), tmp_path / "j")
    spec = {"interfacePrefix": "tap", "vxlanPort": 31439, "ipv6Support": True}
    assert spec == everything(calico)["FelixConfiguration default"][1]

    theirs = calico.get("FelixConfiguration", "default")
    assert theirs is not None
    calico.put({**theirs, "spec": {**spec, "logSeverityScreen": "Warning"}})
    assert () == await planned(driver, first, first), "their field is no difference of ours"
    second = {"felixconfigurations": {"default": {"vxlanPort": 31440}}}
    (step,) = await planned(driver, second, first)
    assert () == step.guards
    saved = await driver.checkpoint(step)
    await driver.apply(step, saved, 0.0)
    spec = {"interfacePrefix": "tap", "vxlanPort": 31440, "logSeverityScreen": "Warning"}
    assert spec == everything(calico)["FelixConfiguration default"][1]

    theirs = calico.get("FelixConfiguration", "default")
    assert theirs is not None
    calico.put({**theirs, "spec": {**spec, "logSeverityScreen": "Error"}})
    assert await driver.position(step, saved) is Position.NEW
    await driver.undo(step, saved)
    await driver.undo(step, saved)
    back = {"interfacePrefix": "tap", "vxlanPort": 31439, "ipv6Support": True}
    now = everything(calico)["FelixConfiguration default"][1]
    assert back | {"logSeverityScreen": "Error"} == now
    assert await driver.position(step, saved) is Position.OLD


async def test_a_field_that_a_node_has_of_its_own_has_no_effect_there_and_is_said_so(
    driver: CalicoDriver, calico: Calico
) -> None:
    calico.put({"kind": "FelixConfiguration", "metadata": {"name": "node.n1"}}
               | {"spec": {"vxlanPort": 4790}})  # fmt: skip
    tree = {"default": {"vxlanPort": 31439, "ipv6Support": True}, "node.n2": {"ipv6Support": False}}
    steps = await planned(driver, {"felixconfigurations": tree})
    notes = {one.path.rpartition(".")[2]: one.note for one in steps[0].differences}
    everywhere = "Felix restarts on every node; no effect on "
    assert notes == {
        "vxlanPort": f"{everywhere}n1, which has its own",
        "ipv6Support": f"{everywhere}n2, which has its own",
    }
    assert ["Felix restarts on n2"] == [one.note for one in steps[1].differences]


async def test_what_no_document_names_is_nobodys_business(
    driver: CalicoDriver, calico: Calico
) -> None:
    calico.put({"kind": "GlobalNetworkSet", "metadata": {"name": "other"}, "spec": {"nets": []}})
    assert 2 == len(await planned(driver, NETS))
    calico.put({"kind": "GlobalNetworkSet", "metadata": {"name": "lan"}}
               | {"spec": {"nets": ["10.0.0.0/8"]}})  # fmt: skip
    steps = await planned(driver, NETS)
    assert ["globalnetworksets/ula"] == [step.target for step in steps]
    assert ['+ calico.globalnetworksets.ula.nets ["fd00::/8"]'] == [
        str(item) for item in steps[0].differences
    ]


async def test_a_host_endpoint_that_would_lock_a_host_out_needs_a_name(
    driver: CalicoDriver, calico: Calico
) -> None:
    shut = {"hostendpoints": FIVE["hostendpoints"]}
    steps = await planned(driver, shut)
    (guard,) = steps[0].guards
    assert ("lock-out", "hostendpoints/n1-bond0") == (guard.rule, guard.place)
    assert not any(step.guards for step in await planned(driver, FIVE))


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ({"unreachable": True}, "calicoctl cannot list"),
        ({"not_json": True, "verbs": ["get"]}, "is no JSON"),
        ({"cluster_version": "v3.30.0"}, "ersion"),
        ({"exit_code": 3, "stderr": "boom"}, "boom"),
        ({"flood_bytes": 20_000_000, "verbs": ["get"]}, "calicoctl"),
        ({"hang": True}, "did not end within"),
    ],
)
async def test_a_calicoctl_that_gives_no_answer_is_told_and_nothing_is_planned(
    driver: CalicoDriver,
    calico: Calico,
    faults: Any,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CALICO_CALL_S", 2.0)
    calico.faults(**faults)
    async with asyncio.timeout(15):
        seen = await driver.observe()
    assert seen.ownership is Ownership.ABSENT
    assert told in seen.problem


async def test_an_object_named_like_an_outage_is_refused_all_the_same(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    calico.faults(reject={"connection-timeout": "error with field Nets = 'x'"})
    tree = {"globalnetworksets": {"connection-timeout": {"nets": ["10.0.0.0/8"]}}}
    outcome = await carried(driver, await planned(driver, tree), tmp_path / "j")
    assert isinstance(outcome.cause, HostRefused), outcome


async def test_a_calicoctl_that_is_not_there_is_told() -> None:
    seen = await CalicoDriver(CalicoSettings(calicoctl="/nowhere/calicoctl")).observe()
    assert Observed(Ownership.ABSENT, {}, seen.problem) == seen
    assert "/nowhere/calicoctl cannot be started: No such file" in seen.problem


@pytest.mark.parametrize(
    "said",
    [
        "dial https://root:geheim@127.0.0.1:2379: connection refused",
        "password: geheim is wrong",
        "ETCD_PASSWORD=geheim",
        "token = geheim",
    ],
)
async def test_a_secret_is_never_told(driver: CalicoDriver, calico: Calico, said: str) -> None:
    calico.faults(stderr=said, exit_code=1)
    seen = await driver.observe()
    assert seen.problem
    assert "geheim" not in seen.problem
    made = {"kind": "GlobalNetworkSet", "metadata": {"name": "x"}}
    with pytest.raises((HostBusy, HostRefused)) as told:
        await command.Calicoctl(str(calico.program), "").write("create", made)
    assert "geheim" not in str(told.value)


async def test_an_empty_list_of_a_felix_configuration_is_written_as_such(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    """No failsafe port at all is not the same as the usual ones."""
    none: Any = {"felixconfigurations": {"default": {"failsafeInboundHostPorts": []}}}
    outcome = await carried(driver, await planned(driver, none), tmp_path / "j")
    assert outcome.state is State.COMMITTED, outcome
    assert {"failsafeInboundHostPorts": []} == everything(calico)["FelixConfiguration default"][1]
    assert () == await planned(driver, none)
    calico.put({"kind": "FelixConfiguration", "metadata": {"name": "default"}})
    outcome = await carried(driver, await planned(driver, none, none), tmp_path / "j")
    assert {"failsafeInboundHostPorts": []} == everything(calico)["FelixConfiguration default"][1]


@pytest.mark.parametrize("label", ["gone", "new"])
async def test_a_change_that_calicoctl_cannot_take_back_is_refused_before_it_begins(
    driver: CalicoDriver, calico: Calico, tmp_path: Path, label: str
) -> None:
    """Its patch is an argument; a label goes at the way there, or at the way back."""
    nets = [f"fd00:{number:x}::/32" for number in range(12_000)]
    plain, labelled = {"nets": nets}, {"nets": nets, "labels": {"role": "edge"}}
    before, after = (labelled, plain) if label == "gone" else (plain, labelled)
    first, second = {"globalnetworksets": {"big": before}}, {"globalnetworksets": {"big": after}}
    await carried(driver, await planned(driver, first), tmp_path / "j")
    outcome = await carried(driver, await planned(driver, second, first), tmp_path / "j")
    assert outcome.state is State.COMMITTED, "what is not changed is not in the patch"
    third = {"globalnetworksets": {"big": {**before, "nets": nets[1:]}}}
    with pytest.raises(HostRefused, match="labels or annotations in one change and the rest"):
        await carried(driver, await planned(driver, third, second), tmp_path / "j")


async def test_sets_of_two_namespaces_with_one_name_stay_two(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    both: Any = {"networksets": {"a": {"x": {"nets": ["10.0.0.0/8"]}}, "b": {"x": {}}}}
    await carried(driver, await planned(driver, both), tmp_path / "j")
    assert () == await planned(driver, both)
    less = {"networksets": {"b": {"x": {"nets": ["10.1.0.0/16"]}}}}
    steps = await planned(driver, less, both)
    assert ["networksets/b/x", "networksets/a/x"] == [step.target for step in steps]
    saved = [await driver.checkpoint(step) for step in steps]
    for step, one in zip(steps, saved, strict=True):
        await driver.apply(step, one, 0.0)
    assert calico.get("NetworkSet", "x", "a") is None
    for step, one in zip(steps, saved, strict=True):
        await driver.undo(step, one)
    assert () == await planned(driver, both)


async def test_an_object_that_somebody_deleted_is_made_again_and_one_that_goes_is_let_go(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    await carried(driver, await planned(driver, NETS), tmp_path / "j")
    calico.drop("GlobalNetworkSet", "ula")
    (step,) = await planned(driver, NETS, NETS)
    assert ("globalnetworksets/ula made", ()) == (step.summary, step.guards)
    less = {"globalnetworksets": {"lan": NETS["globalnetworksets"]["lan"]}}
    assert () == await planned(driver, less, NETS)


async def test_what_somebody_deleted_meanwhile_comes_back_with_its_old_content(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    await carried(driver, await planned(driver, NETS), tmp_path / "j")
    less = {"globalnetworksets": {"lan": NETS["globalnetworksets"]["lan"]}}
    (step,) = await planned(driver, less, NETS)
    saved = await driver.checkpoint(step)
    await driver.apply(step, saved, 0.0)
    assert {"GlobalNetworkSet lan"} == everything(calico).keys()
    await driver.undo(step, saved)
    await driver.undo(step, saved)
    assert ["fd00::/8"] == everything(calico)["GlobalNetworkSet ula"][1]["nets"]
    assert await driver.position(step, saved) is Position.OLD


async def test_a_felix_configuration_of_ours_is_deleted_on_the_way_back_unless_others_use_it(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    tree: Any = {"felixconfigurations": {"node.n1": {"vxlanPort": 31439}}}
    (step,) = await planned(driver, tree)
    saved = await driver.checkpoint(step)
    await driver.apply(step, saved, 0.0)
    await driver.undo(step, saved)
    assert {} == everything(calico)

    await driver.apply(step, saved, 0.0)
    theirs = calico.get("FelixConfiguration", "node.n1")
    assert theirs is not None
    calico.put({**theirs, "spec": {**theirs["spec"], "ipv6Support": False}})
    await driver.undo(step, saved)
    assert {"ipv6Support": False} == everything(calico)["FelixConfiguration node.n1"][1]
    assert await driver.position(step, saved) is Position.OLD


async def test_fields_that_leave_traces_need_a_name(driver: CalicoDriver, calico: Calico) -> None:
    tree = {"felixconfigurations": {"default": {"bpfEnabled": True, "vxlanPort": 4790}}}
    (step,) = await planned(driver, tree)
    assert [("irreversible", "felixconfigurations/default.bpfEnabled")] == [
        (guard.rule, guard.place) for guard in step.guards
    ]


async def test_fields_of_ours_that_others_took_out_need_no_write(
    driver: CalicoDriver, calico: Calico
) -> None:
    calico.put({"kind": "FelixConfiguration", "metadata": {"name": "default"}}
               | {"spec": {"ipv6Support": True}})  # fmt: skip
    had = {"felixconfigurations": {"default": {"vxlanPort": 4790}}}
    assert () == await planned(driver, {"globalnetworksets": {}}, had)


async def test_what_calico_writes_at_an_object_stays_there(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    one = {"globalnetworkpolicies": {"allow": {**ALLOW, "labels": {"a": "b"}}}, **NETS}
    await carried(driver, await planned(driver, one), tmp_path / "j")
    found = calico.get("GlobalNetworkPolicy", "allow")
    assert found is not None
    own = {"projectcalico.org/tier": "default", "projectcalico.org/note": "x"}
    calico.put({**found, "metadata": {**found["metadata"], "labels": {**own, "a": "b"}}})
    assert () == await planned(driver, one, one)
    two = {"globalnetworkpolicies": {"allow": {**ALLOW, "order": 20}}, **NETS}
    await carried(driver, await planned(driver, two, one), tmp_path / "j")
    assert own == everything(calico)["GlobalNetworkPolicy allow"][0]
    assert 20 == everything(calico)["GlobalNetworkPolicy allow"][1]["order"]


async def test_another_order_of_directions_and_a_tier_that_is_said_are_no_difference(
    driver: CalicoDriver, calico: Calico, tmp_path: Path
) -> None:
    one = {"globalnetworkpolicies": {"allow": ALLOW}, **NETS}
    await carried(driver, await planned(driver, one), tmp_path / "j")
    found = calico.get("GlobalNetworkPolicy", "allow")
    assert found is not None
    spec = {**found["spec"], "types": ["Egress", "Ingress"], "tier": "default"}
    calico.put({**found, "spec": spec})
    assert () == await planned(driver, one, one)
    calico.put({**found, "spec": {name: spec[name] for name in spec if name != "tier"}})
    assert () == await planned(driver, one, one)


async def test_a_version_of_calicoctl_without_a_field_refuses_it(
    driver: CalicoDriver, calico: Calico
) -> None:
    tree = {"felixconfigurations": {"default": {"bpfAttachType": "TCX"}}}
    seen = await driver.observe()
    old = Observed(seen.ownership, {**seen.detail, "version": "3.26"})
    with pytest.raises(SchemaViolated, match="bpfAttachType"):
        SECTION.plan(resources(tree), None, old)


async def test_a_datastore_that_is_away_for_a_moment_halts_no_way_back(
    driver: CalicoDriver, calico: Calico, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while etcd elects a leader."""
    monkeypatch.setattr(limits, "CALICO_UNDO_S", 5.0)
    (step, *_) = await planned(driver, NETS)
    saved = await driver.checkpoint(step)
    await driver.apply(step, saved, 0.0)
    calico.faults(unreachable=True)
    going = asyncio.create_task(driver.undo(step, saved))
    await asyncio.sleep(0.8)
    calico.faults()
    await going
    assert {} == everything(calico)


async def test_a_change_of_another_hand_is_not_waited_for_on_the_way_back(
    driver: CalicoDriver, calico: Calico
) -> None:
    (step, *_) = await planned(driver, NETS)
    saved = await driver.checkpoint(step)
    await driver.apply(step, saved, 0.0)
    theirs = calico.get("GlobalNetworkSet", "lan")
    assert theirs is not None
    calico.put({**theirs, "spec": {"nets": ["10.1.0.0/16"]}})
    before = len(calico.calls)
    with pytest.raises(RollbackFailed, match="another hand changed it"):
        await driver.undo(step, saved)
    assert before + 1 == len(calico.calls)


async def test_what_somebody_else_made_is_written_over_only_by_name(
    driver: CalicoDriver, calico: Calico
) -> None:
    calico.put({"kind": "GlobalNetworkSet", "metadata": {"name": "lan"}}
               | {"spec": {"nets": ["10.1.0.0/16"]}})  # fmt: skip
    lan, ula = await planned(driver, NETS)
    assert [("foreign", "globalnetworksets/lan")] == [(g.rule, g.place) for g in lan.guards]
    assert () == ula.guards
    lan, ula = await planned(driver, NETS, NETS)
    assert () == lan.guards, "what is ours is drift, and no dispute of two owners"
    assert limits.SITE_VERIFY_S == lan.verify_s


async def test_what_would_lock_a_host_out_stands_at_a_filter_and_not_at_a_set_of_felix(
    driver: CalicoDriver, calico: Calico
) -> None:
    felix = {"felixconfigurations": {"default": {"vxlanPort": 4790}}}
    shut = {"hostendpoints": FIVE["hostendpoints"], **felix}
    endpoint, configuration = await planned(driver, shut)
    assert ["lock-out"] == [guard.rule for guard in endpoint.guards]
    assert () == configuration.guards


async def test_a_checkpoint_is_of_the_object_that_was_planned_on(
    driver: CalicoDriver, calico: Calico
) -> None:
    calico.put({"kind": "GlobalNetworkSet", "metadata": {"name": "lan"}, "spec": {"nets": []}})
    (step, *_) = await planned(driver, NETS)
    other = calico.get("GlobalNetworkSet", "lan")
    assert other is not None
    calico.put({**other, "spec": {"nets": ["10.1.0.0/16"]}})
    with pytest.raises(HostBusy, match="changed since the plan was made"):
        await driver.checkpoint(step)


async def test_a_write_that_is_only_said_to_be_done_is_found_out(
    calico: Calico, tmp_path: Path
) -> None:
    lying = tmp_path / "calicoctl"
    lying.write_text(f'#!/bin/sh\n[ "$1" = create ] || exec {calico.program} "$@"\n')
    lying.chmod(0o755)
    driver = CalicoDriver(CalicoSettings(calicoctl=str(lying), config_file=""))
    (step, *_) = await planned(driver, NETS)
    saved = await driver.checkpoint(step)
    with pytest.raises(NotVerified, match="globalnetworksets/lan is not what was written"):
        await driver.apply(step, saved, 0.0)
