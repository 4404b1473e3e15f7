"""One file of ours in an operator's configuration: drawn in on trial, then renamed into place."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from confsync.drivers.bird.section import BgpSection
from confsync.drivers.bird.step import Change
from confsync.model.errors import HostBusy, HostRefused
from confsync.model.ids import digest
from confsync.model.plan import Step
from confsync.model.section import Ownership
from confsync.ports import Position
from tests.drivers.bird.driven import REVERT_S, Driven, bgp
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

MAIN = """\
# The operator's, in the operator's encoding: h\xf6st.
router id 10.9.1.1;
protocol device main_device {}
protocol kernel main_kernel { ipv4 { export all; }; }
protocol static main_static { ipv4; route 192.0.2.128/25 unreachable; }
include "conf.d/lists.conf";
"""
BY_NAME = 'include "conf.d/confsync.conf";\n'
BY_PATTERN = 'include "conf.d/conf*.conf";\n'
OURS = """\
# Written by confsync; an edit by hand is reported, not kept.
define cs_render = "{id}";
protocol static cs_announce4 {{ ipv4; route {prefix} unreachable; }}
"""


class Fragmented(Driven):
    """A host whose main file is the operator's."""

    def __init__(self, lab, line):
        folder = lab.folder / "near"
        self.fragment = folder / "conf.d" / "confsync.conf"
        self.fragment.parent.mkdir(parents=True)
        (folder / "conf.d" / "lists.conf").write_text("define LISTS = 1;\n")
        if line == BY_NAME:
            self.fragment.write_text("")
        settings = {"ownership": "fragment", "fragment_file": str(self.fragment)}
        super().__init__(lab, MAIN + line, **settings)

    async def step(self, prefix):
        """Return the step to a fragment that announces a prefix."""
        document = {"announce": {"one": prefix}}
        seen = await self.driver.observe(self.adopted)
        assert Ownership.OWNED == seen.ownership, seen
        (step,) = BgpSection().plan(bgp(**document), None, seen)
        text = fragment_text(prefix)
        args = {**step.args, "text": text, "render": text.split('"')[1]}
        return dataclasses.replace(step, args=args)

    async def on_trial(self, prefix):
        step = await self.step(prefix)
        await self.driver.check(step)
        saved = await self.driver.checkpoint(step)
        await self.driver.apply(step, saved, REVERT_S)
        return step, saved

    async def final(self, prefix):
        step, saved = await self.on_trial(prefix)
        await self.driver.commit(step, saved)
        return step, saved

    def since(self):
        words = (line[5:].split() for line in self.bird.ctl("show protocols") if "main_" in line)
        return {name: [state, *rest[:1]] for name, _, _, state, *rest in words}

    def left(self):
        folder = self.bird.config.parent
        return sorted(path.name for path in folder.rglob("*.confsync-*"))


def fragment_text(prefix):
    body = OURS.partition("\n")[2].partition("\n")[2].format(prefix=prefix)
    return OURS.format(id=digest(body.encode())[:32], prefix=prefix)


@pytest.fixture(params=[BY_NAME, BY_PATTERN], ids=["by-name", "by-pattern"])
def host(lab, request):
    driven = Fragmented(lab, request.param)
    yield driven
    driven.driver.close()


ONE, TWO = "192.0.2.0/25", "198.51.100.0/24"


async def test_a_change_runs_on_trial_then_for_good_and_the_main_file_is_untouched(host):
    main, since = host.bird.config.read_bytes(), host.since()
    step, saved = await host.on_trial(ONE)
    assert f"0023 {step.args['render']}" == host.marker()
    assert Position.MIXED == await host.driver.position(step, saved)
    await host.driver.commit(step, saved)
    assert Position.NEW == await host.driver.position(step, saved)
    assert (main, since) == (host.bird.config.read_bytes(), host.since())
    assert step.args["text"] == host.fragment.read_text()
    assert [] == host.left()
    found = await host.driver.observe(host.adopted)
    assert (Ownership.OWNED, "", ()) == (found.ownership, found.problem, found.notes)
    host.bird.restart()
    assert f"0023 {step.args['render']}" == host.marker()


@pytest.mark.parametrize("how", ["window", "timer", "lost", "restarted", "down"])
async def test_a_change_is_undone_however_the_window_ended(host, how):
    await host.final(ONE)
    text, marker = host.fragment.read_text(), host.marker()
    step = await host.step(TWO)
    await host.driver.check(step)
    saved = await host.driver.checkpoint(step)
    await host.driver.apply(step, saved, 0.4 if how == "timer" else REVERT_S)
    match how:
        case "timer":
            wait_until("BIRD's timer", lambda: marker == host.marker(), timeout_s=5)
        case "lost":
            host.bird.ctl("configure confirm")
        case "restarted":
            host.bird.restart()
        case "down":
            host.bird.kill()
    driver = host.another_process()
    step = driver.decode(step.as_json())
    for _ in range(2):
        await driver.undo(step, saved)
        assert Position.OLD == await driver.position(step, saved)
        assert (text, []) == (host.fragment.read_text(), host.left())
    if how == "down":
        host.bird.start()
    assert marker == host.marker()


