"""``agent run --check-config --online``: what would not work here is told before it is missed."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.calico import Calico
from tests.lab.pair import AWAY, HOME
from tests.lab.site import PREFIX, Site

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.agent import Settings
    from tests.lab.pair import Pair

pytestmark = pytest.mark.root

NODE = "lab-edge-1"
RULES = f"""
key_prefix "{PREFIX}/" {{ policy = "read" }}
key "{PREFIX}/report/lab/{NODE}" {{ policy = "write" }}
"""


def with_acl(lab: Lab, rules: str, **settings: Settings) -> Site:
    server = lab.consul(acl=True)
    token = lab.folder / "token"
    token.write_text(server.kv.new_token("agent", rules))
    source = {"consul": {"token_file": str(token)}}
    return Site(lab, consul=server, bfd=False, settings={"source": source, **settings})


def asked(site: Site) -> subprocess.CompletedProcess[str]:
    return site.run("agent", "run", "--check-config", "--online")


def lines(done: subprocess.CompletedProcess[str], mark: str) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith(f"[{mark}]")]


def test_a_host_that_may_do_all_that_it_needs(lab: Lab) -> None:
    site = with_acl(lab, RULES)
    done = asked(site)
    assert (0, []) == (done.returncode, lines(done, "-")), done.stdout
    good = lines(done, "+")
    assert {"[+]consul ok", f"[+]write report/lab/{NODE} ok", "[+]read head ok"} <= set(good)
    assert ["[!]acl.enable_key_list_policy: not set"] == [
        line.partition(" on the servers")[0] for line in lines(done, "!") if "acl" in line
    ]
    assert site.consul
    assert [] == site.consul.kv.keys(PREFIX), "nothing was written"


def test_rights_that_are_missing_are_named(lab: Lab) -> None:
    rules = RULES.replace("write", "read") + f'key "{PREFIX}/manifest/common" {{ policy = "deny" }}'
    done = asked(with_acl(lab, rules))
    assert 77 == done.returncode
    named = [line.partition(":")[0] for line in lines(done, "-")]
    assert ["[-]read manifest/common", f"[-]write report/lab/{NODE}"] == named


def test_a_consul_that_is_not_there(lab: Lab) -> None:
    site = Site(lab, consul=False, settings={"source": {"kind": "consul"}})
    done = asked(site)
    assert 69 == done.returncode
    assert lines(done, "-")[0].startswith("[-]consul: no answer from Consul at http://127.0.0.1")


def test_a_bird_that_does_not_answer(lab: Lab) -> None:
    site = with_acl(lab, RULES)
    site.near.kill()
    done = asked(site)
    assert done.returncode not in {0, 69}
    assert [line for line in lines(done, "-") if line.startswith("[-]driver bird: ")]


def test_who_may_act_for_its_site_is_asked_for_that_too(lab: Lab) -> None:
    calico = Calico(lab.folder / "calico")
    settings = {"calico": {"enabled": True, "calicoctl": str(calico.program), "config_file": ""}}
    site = with_acl(lab, RULES, drivers=settings)
    done = asked(site)
    named = [line.partition(":")[0] for line in lines(done, "-")]
    assert ["[-]write lease/site", "[-]write site/confsync-probe", "[-]session"] == named
    assert "[+]driver calico ok" in lines(done, "+")
    calico.faults(unreachable=True)
    (told,) = [line for line in lines(asked(site), "-") if "driver calico" in line]
    assert "calicoctl cannot list" in told


def test_a_replicator_is_asked_for_both_ends(lab: Lab, pair: Pair) -> None:
    consul = {"address": pair.away.url, "home_datacenter": HOME}
    settings = {"site": AWAY, "source": {"consul": consul}, "replicate": {"enabled": True}}
    site = Site(lab, consul=pair.away, bfd=False, settings=settings)
    done = asked(site)
    assert done.returncode == 0, done.stdout
    assert {"[+]session ok", "[+]read head at home ok", "[+]write mirror ok"} <= set(
        lines(done, "+")
    )
    assert [] == pair.away.kv.keys(PREFIX)
    site.agent.settings["source"]["consul"]["home_datacenter"] = "trd"
    site.agent.write_settings()
    done = asked(site)
    assert 69 == done.returncode
    assert "No path to datacenter" in lines(done, "-")[0]


def test_it_is_told_as_json_too(lab: Lab) -> None:
    site = with_acl(lab, RULES)
    done = site.run("agent", "run", "--check-config", "--online", "--json")
    found = json.loads(done.stdout)["data"]
    assert {"name": "consul", "fault": "", "warning": ""} == found[0]


def test_online_alone_is_no_way_to_run(lab: Lab) -> None:
    done = Site(lab, consul=False).run("agent", "run", "--online")
    assert 64 == done.returncode
