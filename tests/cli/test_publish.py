from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from confsync.cli import main
from confsync.cli.tree import check
from confsync.settings import Settings, load_for_tree

SAMPLE = Path(__file__).parents[2] / "config" / "tree"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    shutil.copytree(SAMPLE, tmp_path / "tree")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONFSYNC_CONFIG", str(tmp_path / "none.toml"))
    return tmp_path / "tree"


@pytest.fixture
def broken(tree):
    """The sample with one fault of each kind, all of which must be told."""
    (tree / "common/bgp.yaml").write_text("local_as: 65501\nlocal_as: 65502\n")
    return tree


def test_the_sample_tree_is_valid(tree, capsys):
    assert 0 == main(["validate", "tree"])
    assert capsys.readouterr().out == (
        "bgo-compute-03 needs fact fact.ipv4.trp1 (checked with an address of its kind)\n"
        "osl-compute-11 needs fact fact.ipv4.trp1 (checked with an address of its kind)\n"
        "tree: ok (8 documents, 2 nodes)\n"
    )


def test_each_node_gets_the_layers_of_its_own_site(tree):
    (tree / "sites/osl/common/bgp.yaml").write_text("local_as: no\n")
    (fault,) = [f for f in check(tree, load_for_tree(tree / "none", {})).faults if f.line]
    assert ("bgp", "local_as") == fault.path
    assert fault.where.endswith("sites/osl/common/bgp.yaml")


def test_a_fault_names_file_line_and_column(tree, capsys):
    (tree / "nodes/bgo-compute-03/bgp.yaml").write_text("peers:\n  rr3: {ipv4: 172.18.6.999}\n")
    assert 65 == main(["validate", "tree"])
    assert "tree/nodes/bgo-compute-03/bgp.yaml:2:" in capsys.readouterr().err


def test_a_syntax_fault_of_any_layer_is_told_even_without_a_node(broken, capsys):
    shutil.rmtree(broken / "nodes")
    assert 65 == main(["validate", "tree"])
    assert "tree/common/bgp.yaml:2:1" in capsys.readouterr().err


@pytest.mark.parametrize("how", [["--json"], ["--format", "json"]])
def test_faults_as_json(broken, capsys, how):
    assert 65 == main(["validate", "tree", *how])
    found = json.loads(capsys.readouterr().out)
    assert 65 == found["exit"]
    (error,) = found["errors"]
    assert ("tree/common/bgp.yaml", 2, 1) == (error["file"], error["line"], error["column"])
    assert error["code"].startswith("CS-")


def test_faults_as_annotations(broken, capsys):
    assert 65 == main(["validate", "tree", "--format", "github"])
    out = capsys.readouterr().out
    assert out.startswith("::error file=tree/common/bgp.yaml,line=2,col=1::")
    assert 1 == len(out.splitlines())


def test_a_file_outside_every_layer_is_a_fault(tree, capsys):
    (tree / "sites/bgo/bgp.yaml").write_text("local_as: 1\n")
    assert 65 == main(["validate", "tree"])
    assert "is in no layer" in capsys.readouterr().err


def test_one_document_is_checked_for_its_syntax(tree, capsys):
    assert 0 == main(["validate", "tree/common/bgp.yaml"])
    assert "tree/common/bgp.yaml: ok (1 document, 0 nodes)\n" == capsys.readouterr().out
    (tree / "x.yaml").write_text("a: [\n")
    assert 65 == main(["validate", "tree/x.yaml"])


def test_our_own_node_is_checked_with_the_role_of_its_settings(tree):
    (tree / "roles/nat").mkdir(parents=True)
    (tree / "roles/nat/bgp.yaml").write_text("unheard_of: 1\n")
    settings = Settings(site="bgo", node="gateway", role="nat")
    checked = check(tree, settings)
    assert ("bgo-compute-03", "gateway", "osl-compute-11") == checked.nodes
    assert [("bgp", "unheard_of")] == [fault.path for fault in checked.faults]


def test_a_push_of_a_broken_tree_writes_nothing(broken, capsys):
    assert 65 == main(["push", "tree", "-m", "why"])
    assert "tree/common/bgp.yaml:2:1" in capsys.readouterr().err


def test_a_push_without_consul_is_69(tree, monkeypatch, capsys):
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    assert 69 == main(["push", "tree", "-m", "why"])
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_a_directory_source_cannot_be_pushed_to(tree, monkeypatch, capsys):
    monkeypatch.setenv("CONFSYNC_SOURCE__KIND", "directory")
    monkeypatch.setenv("CONFSYNC_SOURCE__PATH", "/srv")
    assert 78 == main(["push", "tree", "-m", "why"])
    assert "push writes to Consul only" in capsys.readouterr().err


@pytest.mark.root
def test_a_push_is_a_numbered_change_with_who_and_why(tree, consul_server, capsys, monkeypatch):
    monkeypatch.setenv("CONSUL_HTTP_ADDR", consul_server.url)
    assert 0 == main(["push", "tree", "-m", "rr3 (CHG-88)", "--allow", "peer_loss:bgp.ipv4"])
    assert "#1 published: 8 written\n" == capsys.readouterr().out
    head = json.loads(consul_server.kv.get("confsync/v1/head"))
    assert ("complete", 1, "rr3 (CHG-88)", "cli", ["peer_loss:bgp.ipv4"]) == (
        head["phase"],
        head["change"],
        head["why"],
        head["via"],
        head["allow"],
    )
    assert "@" in head["by"]
    osl = json.loads(consul_server.kv.get("confsync/v1/desired/nodes/osl-compute-11/bgp"))
    assert {"peers": {"rr2": None}} == osl
    assert 0 == main(["push", "tree", "-m", "again"])
    assert "No changes. Published is #1.\n" == capsys.readouterr().out
    (tree / "nodes/osl-compute-11/bgp.yaml").unlink()
    assert 0 == main(["push", "tree", "-m", "rr2 is back", "--json"])
    data = json.loads(capsys.readouterr().out)["data"]
    assert (2, ["desired/nodes/osl-compute-11/bgp"]) == (data["change"], data["removed"])
