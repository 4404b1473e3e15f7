from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from confsync.drivers.bird.driver import BirdDriver, BirdSettings
from confsync.drivers.bird.step import Change
from confsync.model.errors import (
    DeadlinePassed,
    HostBusy,
    HostRefused,
    JournalTooNew,
    NotOwned,
    RollbackFailed,
)
from confsync.model.ids import digest
from confsync.model.section import Ownership
from confsync.ports import Position, Verdict
from tests.drivers.bird.driven import Driven, with_text
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

ONE = {"announce": {"one": "192.0.2.0/24"}}
TWO = {"announce": {"one": "192.0.2.0/24", "two": "198.51.100.0/24"}}
ANOTHER = 'protocol device another {}\ndefine cs_other = "x";\n'
BROKEN = "protocol bgp {"


@pytest.fixture
def host(lab):
    driven = Driven(lab)
    yield driven
    driven.driver.close()


def runs(host, step):
    return host.marker() == f"0023 {step.args['render']}"


async def last(host, step):
    """Judge one sample against itself as the baseline, as far as the driver's words allow."""
    (probe,) = host.driver.probes(step)
    seen = await probe.sample()
    return probe.judge(seen, (seen,))


# --- the straight way


async def test_a_change_runs_unconfirmed_then_is_committed(host):
    step, saved = await host.applied(**ONE)
    assert runs(host, step)
    assert Position.MIXED == await host.driver.position(step, saved)
    assert Verdict.OK == (await last(host, step)).verdict
    await host.driver.commit(step, saved)
    assert step.args["text"] == host.bird.config.read_text()
    assert [] == host.leftovers()
    assert Position.NEW == await host.driver.position(step, saved)
    assert "0019" == host.bird.ctl("configure confirm")[-1][:4]


async def test_what_was_committed_is_ours_from_then_on(host):
    await host.committed(**ONE)
    seen = await host.driver.observe()
    assert (Ownership.OWNED, "") == (seen.ownership, seen.problem)
    assert seen.detail["disk_render"] == seen.detail["running_render"]
    assert "2.0.12" == seen.detail["version"]
    assert digest(host.bird.config.read_bytes()) == seen.detail["disk"]


async def test_removing_a_static_route_keeps_other_protocols(host):
    await host.committed(**TWO)
    before = await host.driver.observe()
    await host.committed(**ONE)
    after = await host.driver.observe()
    names = ("cs_device", "cs_kernel4", "cs_announce6")
    kept = [(before.detail["protocols"][n]["since"], n) for n in names]
    assert kept == [(after.detail["protocols"][n]["since"], n) for n in names]


async def test_owner_and_mode_survive_the_change(host):
    host.bird.config.chmod(0o604)
    os.chown(host.bird.config, 0, 12)
    await host.committed(**ONE)
    found = host.bird.config.stat()
    assert (0o604, 0, 12) == (found.st_mode & 0o777, found.st_uid, found.st_gid)


async def test_the_label_of_the_file_survives_the_change(host):
    label = b"system_u:object_r:etc_t:s0\0"
    os.setxattr(host.bird.config, "security.selinux", label)
    await host.committed(**ONE)
    assert label == os.getxattr(host.bird.config, "security.selinux")


async def test_a_host_without_a_file_gets_one_that_birds_group_may_read(host):
    host.bird.config.unlink()
    step, saved = await host.committed(**ONE)
    assert saved["existed"] is False
    found = host.bird.config.stat()
    assert (0o640, host.bird.socket.stat().st_gid) == (found.st_mode & 0o777, found.st_gid)
    assert Position.NEW == await host.driver.position(step, saved)


async def test_what_is_held_by_hand_stays_down_through_change_and_undo(host):
    await host.committed(**ONE)
    host.bird.ctl('disable "cs_announce6" "maint"')
    seen = await host.driver.observe()
    assert ["cs_announce6"] == seen.detail["held"]
    assert ("held by hand: cs_announce6",) == seen.notes
    step, saved = await host.applied(**TWO)
    assert ["cs_announce6"] == (await host.driver.observe()).detail["held"]
    await host.driver.undo(step, saved)
    assert ["cs_announce6"] == (await host.driver.observe()).detail["held"]


# --- the way back


async def test_undo_in_the_window_leaves_no_trace(host):
    await host.committed(**ONE)
    text, marker = host.bird.config.read_text(), host.marker()
    step, saved = await host.applied(**TWO)
    for _ in range(2):
        await host.driver.undo(step, saved)
        assert (text, marker) == (host.bird.config.read_text(), host.marker())
        assert [] == host.leftovers()
        assert Position.OLD == await host.driver.position(step, saved)


