from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from confsync.host import toml
from confsync.model.errors import BadSettings
from confsync.settings import (
    HIERARCHY,
    WANTED,
    Settings,
    load,
    load_for_tree,
    name_parts,
    state_dir_of,
)

ROOT = Path(__file__).parent.parent
MINIMAL = 'site = "bgo"\nnode = "bgo-compute-03"\n'


@pytest.fixture
def config(tmp_path):
    return tmp_path / "agent.toml"


def settings(config, text, **environ):
    config.write_text(text)
    return load(config, environ)


def refusal(config, text, **environ):
    with pytest.raises(BadSettings) as caught:
        settings(config, text, **environ)
    return str(caught.value).replace(str(config), "agent.toml").splitlines()


def test_the_names_of_the_manual_are_the_defaults(config):
    found = settings(config, MINIMAL)
    assert ("bgo", "bgo-compute-03", "compute", "") == (
        found.site,
        found.node,
        found.role,
        found.variant,
    )
    assert HIERARCHY == found.hierarchy
    assert Path("/var/lib/confsync") == found.state_dir
    assert ("consul", "confsync/v1", 1.0, 10.0) == (
        found.source.kind,
        found.source.prefix,
        found.source.quiet_min_s,
        found.source.quiet_max_s,
    )
    assert "http://127.0.0.1:8500" == found.source.consul.address
    assert (1, 1, 30, False) == tuple(found.guard.model_dump().values())
    assert "127.0.0.1:9469" == found.http.listen
    assert not found.drivers.bird.enabled
    assert (90.0, "info", "uvloop") == (found.drift.interval_s, found.log.level, found.loop)


def test_the_commented_sample_shows_every_setting_with_its_default():
    sample = (ROOT / "config/agent.toml").read_text()
    lines = [line.removeprefix("# ") for line in sample.splitlines()]
    shown = [line for line in lines if line.startswith("[") or " = " in line.partition("#")[0]]
    table = tomllib.loads("\n".join(shown))
    for name in ("node", "role", "variant"):
        assert "" == table.pop(name)
    table["drivers"]["bird"]["enabled"] = False
    table["drivers"]["bird"]["hold_s"] = None
    want = Settings(site="bgo", node="x").model_dump(mode="json")
    for name in ("node", "role", "variant"):
        want.pop(name)
    assert want == table


def test_the_sample_loads_as_it_is():
    found = load(ROOT / "config/agent.toml", {"CONFSYNC_NODE": "bgo-nat-01"})
    assert ("bgo", "nat", True) == (found.site, found.role, found.drivers.bird.enabled)


@pytest.mark.parametrize(
    ("node", "site", "parts"),
    [
        ("bgo-compute-03", "bgo", ("compute", "")),
        ("bgo-compute-shpc-03", "bgo", ("compute", "shpc")),
        ("bgo-compute-a-b-03", "bgo", ("compute", "a-b")),
        ("osl-compute-03", "bgo", ("", "")),
        ("bgo-03", "bgo", ("", "")),
        ("mail", "bgo", ("", "")),
    ],
)
def test_role_and_variant_come_from_the_name(node, site, parts):
    assert parts == name_parts(node, site)


def test_a_given_role_wins_over_the_name(config):
    assert "nat" == settings(config, MINIMAL + 'role = "nat"').role


def test_later_origins_win_leaf_by_leaf(config):
    folder = config.with_suffix(".d")
    folder.mkdir()
    (folder / "10-a.toml").write_text("[guard]\nmax_removed_peers = 2\nmax_removed_percent = 40\n")
    (folder / "20-b.toml").write_text("[guard]\nmax_removed_percent = 50\n")
    (folder / "ignored.txt").write_text("not toml at all")
    found = settings(
        config,
        MINIMAL + "[guard]\nmax_removed_peers = 1\nmax_removed_percent = 10\n",
        CONFSYNC_GUARD__MAX_REMOVED_PEERS="7",
        CONFSYNC_HIERARCHY='["common", "nodes/{node}"]',
        CONFSYNC_DRIVERS__BIRD__ENABLED="true",
        CONFSYNC_TEST_CONSUL="/usr/bin/consul",
        CONFSYNC_CONFIG="elsewhere",
    )
    assert (7, 50) == (found.guard.max_removed_peers, found.guard.max_removed_percent)
    assert ("common", "nodes/{node}") == found.hierarchy
    assert found.drivers.bird.enabled


def test_consul_s_own_variables_stand_below_the_file(config):
    environ = {"CONSUL_HTTP_ADDR": "10.0.0.1:8500", "CONSUL_HTTP_TOKEN_FILE": "/t"}
    found = settings(config, MINIMAL, **environ).source.consul
    assert ("http://10.0.0.1:8500", "/t") == (found.address, found.token_file)
    text = MINIMAL + '[source.consul]\naddress = "https://c:8501"\n'
    assert "https://c:8501" == settings(config, text, **environ).source.consul.address


