"""A calicoctl for the contract: the laboratory's own, and the real one on a real etcd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.lab.calico import Calico
from tests.lab.calico.kinds import API_VERSION
from tests.lab.process import Process
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.calico.kinds import Object

ETCD = "http://127.0.0.1:2379"
HAS_REAL = bool(shutil.which("calicoctl") and shutil.which("etcd"))
TOOLS = ["fake", *([pytest.param("real", marks=pytest.mark.root)] if HAS_REAL else [])]


class Done(NamedTuple):
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output parsed."""
        return json.loads(self.out)


class Tool:
    """One calicoctl with the environment that leads it to its datastore."""

    def __init__(self, program: str, **env: str) -> None:
        self.program = program
        self._env = {"DATASTORE_TYPE": "etcdv3", "ETCD_ENDPOINTS": ETCD, **env}

    def __call__(self, *argv: str, text: str = "", timeout_s: float = 30) -> Done:
        done = subprocess.run(
            [self.program, *argv],
            input=text,
            env=os.environ | self._env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def give(self, verb: str, *items: Object, flags: tuple[str, ...] = ()) -> Done:
        """Run a verb on objects; one is given bare, several as an array."""
        text = json.dumps(items[0] if len(items) == 1 else items)
        return self(verb, "-f", "-", *flags, text=text)

    def get(self, kind: str, *names: str) -> Any:
        """Return what `get` answers in JSON; it must succeed."""
        done = self("get", kind, *names, "-o", "json")
        assert (0, "") == (done.code, done.err)
        return done.json


def item(kind: str, name: str, spec: Object | None = None, **metadata: Any) -> Object:
    """Return an object as a file has it."""
    metadata = {"name": name, **metadata}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec or {}}


def nets(name: str, *found: str, **metadata: Any) -> Object:
    """Return a GlobalNetworkSet."""
    return item("GlobalNetworkSet", name, {"nets": list(found or ["192.0.2.0/24"])}, **metadata)


@pytest.fixture
def calico(tmp_path: Path) -> Calico:
    return Calico(tmp_path / "calico")


@pytest.fixture
def fake(calico: Calico) -> Tool:
    return Tool(str(calico.program))


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tool]:
    """Give each calicoctl that this machine has, with an empty datastore."""
    if request.param == "fake":
        yield request.getfixturevalue("fake")
        return
    argv = ["etcd", "--data-dir", str(tmp_path / "etcd"), "--listen-client-urls", ETCD]
    etcd = Process([*argv, "--advertise-client-urls", ETCD], tmp_path / "etcd.log")
    real = Tool(str(shutil.which("calicoctl")))
    wait_until("etcd answers", lambda: real("get", "node").code == 0)
    yield real
    etcd.kill()
