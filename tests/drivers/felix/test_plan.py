"""From what stands in felix.cfg to what is wanted: what is shown, refused, kept and guarded."""

from __future__ import annotations

from typing import Any

import pytest

from confsync.drivers.felix.adoption import survey
from confsync.drivers.felix.driver import FelixSettings
from confsync.drivers.felix.found import Found, Host, sealed
from confsync.drivers.felix.render import read_file, render
from confsync.drivers.felix.section import FelixSection
from confsync.drivers.felix.shapes import Felix
from confsync.drivers.felix.step import change_of
from confsync.model.errors import SchemaViolated
from confsync.model.plan import Impact, Step
from confsync.model.section import Observed, Ownership

SECTION = FelixSection()
NOW = {"DatastoreType": "etcdv3", "EtcdEndpoints": "http://127.0.0.1:23790"}
HAND = "[global]\nDatastoreType = etcdv3\nEtcdAddr = 127.0.0.1:4001\n"


def felix(**parameters: Any) -> Felix:
    value = SECTION.parse({"parameters": parameters})
    assert isinstance(value, Felix), value
    return value


def host(text: str | None, version: str = "3.26", **environment: str) -> Host:
    return Host(
        version=version,
        config_file="/etc/calico/felix.cfg",
        service="calico-felix.service",
        systemctl="/usr/bin/systemctl",
        health_url="http://127.0.0.1:9099/readiness",
        file=Found.of(None if text is None else text.encode()),
        running=True,
        environment=environment,
    )


def seen(found: Host) -> Observed:
    return Observed(Ownership.OWNED, found.model_dump(mode="json"))


def planned(want: Felix, found: Host) -> tuple[Step, ...]:
    return SECTION.plan(want, None, seen(found))


def ours(**parameters: str) -> str:
    return sealed(render(parameters, {})).decode()


def test_a_file_that_is_not_there_is_written_and_felix_restarted_once() -> None:
    (step,) = planned(felix(**NOW), host(None))
    change = change_of(step)
    assert NOW == read_file(change.data.decode())
    assert (True, None, Impact.SERVICE_RESTART) == (change.restart, change.was, step.impact)
    assert ["+ felix.parameters.DatastoreType etcdv3"] == [
        str(one) for one in step.differences if "Type" in one.path
    ]


def test_what_stands_as_wanted_is_left_alone() -> None:
    assert () == planned(felix(**NOW), host(ours(**NOW)))


def test_a_hand_made_file_of_the_same_content_needs_no_restart() -> None:
    text = "# by hand\n[global]\netcdendpoints=http://127.0.0.1:23790\nDatastoreType = etcdv3\n"
    (step,) = planned(felix(**NOW), host(text))
    assert (False, Impact.HITLESS, ()) == (change_of(step).restart, step.impact, step.differences)


def test_what_a_hand_made_file_has_besides_is_shown_as_going() -> None:
    (step,) = planned(felix(**NOW), host(HAND))
    assert "- felix.parameters.EtcdAddr 127.0.0.1:4001" in map(str, step.differences)


def test_a_line_that_nobody_knows_is_kept_or_refused_and_never_dropped() -> None:
    text = f"{HAND}NeutronMagic = yes\n"
    with pytest.raises(SchemaViolated, match=r"NeutronMagic, which Calico 3\.26 does not know"):
        planned(felix(**NOW), host(text))
    keep = SECTION.parse({"parameters": NOW, "unknown": "keep"})
    assert isinstance(keep, Felix)
    (step,) = planned(keep, host(text))
    assert NOW | {"NeutronMagic": "yes"} == read_file(change_of(step).data.decode())
    standing = host(change_of(step).data.decode())
    assert () == planned(keep, standing), "and stays"


def test_what_this_version_does_not_know_is_refused_with_the_one_that_does() -> None:
    value = felix(**NOW, NFTablesMode="Auto")
    with pytest.raises(SchemaViolated, match=r"not known to Calico 3\.26; it is to 3\.32"):
        planned(value, host(None, "3.26"))
    assert 1 == len(planned(value, host(None, "3.32")))


def test_what_the_environment_hides_has_no_effect_and_is_said_so() -> None:
    found = host(ours(**NOW), etcdendpoints="http://10.0.0.1:2379")
    want = felix(**NOW, VXLANPort=31439)
    (step,) = planned(want, found)
    assert "" == step.differences[0].note
    (told,) = SECTION.remarks(want, None, seen(found))
    assert "EtcdEndpoints has no effect on this host: calico-felix.service has FELIX_ETCD" in told
    assert ["EtcdEndpoints"] == [note.split()[0] for note in found.notes()]
    (step,) = planned(felix(**NOW, VXLANPort=31439), host(ours(**NOW), vxlanport="4789"))
    assert ["no effect: the environment sets it"] == [one.note for one in step.differences]