@pytest.mark.parametrize("alive", [True, False])
async def test_commit_finishes_alone_after_a_kill_at_the_rename(host, alive):
    await host.final(ONE)
    step, saved = await host.on_trial(TWO)
    change = Change.of(step)
    Path(change.candidate).rename(change.config_file)
    if not alive:
        host.bird.kill()
    driver = host.another_process()
    for _ in range(2):
        await driver.commit(step, saved)
        assert Position.NEW == await driver.position(step, saved)
        assert [] == host.left()
    if not alive:
        host.bird.start()
    assert f"0023 {step.args['render']}" == host.marker()


async def test_undo_after_a_kill_at_the_rename_puts_the_old_fragment_back(host):
    await host.final(ONE)
    text = host.fragment.read_text()
    step, saved = await host.on_trial(TWO)
    change = Change.of(step)
    Path(change.candidate).rename(change.config_file)
    driver = host.another_process()
    await driver.undo(step, saved)
    assert (text, []) == (host.fragment.read_text(), host.left())
    assert Position.OLD == await driver.position(step, saved)


async def test_the_first_fragment_is_undone_to_what_there_was(host):
    there, before = host.fragment.exists(), host.marker()
    step, saved = await host.on_trial(ONE)
    await host.driver.undo(step, saved)
    assert (there, before, []) == (host.fragment.exists(), host.marker(), host.left())


async def test_a_main_file_that_changes_in_the_window_is_left_to_its_writer(host):
    await host.final(ONE)
    step, saved = await host.on_trial(TWO)
    changed = host.bird.config.read_bytes() + b"protocol static later { ipv4; }\n"
    host.bird.config.write_bytes(changed)
    await host.driver.commit(step, saved)
    assert Position.NEW == await host.driver.position(step, saved)
    assert changed == host.bird.config.read_bytes()
    assert not any("later" in line for line in host.bird.ctl("show protocols"))


async def test_a_main_file_that_changed_since_the_plan_stops_the_change(host):
    step = await host.step(ONE)
    host.bird.config.write_bytes(host.bird.config.read_bytes() + b"# more\n")
    with pytest.raises(HostBusy, match=r"bird\.conf was changed since the plan"):
        await host.driver.check(step)
    assert [] == host.left()


async def test_a_fault_in_the_fragment_names_its_line(host):
    step = await host.step(ONE)
    bad = dataclasses.replace(step, args={**step.args, "text": f"{step.args['text']}bad\n"})
    with pytest.raises(HostRefused, match=r"line \d+, column \d+: syntax error.*bad|end of file"):
        await host.driver.check(bad)
    assert [] == host.left()


async def test_a_name_of_the_main_file_cannot_be_taken_twice(host):
    step = await host.step(ONE)
    text = step.args["text"].replace("cs_announce4", "main_static")
    with pytest.raises(HostRefused, match="already defined"):
        await host.driver.check(dataclasses.replace(step, args={**step.args, "text": text}))


@pytest.mark.parametrize("written", [False, True])
async def test_a_main_file_without_the_line_is_not_worked_with(host, written):
    if written:
        await host.final(ONE)
    host.bird.config.write_text(MAIN, "latin-1")
    found = await host.driver.observe(host.adopted)
    assert (Ownership.EDITED if written else Ownership.FOREIGN) == found.ownership
    assert found.problem.endswith(f'add the line include "{host.fragment}";')


async def test_an_edited_fragment_is_not_ours_any_more(host):
    await host.final(ONE)
    host.fragment.write_text(host.fragment.read_text() + "# by hand\n")
    found = await host.driver.observe(host.adopted)
    assert Ownership.EDITED == found.ownership


async def test_owner_and_mode_of_the_fragment_are_kept(host):
    await host.final(ONE)
    host.fragment.chmod(0o604)
    os.chown(host.fragment, 0, 12)
    await host.final(TWO)
    found = host.fragment.stat()
    assert (0o604, 0, 12) == (found.st_mode & 0o777, found.st_uid, found.st_gid)


async def test_heal_removes_what_lies_beside_both_files(host):
    for path in (host.fragment, host.bird.config):
        Path(f"{path}.confsync-candidate").write_text("x")
    assert 2 == len(await host.driver.heal())
    assert [] == host.left()


def test_a_step_of_version_1_is_a_whole_file():
    args = {
        "config_file": "/x/bird.conf", "socket": "/x/ctl", "binary": "/x/bird", "text": "",
        "render": "", "expect": {}, "before": {"disk": None, "running_render": None},
    }  # fmt: skip
    record = {
        "driver": "bird", "kind": "configure", "version": 1, "target": "", "summary": "",
        "impact": "hitless", "args": args, "verify_s": 1.0, "hold_s": 0.0,
    }  # fmt: skip
    change = Change.of(Step.from_json(record))
    assert ("/x/bird.conf", change.candidate) == (change.live, change.trial)