async def test_undo_before_apply_and_without_a_saved_copy_is_legal(host):
    step, saved = await host.prepare(**ONE)
    await host.driver.undo(step, saved)
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)


async def test_a_restarted_agent_undoes_what_a_killed_one_applied(host):
    step, saved = await host.applied(**ONE)
    driver = host.another_process()
    step = driver.decode(step.as_json())
    await driver.undo(step, saved)
    assert Position.OLD == await driver.position(step, saved)


async def test_birds_own_timer_goes_back_and_undo_agrees(host):
    step, saved = await host.prepare(**ONE)
    await host.driver.apply(step, saved, 0.4)
    wait_until("BIRD's timer", lambda: not runs(host, step), timeout_s=5)
    assert Verdict.LOST == (await last(host, step)).verdict
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)


async def test_a_foreign_configure_that_fails_makes_ours_permanent_and_is_noticed(host):
    """BIRD 2.0.11 and later: a configure that does not parse cancels the pending undo."""
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    text = host.bird.config.read_text()
    assert "8002" == host.bird.configure(BROKEN)[-1][:4]
    host.bird.config.write_text(text)
    assert "0019" == host.bird.ctl("configure undo")[-1][:4]
    judged = await last(host, step)
    assert (Verdict.LOST, True) == (judged.verdict, "undo timer is gone" in judged.reason)
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)
    assert [] == host.leftovers()


@pytest.mark.parametrize("how", ["configure", "hup"])
async def test_a_foreign_reload_of_the_live_file_is_noticed_and_undone(host, how):
    step, saved = await host.applied(**ONE)
    if how == "hup":
        host.bird.running.send(signal.SIGHUP)
    else:
        host.bird.ctl("configure")
    wait_until("the reload", lambda: not runs(host, step), timeout_s=5)
    assert Verdict.LOST == (await last(host, step)).verdict
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)


async def test_a_file_that_another_hand_wrote_in_the_window_is_left_alone(host):
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    host.bird.config.write_text(ANOTHER)
    await host.driver.undo(step, saved)
    assert ANOTHER == host.bird.config.read_text()
    assert f"0023 {saved['running_render']}" == host.marker()
    assert Position.OLD == await host.driver.position(step, saved)
    assert Ownership.FOREIGN == (await host.driver.observe()).ownership


async def test_a_window_lost_to_a_foreign_file_is_undone_by_the_saved_copy(host):
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    host.bird.configure(BROKEN)  # the timer is gone, the candidate runs on, the file is theirs
    await host.driver.undo(step, saved)
    assert f"0023 {saved['running_render']}" == host.marker()
    assert BROKEN == host.bird.config.read_text()


async def test_undo_without_any_old_file_says_so(host):
    host.bird.config.unlink()
    step, saved = await host.applied(**ONE)
    host.bird.ctl("configure confirm")
    with pytest.raises(RollbackFailed, match="no copy of"):
        await host.driver.undo(step, saved)


# --- crashes


async def test_a_dead_bird_in_the_window_starts_on_the_old_file(host):
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    host.bird.kill()
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)
    assert [] == host.leftovers()
    host.bird.start()
    assert f"0023 {saved['running_render']}" == host.marker()
    assert Position.OLD == await host.driver.position(step, saved)


async def test_a_restarted_bird_is_noticed_by_the_probe_on_the_same_connection(host):
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    host.bird.restart()
    assert Verdict.LOST == (await last(host, step)).verdict
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)


@pytest.mark.parametrize("alive", [True, False])
async def test_commit_finishes_alone_wherever_it_was_cut(host, alive):
    await host.committed(**ONE)
    step, saved = await host.applied(**TWO)
    change = Change.of(step)
    Path(change.candidate).rename(change.config_file)  # killed right after the pivot's rename
    if not alive:
        host.bird.kill()
    driver = host.another_process()
    for _ in range(2):
        await driver.commit(step, saved)
        assert Position.NEW == await driver.position(step, saved)
        assert [] == host.leftovers()
    if not alive:
        host.bird.start()
    assert runs(host, step)


async def test_commit_after_the_window_ran_out_goes_forward(host):
    step, saved = await host.prepare(**ONE)
    await host.driver.apply(step, saved, 0.4)
    wait_until("BIRD's timer", lambda: not runs(host, step), timeout_s=5)
    Path(Change.of(step).candidate).unlink()
    await host.driver.commit(step, saved)
    assert Position.NEW == await host.driver.position(step, saved)
    assert runs(host, step)


async def test_commit_leaves_a_file_that_another_hand_wrote(host):
    step, saved = await host.applied(**ONE)
    host.bird.config.write_text(ANOTHER)
    with pytest.raises(NotOwned, match="another hand"):
        await host.driver.commit(step, saved)
    assert ANOTHER == host.bird.config.read_text()