@pytest.mark.parametrize(
    ("more", "guards"),
    [
        ({"VXLANPort": 31439}, []),
        ({"BPFEnabled": True}, ["irreversible:felix.parameters.BPFEnabled"]),
        ({"InterfacePrefix": "tap"}, ["irreversible:felix.parameters.InterfacePrefix"]),
        (
            {"FailsafeInboundHostPorts": "tcp:22"},
            ["failsafe:felix.parameters.FailsafeInboundHostPorts"],
        ),
    ],
)
def test_what_cuts_a_host_off_or_cannot_be_undone_needs_a_name(
    more: dict[str, Any], guards: list[str]
) -> None:
    (step,) = planned(felix(**NOW, **more), host(ours(**NOW)))
    assert guards == [f"{one.rule}:{one.place}" for one in step.guards]


def test_a_failsafe_list_names_each_port_that_it_lacks() -> None:
    (step,) = planned(felix(**NOW, FailsafeInboundHostPorts="tcp:22"), host(ours(**NOW)))
    reason = step.guards[0].reason
    for port in ("tcp:179 (BGP)", "udp:3784 (BFD)", "tcp:8301 (Consul)", "tcp:2379"):
        assert port in reason
    assert "tcp:22" not in reason


@pytest.mark.parametrize(
    ("text", "adopted", "ownership"),
    [
        (None, False, Ownership.OWNED),
        ("\n", False, Ownership.OWNED),
        (HAND, False, Ownership.FOREIGN),
        (HAND, True, Ownership.OWNED),
        (ours(**NOW), False, Ownership.OWNED),
        (ours(**NOW).replace("23790", "2379"), False, Ownership.EDITED),
        (f"{ours(**NOW)}\nMore = 1\n", False, Ownership.EDITED),
    ],
)
def test_whose_a_file_is(text: str | None, adopted: bool, ownership: Ownership) -> None:
    found = host(text).file
    assert ownership is found.ownership(found.digest if adopted else None)
    if adopted and text:
        assert Ownership.EDITED is host(f"{text}x = 1\n").file.ownership(found.digest)


def test_a_draft_says_what_a_hand_made_file_says() -> None:
    found = survey(None, host(f"{HAND}NeutronMagic = yes\n"))
    assert '  EtcdAddr: "127.0.0.1:4001"' in found.draft.splitlines()
    assert "unknown: keep" in found.draft.splitlines()
    assert ["NeutronMagic"] == [line.split()[0] for line in found.lost]
    assert {"DatastoreType", "EtcdAddr"} == found.record["had"]["parameters"].keys()


def test_a_parameter_is_described_by_the_newest_table_and_who_knows_it() -> None:
    found = SECTION.describe(("parameters", "vxlanport"))
    assert found is not None
    assert ("4789", "service restart") == (found.default, found.impact)
    assert found.kind.endswith("(Calico 3.26, 3.27, 3.32)")
    assert SECTION.describe(("parameters", "Nonsense")) is None
    assert SECTION.describe(("unknown",)) is not None


@pytest.mark.parametrize("version", ["", "3", "3.25", "3.26.1", "v3.26"])
def test_the_version_of_calico_has_to_be_named(version: str) -> None:
    with pytest.raises(ValueError, match="name the version of Calico that runs here"):
        FelixSettings(enabled=True, calico_version=version)
    assert "3.32" == FelixSettings(enabled=True, calico_version="3.32").calico_version


def test_health_that_the_environment_sets_neither_begins_nor_ends() -> None:
    (step,) = planned(felix(**NOW, HealthEnabled=True), host(HAND, healthenabled="false"))
    assert not change_of(step).health_begins
    (step,) = planned(felix(**NOW), host(f"{HAND}HealthEnabled = true\n", healthenabled="true"))
    assert not change_of(step).health_ends


def test_of_two_spellings_of_one_name_nobody_knows_which_one_runs() -> None:
    twice = "DatastoreType = etcdv3\nEtcdEndpoints = http://127.0.0.1:23790\nVXLANPort = 1\n"
    (step,) = planned(felix(**NOW, VXLANPort=4789), host(f"{twice}vxlanport = 4789\n"))
    (difference,) = step.differences
    assert ("1 or 4789", "4789") == (difference.before, difference.after)
    assert change_of(step).restart


def test_health_is_waited_for_from_the_change_that_turns_it_on() -> None:
    on = felix(**NOW, HealthEnabled=True)
    (step,) = planned(on, host(ours(**NOW)))
    assert (True, False) == (change_of(step).health_begins, change_of(step).health_ends)
    (step,) = planned(felix(**NOW), host(ours(**NOW, HealthEnabled="yes")))
    assert (False, True) == (change_of(step).health_begins, change_of(step).health_ends)
    (step,) = planned(
        felix(**NOW, HealthEnabled=True, VXLANPort=4789), host(ours(**NOW, HealthEnabled="true"))
    )
    assert (False, False) == (change_of(step).health_begins, change_of(step).health_ends)


def test_a_failsafe_list_that_stays_as_it_was_needs_no_name_again() -> None:
    short = {"FailsafeInboundHostPorts": "tcp:22"}
    (step,) = planned(felix(**NOW, **short, VXLANPort=4789), host(ours(**NOW, **short)))
    assert () == step.guards


def test_a_parameter_that_goes_is_counted_as_an_object_that_goes() -> None:
    (step,) = planned(felix(**NOW), host(ours(**NOW, VXLANPort="4790", VXLANVNI="4000")))
    gone = {item.name for one in step.differences for item in one.hits}
    assert {"VXLANPort", "VXLANVNI"} == gone
