"""Whose the configuration is: what may be written, what is only looked at, and with which words."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from confsync.drivers.bird.driver import BirdSettings
from confsync.drivers.bird.includes import includes, matches, read_tree, repointed
from confsync.model.errors import HostBusy, NotOwned
from confsync.model.section import Ownership
from tests.drivers.bird.driven import Driven

pytestmark = pytest.mark.root

ONE = {"announce": {"one": "192.0.2.0/24"}}
HAND_MADE = """\
router id 10.9.1.1;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol static offices { ipv4; route 192.0.2.0/25 unreachable; }
include "lists/*.conf";
include "more.conf";
"""
MORE = "define MORE = 1;\n"


@pytest.fixture
def host(lab):
    folder = lab.folder / "near"
    (folder / "lists").mkdir(parents=True)
    (folder / "lists" / "a.conf").write_text("define A = 1;\n")
    (folder / "more.conf").write_text(MORE)
    driven = Driven(lab, HAND_MADE)
    yield driven
    driven.driver.close()


async def seen(host):
    return await host.driver.observe(host.adopted)


async def test_a_hand_made_file_is_observed_until_it_is_adopted(host):
    found = await seen(host)
    assert Ownership.FOREIGN == found.ownership
    assert found.problem.endswith("see: confsync adopt bird --plan")
    await host.adopt(**ONE)
    found = await seen(host)
    assert (Ownership.OWNED, "", True) == (found.ownership, found.problem, found.detail["adopted"])


async def test_adopting_changes_nothing_on_the_host(host):
    def standing():
        files = sorted(path for path in host.bird.config.parent.rglob("*.conf*"))
        stats = [(str(path), path.read_bytes(), path.stat()) for path in files]
        protocols = [line.split()[:5] for line in host.bird.ctl("show protocols")]
        status = [line for line in host.bird.ctl("show status") if "Last" in line]
        return stats, protocols, status

    before = standing()
    record = await host.adopt(**ONE)
    await seen(host)
    assert before == standing()
    expected = [str(host.bird.config.parent / name) for name in ("lists/a.conf", "more.conf")]
    assert expected == sorted(record["files"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bird.conf", f"{HAND_MADE}# a remark\n", "bird.conf changed since it was adopted"),
        ("more.conf", "define MORE = 2;\n", "more.conf, which .* includes, changed since"),
        ("lists/a.conf", None, "lists/a.conf, which .* includes, vanished since"),
        ("lists/b.conf", "define B = 1;\n", "lists/b.conf, which .* includes, was added since"),
    ],
)
async def test_another_hand_after_adoption_is_named(host, name, text, said):
    await host.adopt(**ONE)
    path = host.bird.config.parent / name
    path.unlink() if text is None else path.write_text(text)
    found = await seen(host)
    assert Ownership.EDITED == found.ownership
    with pytest.raises(AssertionError, match=said):
        assert not found.problem, found.problem
    assert found.problem.endswith("adopt it again: confsync adopt bird")


async def test_an_include_that_vanished_is_a_finding(host):
    await host.adopt(**ONE)
    (host.bird.config.parent / "more.conf").unlink()
    found = await seen(host)
    assert Ownership.EDITED == found.ownership
    (note,) = [note for note in found.notes if "does not parse" in note]
    assert "more.conf" in note
    survey = await host.driver.survey(None)
    assert survey.record is None
    assert "Unable to open included file" in survey.problem


async def test_a_live_file_that_does_not_parse_is_not_adopted(host):
    host.bird.config.write_text(f"{HAND_MADE}protocol bgp {{\n")
    found = await seen(host)
    assert Ownership.FOREIGN == found.ownership
    assert any("a restart of BIRD would fail" in note for note in found.notes)
    survey = await host.driver.survey(None)
    assert survey.record is None
    assert "syntax error" in survey.problem


async def test_a_file_that_bird_has_not_read_is_not_adopted(host):
    later = time.time() + 60
    os.utime(host.bird.config, (later, later))
    survey = await host.driver.survey(None)
    assert survey.record is None
    assert "was written after BIRD last read it" in survey.problem


async def test_a_file_that_bird_does_not_read_is_not_written(host):
    elsewhere = host.bird.config.with_name("elsewhere.conf")
    elsewhere.write_text(HAND_MADE)
    host.settings = host.settings.model_copy(update={"config_file": str(elsewhere)})
    host.another_process()
    found = await seen(host)
    assert Ownership.FOREIGN == found.ownership
    expected = f"BIRD reads {host.bird.config}, not {elsewhere}: mend confsync's settings"
    assert expected == found.problem


async def test_the_file_is_found_by_asking_the_daemon(host):
    host.settings = host.settings.model_copy(update={"config_file": ""})
    host.another_process()
    found = await seen(host)
    assert str(host.bird.config) == found.detail["config_file"]
    assert found.problem.startswith("the configuration file was not written by confsync")


async def test_what_was_adopted_is_taken_over_and_can_be_given_back(host):
    await host.adopt(**ONE)
    text = host.bird.config.read_text()
    step, saved = await host.applied(**ONE)
    await host.driver.undo(step, saved)
    assert (text, "9001") == (host.bird.config.read_text(), host.marker()[:4])
    assert Ownership.OWNED == (await seen(host)).ownership
    await host.committed(**ONE)
    found = await seen(host)
    assert (Ownership.OWNED, False) == (found.ownership, found.detail["adopted"])


async def test_old_content_under_a_new_daemon_is_not_what_was_adopted(host):
    await host.adopt(**ONE)
    await host.committed(**ONE)
    host.bird.config.write_text(HAND_MADE)
    found = await seen(host)
    assert Ownership.EDITED == found.ownership
    assert "BIRD runs another configuration than its file holds" == found.problem


async def test_another_writer_between_plan_and_apply_is_not_overwritten(host):
    await host.adopt(**ONE)
    step, saved = await host.prepare(**ONE)
    host.bird.config.write_text(f"{HAND_MADE}# puppet was here\n")
    with pytest.raises(HostBusy, match="changed since the plan"):
        await host.driver.apply(step, saved, 30)
    assert host.bird.config.read_text().endswith("# puppet was here\n")


# --- the lines that draw files in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('include "a";\n  include "b.*" ;\n', ["a", "b.*"]),
        ('# include "a";\n/* include "b";\ninclude "c";\n*/ include "d";\n', ["d"]),
        ('log "/* x"; \ninclude "a"; # */\n', ["a"]),
        ('protocol static { ipv4; include "routes"; }\n', []),
        ('protocol bgp b {\ninclude "secret";\n}\n', ["secret"]),
    ],
)
def test_includes_are_seen_as_bird_sees_them(text, names):
    assert names == [one.name for one in includes(text)]


def test_a_tree_is_read_to_its_bounds(tmp_path):
    (tmp_path / "bird.conf").write_text('include "a.conf";\ninclude "none.*";\ninclude "gone";\n')
    (tmp_path / "a.conf").write_text('include "bird.conf";\ninclude "b.conf";\n')
    (tmp_path / "b.conf").symlink_to(tmp_path / "real")
    (tmp_path / "real").write_text("define X = 1;\n")
    tree = read_tree(str(tmp_path / "bird.conf"))
    assert {"bird.conf", "a.conf", "b.conf"} == {Path(path).name for path in tree.files}
    assert f"{tmp_path}/gone is included and does not exist" == tree.problem
    assert () == matches(str(tmp_path / "bird.conf"), "none.*")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('include "{folder}/cs.conf";', 'include "NEW";'),
        ('include "cs.conf";', 'include "NEW";'),
        ('include "*.conf";', 'include "{folder}/a.conf";\ninclude "NEW";'),
    ],
)
def test_the_include_of_the_fragment_is_repointed(tmp_path, line, expected):
    (tmp_path / "a.conf").write_text("")
    line, expected = (text.replace("{folder}", str(tmp_path)) for text in (line, expected))
    main, fragment = f"{tmp_path}/bird", f"{tmp_path}/cs.conf"
    assert f"x;\n{expected}\ny;\n" == repointed(f"x;\n{line}\ny;\n", main, fragment, "NEW")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'add the line include "/x/cs.conf";'),
        ('# include "/x/cs.conf";\n', "does not include"),
        ('include "cs.conf";\ninclude "/x/cs.*";\n', "more than once"),
        ('include "/x/*";\n', "take a pattern that ends in .conf"),
    ],
)
def test_a_main_file_that_does_not_draw_in_the_fragment_once_is_refused(text, said):
    with pytest.raises(NotOwned, match=said.replace(".", r"\.")):
        repointed(text, "/x/bird.conf", "/x/cs.conf", "NEW")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ownership": "fragment"}, "needs fragment_file"),
        ({"ownership": "fragment", "fragment_file": "cs.conf"}, "an absolute path"),
        ({"fragment_file": "/x/cs.conf"}, 'needs ownership = "fragment"'),
    ],
)
def test_settings_of_ownership_fit_together(settings, said):
    with pytest.raises(ValueError, match=said):
        BirdSettings(**settings)