async def test_heal_removes_only_what_carries_our_mark(host):
    for name in ("bird.conf.confsync-candidate", "bird.conf.confsync-saved", "bird.conf.old"):
        (host.bird.config.parent / name).write_text("x")
    path = f"{host.bird.config}.confsync-"
    assert (f"removed {path}candidate", f"removed {path}saved") == await host.driver.heal()
    assert () == await host.driver.heal()
    assert (host.bird.config.parent / "bird.conf.old").exists()


def test_a_step_of_a_newer_confsync_is_refused():
    record = {
        "driver": "bird", "kind": "configure", "version": 3, "target": "", "summary": "",
        "impact": "hitless", "args": {}, "verify_s": 1.0, "hold_s": 0.0,
    }  # fmt: skip
    with pytest.raises(JournalTooNew):
        BirdDriver(BirdSettings()).decode(record)


# --- what check refuses


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("protocol static x {\n  ipv4\n}", "unexpected '}', expecting ';'"),
        ("protocol static x { route 10.0.0.1/8 blackhole; }", "Invalid IPv4 prefix 10.0.0.1/8"),
        ("protocol bgp x { local as 1; ipv4 {}; }", "Neighbor must be configured"),
        (f'log "{"x" * 5000}" all;', "kills BIRD's parser (signal 6)"),
    ],
)
async def test_a_text_that_bird_refuses_never_reaches_it(host, added, said):
    step = await host.plan(**ONE)
    bad = with_text(step, f"{step.args['text']}{added}\n")
    with pytest.raises(HostRefused) as refused:
        await host.driver.check(bad)
    assert said in str(refused.value)
    assert [] == host.leftovers()
    assert "9001" == host.marker()[:4]


async def test_a_refusal_names_the_line_and_shows_it(host):
    step = await host.plan(**ONE)
    bad = with_text(step, "protocol device {}\nprotocol static { route 10.0.0.1/8 blackhole; }\n")
    with pytest.raises(HostRefused) as refused:
        await host.driver.check(bad)
    expected = (
        "BIRD refuses: line 2, column 34: Invalid IPv4 prefix 10.0.0.1/8, maybe you wanted "
        "10.0.0.0/8: protocol static { route 10.0.0.1/8 blackhole; }"
    )
    assert expected == str(refused.value)


async def test_a_foreign_window_is_respected(host):
    step = await host.plan(**ONE)
    host.bird.ctl("configure timeout 60")
    with pytest.raises(HostBusy, match="unconfirmed configuration of somebody else"):
        await host.driver.check(step)
    with pytest.raises(HostBusy, match="unconfirmed configuration of somebody else"):
        await host.driver.apply(step, {}, 30)
    assert (await host.driver.observe()).notes[0].startswith("BIRD runs an unconfirmed")


async def test_a_file_changed_since_the_plan_is_not_touched(host):
    step, saved = await host.prepare(**ONE)
    host.bird.config.write_text(ANOTHER)
    with pytest.raises(HostBusy, match="changed since the plan"):
        await host.driver.apply(step, saved, 30)
    with pytest.raises(HostBusy, match="changed since the plan"):
        await host.driver.check(step)
    assert ANOTHER == host.bird.config.read_text()


async def test_a_bird_that_was_reconfigured_since_the_plan_is_not_touched(host):
    await host.committed(**ONE)
    step = await host.plan(**TWO)
    other = host.bird.config.with_name("other.conf")
    other.write_text(ANOTHER)
    host.bird.ctl(f'configure "{other}"')
    wait_until("BIRD's end", lambda: host.bird.ctl("configure status")[0][:4] == "0003")
    with pytest.raises(HostBusy, match="runs another configuration"):
        await host.driver.check(step)


async def test_a_live_file_that_does_not_parse_leaves_no_way_back(host):
    step = await host.plan(**ONE)
    host.bird.config.write_text(BROKEN)
    before = {"disk": digest(BROKEN.encode()), "running_render": None}
    with pytest.raises(HostBusy, match="no way back"):
        await host.driver.check(dataclasses.replace(step, args={**step.args, "before": before}))


