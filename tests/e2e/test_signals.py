"""Signals, hangs and foreign hands, in every state of agent and BIRD: ended in time, no lie."""

from __future__ import annotations

import copy
import itertools
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import Lab
from tests.lab.site import Document, Site
from tests.lab.strace import Injection, Tracer
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

END_S = 12.0  # TimeoutStopSec is 240 s; nothing here has a reason to take that long
NUMBERS = itertools.count(1)


def another(site: Site) -> Document:
    """Return a document that was never tried: what failed thrice is tried no more."""
    return site.document(announce={"two": f"198.51.{next(NUMBERS)}.0/24"})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {"drivers": {"bird": {"hold_s": 0.0}}, "source": {"quiet_min_s": 0.0}}
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        site = Site(lab, consul=False, bfd=False, settings=settings)
        site.start()
        yield site


@pytest.fixture
def site(built: Site) -> Iterator[Site]:
    """Give the site at rest on its first document, and let it come to rest again."""
    settings = copy.deepcopy(built.agent.settings)
    built.write(built.document())
    if built.agent.running.exit_code is not None:
        built.agent.start()
    # Just started it is in sync with what it remembers, and has not yet seen the document.
    wait_until("the first document runs", lambda: first_runs(built), timeout_s=30)
    built.near.wait_established("cs_far_ipv4", "cs_far_ipv6")
    yield built
    built.near.cont()
    built.agent.close()
    built.agent.settings = settings


def first_runs(site: Site) -> bool:
    """Tell whether BIRD and the disk have the first document, and nothing is under way."""
    text = site.near.config.read_text()
    runs = "192.0.2.0/24" in text and f'"{site.render()}"' in text
    return runs and bool(site.status()["state"] == "in-sync")


def verifying(site: Site, hold_s: float = 60.0) -> None:
    """Bring the agent into the middle of a transaction: the candidate runs, unconfirmed."""
    site.restart(drivers={"bird": {"hold_s": hold_s}})
    site.wait_state("in-sync")
    before = site.render()
    site.write(another(site))
    wait_until("the candidate runs", lambda: site.render() != before)


def quiet(site: Site) -> None:
    site.restart(source={"quiet_min_s": 30.0, "quiet_max_s": 60.0})
    site.wait_state("in-sync")
    site.write(another(site))
    site.wait_state("pending")


def rolling_back(site: Site) -> None:
    """Leave the agent while it undoes, with seconds to go in front of its next unlink."""
    site.restart(drivers={"bird": {"verify_timeout_s": 0.4}})
    site.wait_state("in-sync")
    document, before = site.document(), site.render()
    document["peers"]["ghost"] = {"ipv4": "10.9.1.99", "asn": 65099}
    slow = Injection("unlinkat", "1", "delay_enter=1500000")
    site.lab.keep(Tracer(site.lab.folder, site.agent.pid, slow))
    site.write(document)
    wait_until("the candidate runs", lambda: site.render() != before)
    wait_until("it goes back", lambda: site.render() == before)


def bird_hangs(site: Site) -> None:
    site.near.stop()
    site.write(another(site))
    time.sleep(1.5)  # the tree is looked at each second: the agent waits for BIRD by now


def source_down(site: Site) -> None:
    site.agent.terminate()
    site.agent.settings["source"] = {
        "kind": "consul",
        "consul": {"address": "http://127.0.0.1:8599"},
    }
    site.agent.start(wait=False)
    site.agent.wait_for("/livez")


STATES = {
    "idle": lambda site: None,
    "quiet period": quiet,
    "verifying": verifying,
    "rolling back": rolling_back,
    "waiting for BIRD": bird_hangs,
    "source down": source_down,
}


@pytest.mark.parametrize("state", STATES)
def test_sigterm_ends_in_time_and_leaves_the_old_configuration(site: Site, state: str) -> None:
    render, config, since = site.render(), site.near.config.read_bytes(), site.since()
    STATES[state](site)
    began = time.monotonic()
    assert site.agent.terminate(END_S) == 0
    assert time.monotonic() - began < END_S
    site.near.cont()
    assert (site.render(), site.near.config.read_bytes()) == (render, config)
    assert not list(site.near.config.parent.glob("*.confsync-*"))
    if state != "waiting for BIRD":  # there the far end's hold timer has run out
        assert site.since() == since


def test_sigterm_while_halted_ends_too_and_the_halt_stays(site: Site) -> None:
    halt(site)
    assert site.agent.terminate(END_S) == 0
    site.near.cont()
    site.agent.start(wait=False)
    site.agent.wait_for("/api/v1/node")
    assert site.status()["state"] == "halted"
    assert site.agent.get("/readyz").status == 503
    assert site.run("agent", "resume").returncode == 0
    site.wait_state("in-sync")


def halt(site: Site) -> None:
    """Hang BIRD for good between the journal's first row and the change: no way back is proven."""
    slow = Injection("fdatasync", "1", "delay_exit=1000000")
    began = time.monotonic()
    with Tracer(site.lab.folder, site.agent.pid, slow):
        site.write(another(site))
        beside(site, "saved")
        site.near.stop()
        site.wait_state("halted")
    assert time.monotonic() - began < 30, "each question to BIRD has a deadline"


