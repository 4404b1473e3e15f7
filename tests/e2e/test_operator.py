"""What an operator does by hand on a live host, and what the agent then says."""

from __future__ import annotations

import json

import pytest

from tests.lab import Lab
from tests.lab.site import Site
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def site(lab: Lab) -> Site:
    made = Site(lab, consul=False, settings={"drift": {"interval_s": 1}})
    made.start()
    return made


def test_pause_stops_writing_over_restarts_and_resume_goes_on(site: Site) -> None:
    render = site.render()
    assert site.run("agent", "pause", "--reason", "INC-1").returncode == 0
    assert site.status()["state"] == "frozen"
    site.write(site.document(announce={"two": "198.51.100.0/24"}))
    site.agent.terminate()
    site.agent.start()
    status = site.wait_state("frozen")
    assert "INC-1" in status["reason"]
    assert site.render() == render
    assert site.run("agent", "resume").returncode == 0
    site.wait_state("in-sync")
    assert site.render() != render


def test_an_edit_by_hand_is_reported_and_written_anew_only_by_name(site: Site) -> None:
    before, text = site.since(), site.near.config.read_text()
    site.near.config.write_text(text.replace("hold time 90", "hold time 80"))
    status = site.wait_state("drifted")
    assert "--allow drift:bird" in status["reason"]
    assert site.since() == before
    assert site.run("apply").returncode != 0, "not without the name"
    done = site.run("apply", "--allow", "drift:bird")
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.near.config.read_text() == text
    assert site.since() == before, "what ran was right all along"


def test_a_protocol_disabled_by_hand_stays_so_over_a_change(site: Site) -> None:
    site.near.ctl("disable cs_far_ipv6")
    wait_until("held", lambda: site.status()["held"] == ["cs_far_ipv6"])
    site.write(site.document(announce={"two": "198.51.100.0/24"}))
    wait_until("the change", lambda: site.status()["last_transaction"]["id"] == 2)
    assert site.near.sessions()["cs_far_ipv6"].state == "down"
    assert site.near.sessions()["cs_far_ipv4"].info == "Established"
    assert site.wait_state("in-sync")["held"] == ["cs_far_ipv6"]


def test_a_bird_that_is_down_is_said_and_nothing_is_blamed(site: Site) -> None:
    site.near.kill()
    status = site.wait_state("drifted")
    assert str(site.near.socket) in status["reason"]
    site.near.start()
    site.wait_state("in-sync")


def test_retry_lifts_the_quarantine(site: Site) -> None:
    wrong = site.document()
    wrong["peers"]["far"] |= {"asn": 65099}
    site.agent.terminate()
    site.agent.settings["guard"] = {"all_sessions_of_a_family": True}
    site.agent.start()
    site.write(wrong)
    first = site.wait_state("rolled-back", timeout_s=60)["last_transaction"]["id"]
    assert site.run("agent", "retry").returncode == 0
    wait_until(
        "one more try",
        lambda: site.status()["last_transaction"]["id"] > first,
        timeout_s=60,
    )
    assert site.wait_state("rolled-back")["last_transaction"]["id"] == first + 1


def test_a_foreign_configuration_is_observed_and_never_touched(lab: Lab) -> None:
    site = Site(lab, consul=False)
    text = site.near.config.read_text() + "\nprotocol static hand { ipv4; }\n"
    site.near.configure(text)
    site.write(site.document())
    site.agent.start()
    status = site.wait_state("observing")
    assert status["drivers"]["bird"]["ownership"] == "foreign"
    plan = site.run("plan", "--json")
    assert plan.returncode == 2
    assert json.loads(plan.stdout)["data"]["steps"]
    assert site.near.config.read_text() == text


def test_apply_once_does_the_whole_job_without_an_agent(lab: Lab) -> None:
    site = Site(lab, consul=False)
    site.write(site.document())
    assert site.run("plan").returncode == 2
    done = site.run("apply", "--once")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "verified" in done.stdout
    assert "No changes." in site.run("apply", "--once").stdout
    site.agent.start()
    assert site.run("apply", "--once").returncode == 75, "an agent holds the host"


def test_a_check_of_the_operators_own_that_stops_passing_undoes_the_change(lab: Lab) -> None:
    check = lab.folder / "check"
    settings = {"verify": {"commands": [f"{check} dns"]}}
    site = Site(lab, consul=False, settings=settings)
    check.write_text(
        f"#!/bin/sh\nbirdc -s {site.near.socket} show route 198.51.100.0/24 | grep -q unreach || "
        'exit 0\necho "$1 is dead"\nexit 2\n'
    )
    check.chmod(0o755)
    site.start()
    render, since = site.render(), site.since()
    site.write(site.document(announce={"two": "198.51.100.0/24"}))
    status = site.wait_state("rolled-back", timeout_s=60)
    assert f"{check} dns: exit code 2: dns is dead" in status["reason"]
    assert (render, since) == (site.render(), site.since())
    site.write(site.document(announce={"two": "203.0.113.0/24"}))
    site.wait_state("in-sync")
    assert render != site.render()