async def test_a_bird_that_reads_another_file_is_not_ours(host):
    step = await host.plan(**ONE)
    elsewhere = host.bird.config.with_name("elsewhere.conf")
    elsewhere.write_bytes(host.bird.config.read_bytes())
    args = {**step.args, "config_file": str(elsewhere)}
    with pytest.raises(NotOwned, match=r"BIRD reads .*bird\.conf, not .*elsewhere\.conf"):
        await host.driver.check(dataclasses.replace(step, args=args))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        ("", "must hold one line"),
        ("# nothing\n", "must hold one line"),
        ('password "a";\npassword "b";\n', "must hold one line"),
        ('password "";\n', "has 0 bytes"),
        (f'password "{"x" * 81}";\n', "has 81 bytes"),
        (f'password "{"x" * 80}";\n', None),
        ('# rotated weekly\npassword "s3cret";\n', None),
    ],
)
async def test_a_password_file_that_would_fail_in_silence_is_refused(host, content, said):
    secret = host.bird.config.with_name("far.secret")
    if content is not None:
        secret.write_text(content)
    peer = {"ipv4": "10.9.1.2", "asn": 65001, "password_file": str(secret)}
    permit = {"ipv4": {"default": "permit"}}
    step = await host.plan(peers={"far": peer}, **{"import": permit, "export": permit})
    if said is None:
        await host.driver.check(step)
        return
    with pytest.raises(HostRefused, match=said) as refused:
        await host.driver.check(step)
    assert "s3cret" not in str(refused.value)


# --- whose is it


@pytest.mark.parametrize(
    ("disk", "reload", "expected"),
    [
        (lambda text: text, False, Ownership.OWNED),
        (lambda text: text + "# by hand\n", False, Ownership.EDITED),
        (lambda text: text + "# by hand\n", True, Ownership.EDITED),
        (lambda _: ANOTHER, False, Ownership.FOREIGN),
        (lambda _: ANOTHER, True, Ownership.FOREIGN),
        (lambda _: None, False, Ownership.EDITED),
    ],
)
async def test_ownership_follows_disk_and_what_runs(host, disk, reload, expected):
    await host.committed(**ONE)
    text = disk(host.bird.config.read_text())
    if text is None:
        host.bird.config.unlink()
    else:
        host.bird.config.write_text(text)
    if reload:
        host.bird.ctl("configure")
    seen = await host.driver.observe()
    assert expected == seen.ownership
    assert bool(seen.problem) is (expected is not Ownership.OWNED)


async def test_ours_on_disk_but_not_loaded_is_edited(host):
    example = host.bird.config.read_text()
    await host.committed(**ONE)
    ours = host.bird.config.read_text()
    host.bird.configure(example)
    host.bird.config.write_text(ours)
    seen = await host.driver.observe()
    assert (Ownership.EDITED, None) == (seen.ownership, seen.detail["running_render"])


async def test_an_example_under_running_sessions_is_somebodys(host):
    example = host.bird.config.read_text()
    host.bird.configure(
        "router id 10.9.9.9;\nprotocol device {}\n"
        "protocol bgp x { local as 1; neighbor 10.9.9.8 as 1; ipv4 { import none; }; }\n"
    )
    host.bird.config.write_text(example)
    assert Ownership.FOREIGN == (await host.driver.observe()).ownership


async def test_a_symlink_as_live_file_is_refused_by_name(host):
    real = host.bird.config.with_name("real.conf")
    host.bird.config.rename(real)
    host.bird.config.symlink_to(real)
    seen = await host.driver.observe()
    assert Ownership.FOREIGN == seen.ownership
    assert "symlink" in seen.problem


async def test_a_dead_bird_is_absent_but_its_disk_is_known(host):
    await host.committed(**ONE)
    host.bird.kill()
    seen = await host.driver.observe()
    assert Ownership.ABSENT == seen.ownership
    assert "nobody listens" in seen.problem
    assert seen.detail["disk_render"] is not None


async def test_a_program_newer_than_the_daemon_is_said(host, tmp_path):
    fake = tmp_path / "bird"
    fake.write_text("#!/bin/sh\necho BIRD version 2.17.5 >&2\n")
    fake.chmod(0o755)
    driver = BirdDriver(host.settings.model_copy(update={"binary": str(fake)}))
    seen = await driver.observe()
    driver.close()
    expected = "BIRD 2.0.12 runs, but the program on disk is 2.17.5: restart BIRD first"
    assert (Ownership.ABSENT, expected) == (seen.ownership, seen.problem)


async def test_a_hung_bird_is_never_waited_for_without_end(host):
    host.another_process(command_timeout_s=0.3)
    step, saved = await host.prepare(**ONE)
    host.bird.stop()
    with pytest.raises(DeadlinePassed):
        await host.driver.apply(step, saved, 30)
    assert Position.UNKNOWN == await host.driver.position(step, saved)
    with pytest.raises(RollbackFailed, match="hangs"):
        await host.driver.undo(step, saved)
    seen = await host.driver.observe()
    assert (Ownership.ABSENT, True) == (seen.ownership, "it hangs" in seen.problem)
    host.bird.cont()
    await host.driver.undo(step, saved)
    assert Position.OLD == await host.driver.position(step, saved)