def beside(site: Site, what: str) -> None:
    """Wait until the agent has put its candidate or its saved copy beside the live file."""
    path = site.near.config.with_name(f"{site.near.config.name}.confsync-{what}")
    wait_until(f"there is {path.name}", path.exists, every_s=0.002)


@pytest.mark.parametrize(
    ("call", "what"),
    [("renameat", "candidate"), ("fdatasync", "saved")],
    ids=["check", "configure"],
)
def test_bird_hung_for_a_while_costs_the_change_and_nothing_else(
    site: Site, call: str, what: str
) -> None:
    render, config = site.render(), site.near.config.read_bytes()
    slow = Injection(call, "1", "delay_exit=500000", paths=(site.near.config.parent, *wal(site)))
    with Tracer(site.lab.folder, site.agent.pid, slow):
        site.write(another(site))
        beside(site, what)
        site.near.stop()
        site.write(site.document())
        time.sleep(6.5)  # one command has 5 s; after two of them it would be halted
        assert site.near.config.read_bytes() == config
        site.near.cont()
    wait_until("the first document runs", lambda: first_runs(site), timeout_s=30)
    assert (site.render(), site.near.config.read_bytes()) == (render, config)
    assert not list(site.near.config.parent.glob("*.confsync-*"))


def wal(site: Site) -> tuple[Path, ...]:
    return (site.agent.state_dir / "journal.db-wal",)


def restarted(site: Site) -> None:
    site.near.restart()


def killed(site: Site) -> None:
    site.near.kill()


def reconfigured(site: Site) -> None:
    site.near.ctl("configure")


def taken_over(site: Site) -> None:
    """Make the candidate permanent by hand, without anybody having verified it."""
    site.near.ctl(f'configure "{site.near.config}.confsync-candidate"')


def misconfigured(site: Site) -> None:
    """Cancel BIRD's timer by a file that does not parse: the candidate stays, unconfirmed."""
    broken = site.lab.folder / "broken.conf"
    broken.write_text("protocol nonsense;")
    assert site.near.ctl(f'configure "{broken}"')[-1].startswith("8002")


def hung_up(site: Site) -> None:
    site.near.running.send(signal.SIGHUP)


HANDS = [restarted, killed, reconfigured, taken_over, misconfigured, hung_up]


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.__name__)
def test_a_foreign_hand_in_the_window_is_never_called_committed(
    site: Site, hand: Callable[[Site], None]
) -> None:
    config, render = site.near.config.read_bytes(), site.render()
    ours = site.status()["last_transaction"]["id"]
    verifying(site, hold_s=5.0)
    hand(site)
    last = wait_until(
        "the transaction ends",
        lambda: (found := last_of(site)) and found["id"] > ours and found,
        timeout_s=30,
    )
    assert last["outcome"] == "rolled-back"
    assert last["reason"]
    if hand is killed:
        site.near.start()
    site.write(site.document())
    site.wait_state("in-sync")
    assert (site.render(), site.near.config.read_bytes()) == (render, config)


def last_of(site: Site) -> Any:
    return site.status()["last_transaction"]


def test_an_agent_stopped_while_verifying_looks_again_before_it_concludes(site: Site) -> None:
    ours = last_of(site)["id"]
    config, render = site.near.config.read_bytes(), site.render()
    verifying(site, hold_s=1.0)
    site.agent.send(signal.SIGSTOP)
    site.near.ctl("configure undo")
    time.sleep(1.5)  # the hold is over by the clock, but nobody has looked
    site.agent.send(signal.SIGCONT)
    last = wait_until("it ends", lambda: (found := last_of(site))["id"] > ours and found)
    assert last["outcome"] == "rolled-back"
    assert "another configuration" in last["reason"]
    assert (site.render(), site.near.config.read_bytes()) == (render, config)


def test_bad_settings_are_refused_and_good_ones_used_without_a_restart(site: Site) -> None:
    pid, good = site.agent.pid, site.agent.config.read_text()
    site.agent.config.write_text(good + "\n[nonsense]\nkey = 1\n")
    done = site.run("agent", "reload")
    assert (done.returncode, "nonsense" in done.stderr) == (78, True), done
    site.agent.send(signal.SIGHUP)
    wait_until("the refusal is logged", lambda: "settings.rejected" in site.agent.log)

    other = site.lab.folder / "other"
    path = other / "nodes" / "lab-edge-1" / "bgp.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(site.write(another(site)).read_text())
    site.write(site.document())
    site.wait_state("in-sync")
    site.agent.config.write_text(good.replace(f'"{site.tree}"', f'"{other}"'))
    before = site.render()
    assert site.run("agent", "reload").returncode == 0
    wait_until("the other tree is run", lambda: site.render() != before)
    site.wait_state("in-sync")
    site.agent.config.write_text(good)
    site.agent.send(signal.SIGHUP)
    wait_until("the first tree is run", lambda: site.render() == before)
    assert site.agent.pid == pid


def test_a_second_agent_ends_at_once(site: Site) -> None:
    began = time.monotonic()
    done = site.run("agent", "run")
    assert done.returncode == 75
    assert "another confsync holds" in done.stderr
    assert time.monotonic() - began < 10
    assert site.status()["state"] == "in-sync"
