"""Another hand on a live host: what is seen, what is written back, and when we stop."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.site import Site
from tests.lab.wait import wait_until

pytestmark = pytest.mark.root

BROKEN = "\nprotocol static { this is no configuration\n"


def made(lab: Lab, *repair: str, interval_s: int = 600) -> Site:
    """Start a site whose agent looks by itself only when something moved, or very rarely."""
    drift = {"interval_s": interval_s, "repair": list(repair)}
    site = Site(lab, consul=False, settings={"drift": drift})
    site.start()
    return site


def edited(site: Site, old: str = "hold time 90", new: str = "hold time 80") -> str:
    """Change the file by another hand; return what stood there."""
    text = site.near.config.read_text()
    assert old in text
    site.near.config.write_text(text.replace(old, new))
    return text


def wait_reason(site: Site, state: str, *words: str) -> Any:
    def there() -> Any:
        found = site.status()
        return found if found["state"] == state and all(w in found["reason"] for w in words) else 0

    try:
        return wait_until(f"{state} {words}", there, 30)
    except Exception as error:
        error.add_note(f"{site.status()}\n{site.agent.log[-2000:]}")
        raise


def wait_transactions(site: Site, count: int) -> None:
    def there() -> bool:
        return bool(site.status()["last_transaction"]["id"] >= count)

    try:
        wait_until(f"transaction {count}", there, 30)
    except Exception as error:
        error.add_note(f"{site.status()}\n{site.agent.log[-2000:]}")
        raise


def test_a_reload_after_an_edit_is_seen_within_seconds_and_not_repaired(lab: Lab) -> None:
    site = made(lab)
    began = time.monotonic()
    edited(site)
    site.near.ctl("configure")
    wait_reason(site, "drifted", "--allow drift:bird")
    assert time.monotonic() - began < 12
    assert "hold time 80" in site.near.config.read_text()
    assert 1 == site.status()["last_transaction"]["id"]


def test_puppet_that_rewrites_the_file_twice_is_named_and_left_alone(lab: Lab) -> None:
    site = made(lab, "bird")
    text = edited(site)
    wait_transactions(site, 2)
    assert text == site.near.config.read_text()
    edited(site, new="hold time 70")
    reason = wait_reason(site, "drifted", "2 times another hand")["reason"]
    assert f"uid {os.geteuid()}" in reason
    assert "hold time 70" in reason
    assert "hold time 90" in reason
    assert "hold time 70" in site.near.config.read_text()
    assert 0 == site.run("agent", "retry").returncode
    site.wait_file(text.encode(), timeout_s=90)


def test_a_bird_that_was_disabled_by_hand_is_no_drift(lab: Lab) -> None:
    site = made(lab, "bird", interval_s=1)
    site.near.ctl("disable cs_far_ipv6")
    wait_until("held", lambda: site.status()["held"] == ["cs_far_ipv6"], 30)
    assert "in-sync" == site.status()["state"]
    assert "down" == site.near.sessions()["cs_far_ipv6"].state


def test_a_live_file_that_does_not_parse_is_told_and_repaired_by_name(lab: Lab) -> None:
    site = made(lab)
    text = site.near.config.read_text()
    site.near.config.write_text(text + BROKEN)
    since = site.since()
    wait_reason(site, "drifted", "does not parse", "--allow drift:bird")
    site.write(site.document(announce={"two": "198.51.100.0/24"}))
    wait_reason(site, "rejected", "does not parse", "--allow drift:bird")
    assert since == site.since()
    done = site.run("apply", "--allow", "drift:bird", "--allow", "mass_removal:*")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "198.51.100.0/24" in site.near.config.read_text()
    assert "in-sync" == site.status()["state"]


def test_an_include_that_vanishes_is_told_while_all_still_runs(lab: Lab) -> None:
    site = Site(lab, consul=False, settings={"drift": {"interval_s": 1}})
    secret = site.near.config.parent / "far.secret"
    secret.write_text('password "same on both ends";\n')
    document = site.document()
    document["peers"]["far"] |= {"password_file": str(secret), "required": False}
    site.write(document)
    site.agent.start()
    site.wait_state("in-sync", timeout_s=60)
    secret.unlink()
    wait_reason(site, "drifted", "does not parse", secret.name)
    secret.write_text('password "same on both ends";\n')
    site.wait_state("in-sync")


def test_a_restart_of_bird_on_its_file_is_no_drift(lab: Lab) -> None:
    site = made(lab)
    site.near.kill()
    wait_reason(site, "drifted", str(site.near.socket))
    site.near.start()
    site.wait_state("in-sync")


@pytest.mark.parametrize("good", [True, False])
def test_a_configure_in_our_window_is_survived(lab: Lab, good: bool) -> None:
    site = made(lab)
    site.restart(drivers={"bird": {"hold_s": 3.0}})
    site.wait_state("in-sync")
    before = site.render()
    site.write(site.document(announce={"two": "198.51.100.0/24", "one": "192.0.2.0/24"}))
    wait_until("our window", lambda: site.render() != before, 30)
    other = lab.folder / "other.conf"
    other.write_text(site.near.config.read_text() if good else "nonsense\n")
    site.near.ctl(f'configure "{other}"')
    found = wait_until(
        "the end", lambda: (s := site.status())["last_transaction"]["id"] > 1 and s, 60
    )
    # Either ends the window, so that nothing that was not verified stays.
    assert "rolled-back" == found["last_transaction"]["outcome"]
    assert before == site.render()