GOLDEN = {
    "nothing": ("", ["agent.toml: site is missing, it has no default"]),
    "unknown": (
        MINIMAL + "[source.consul]\nadress = 'x'\n",
        ["agent.toml: [source.consul] adress: no such setting; did you mean address?"],
    ),
    "unknown table": (
        MINIMAL + "[gard]\nmax_removed_peers = 1\n",
        ["agent.toml: gard: no such setting; did you mean guard?"],
    ),
    "kind": (
        MINIMAL + '[source]\nkind = "etcd"\n',
        ["agent.toml: [source] kind: must be 'consul' or 'directory', found 'etcd'"],
    ),
    "number": (
        MINIMAL + '[guard]\nmax_removed_percent = 300\nmax_removed_peers = "many"\n',
        [
            "agent.toml: [guard] max_removed_peers: must be a valid integer, found 'many'",
            "agent.toml: [guard] max_removed_percent: must be less than or equal to 100, found 300",
        ],
    ),
    "not a table": (MINIMAL + "guard = 5\n", ["agent.toml: guard: must be a table, found 5"]),
    "name": (
        'site = "BGO"\n',
        ["agent.toml: site: 'BGO' is no name: " + WANTED],
    ),
    "relations": (
        MINIMAL
        + 'hierarchy = ["common", "roles/{rol}", "A b"]\nstate_dir = "here"\n'
        + '[source]\nkind = "directory"\nquiet_min_s = 20\n',
        [
            "agent.toml: [source] quiet_min_s (20) must not be greater than quiet_max_s (10)",
            '[source] path: kind = "directory" needs the absolute path of a folder',
            "state_dir: must be an absolute path",
            "hierarchy: 'roles/{rol}' asks for {rol}; did you mean role?",
            "hierarchy: 'A b' is no name: " + WANTED,
        ],
    ),
    "listen": (
        MINIMAL + '[http]\nlisten = "0.0.0.0:9469"\n',
        [
            "agent.toml: [http] listen: must be a loopback address, the surface has no encryption",
        ],
    ),
    "volume groups": (
        MINIMAL + '[drivers.lvm]\nvolume_groups = ["vg_ext", "../x"]\n',
        [
            "agent.toml: [drivers.lvm] volume_groups: '../x' cannot be the name of a volume group",
        ],
    ),
    "toml": (
        'site = "bgo"\nnode = \n',
        ["agent.toml: not TOML: Invalid value (at line 2, column 8)"],
    ),
    "all at once": (
        'sit = "bgo"\n[log]\nlevel = "loud"\n[http]\nsocket = "relative"\n',
        [
            "agent.toml: site is missing, it has no default",
            "agent.toml: [http] socket: must be an absolute path of at most 103 bytes",
            "agent.toml: [log] level: must be 'debug', 'info', 'warning' or 'error', found 'loud'",
            "agent.toml: sit: no such setting; did you mean site?",
        ],
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_every_fault_is_told_at_once_and_in_plain_words(config, case):
    text, told = GOLDEN[case]
    got = [line.removeprefix("agent.toml: ") for line in refusal(config, text)]
    assert sorted(line.removeprefix("agent.toml: ") for line in told) == sorted(got)
    assert not any(word in " ".join(got) for word in ("pydantic", "Input", "Value error", "http:"))


def test_a_fault_names_where_it_was_written(config):
    (line,) = refusal(config, MINIMAL, CONFSYNC_GUARD__MAX_REMOVED_PERCENT="x")
    assert line.startswith("environment CONFSYNC_GUARD__MAX_REMOVED_PERCENT: [guard]")
    folder = config.with_suffix(".d")
    folder.mkdir()
    (folder / "a.toml").write_text("[log]\nlvel = 'x'\n")
    (line,) = refusal(config, MINIMAL)
    assert line.startswith(f"{folder}/a.toml: [log] lvel: no such setting; did you mean level?")


def test_a_file_that_cannot_be_read_is_bad_settings(config):
    with pytest.raises(BadSettings, match="No such file"):
        load(config, {})


def test_an_oversized_file_is_refused(config):
    config.write_text("#" * 300_000)
    with pytest.raises(BadSettings, match="larger than"):
        load(config, {})


def test_the_state_directory_is_known_while_the_settings_are_wrong(config):
    config.write_text('state_dir = "/srv/state"\nsite = 5\nnonsense = 1\n')
    assert Path("/srv/state") == state_dir_of(config, {})
    config.write_text("not toml")
    assert Path("/env") == state_dir_of(config, {"CONFSYNC_STATE_DIR": "/env"})
    assert toml.DEFAULT_STATE_DIR == str(state_dir_of(config, {}))


def test_work_on_a_tree_needs_no_file(config):
    found = load_for_tree(config, {"CONSUL_HTTP_ADDR": "c:1"})
    assert ("none", "http://c:1") == (found.site, found.source.consul.address)
