"""Strict stand-ins for Calico, which Debian does not package: its datastore, calicoctl and Felix.

Separate because they play a part that no program of the laboratory's machine can play. They are
programs of their own, run by path as the real ones; what they refuse, the real ones refuse.

The programs import this package by its folder, without the laboratory's own modules around it:
each of their starts would pay for all of them.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lab.calico.behaviour import Behaviour
from tests.lab.calico.faults import Faults, Record
from tests.lab.calico.kinds import API_VERSION, BY_NAME
from tests.lab.calico.store import Key, Store

if TYPE_CHECKING:
    from tests.lab.calico.kinds import Object

WRAPPER = """\
#!{python} -IS
import sys, types
sys.path.append({libraries!r})
for name, folder in {packages!r}:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from pathlib import Path
from {module} import main
sys.exit(main({arguments}, sys.argv[1:]))
"""


class Call(NamedTuple):
    """One run of the program; `exit_code` is None of one that was killed or still runs."""

    argv: list[str]
    env: dict[str, str]
    exit_code: int | None


def write_program(path: Path, module: str, folder: Path) -> Path:
    """Write a program that runs `main(folder, argv)` of a module here; returns its path."""
    here = Path(__file__).parent
    packages = [("tests", str(here.parents[1])), ("tests.lab", str(here.parent))]
    packages.append(("tests.lab.calico", str(here)))
    text = WRAPPER.format(
        python=sys.executable,
        packages=packages,
        libraries=sysconfig.get_path("purelib"),
        module=f"tests.lab.calico.{module}",
        arguments=f"Path({str(folder)!r})",
    )
    path.write_text(text)
    path.chmod(0o755)
    return path


class Calico:
    """A datastore in a folder and a calicoctl for it."""

    def __init__(self, folder: Path) -> None:
        """Make both; the datastore is empty."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = Store(folder)
        self.program = write_program(folder / "calicoctl", "calicoctl", folder)
        self._record = Record(folder)

    def put(self, item: Object) -> Object:
        """Store an object as somebody else would, unjudged; returns it as stored."""
        return self.store.put({"apiVersion": API_VERSION, "metadata": {}, "spec": {}} | item)

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, None when it is not there."""
        return self.store.content().items.get(self._key(kind, name, namespace))

    def drop(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object as somebody else would."""
        self.store.delete(self._key(kind, name, namespace))

    def items(self, kind: str) -> list[Object]:
        """Return all objects of a kind."""
        return self.store.items(kind)

    def names(self, kind: str) -> list[str]:
        """Return the names of all objects of a kind."""
        return [item["metadata"]["name"] for item in self.items(kind)]

    def faults(self, **what: Any) -> None:
        """Order faults (see Faults) in the place of earlier ones; none without arguments."""
        self._record.order(Faults(**what))

    @property
    def calls(self) -> list[Call]:
        """The calls of the program, in the order in which they began."""
        found: list[Call] = []
        running: dict[int, int] = {}
        for line in self._record.lines("calls"):
            if "argv" in line:
                running[line["pid"]] = len(found)
                found.append(Call(line["argv"], line["env"], None))
            else:
                number = running.pop(line["pid"])
                found[number] = found[number]._replace(exit_code=line["exit_code"])
        return found

    @property
    def writes(self) -> list[str]:
        """What the program wrote, oldest first, as `create GlobalNetworkSet(name)`."""
        return [f"{line['action']} {line['key']}" for line in self._record.lines("writes")]

    @staticmethod
    def _key(kind: str, name: str, namespace: str) -> Key:
        return Key(kind, name, namespace or ("default" if BY_NAME[kind].namespaced else ""))


class Felix:
    """A Felix as a program: `argv` runs it, `config` is its file, which is not there yet."""

    def __init__(self, folder: Path, calico: Calico | None = None, **how: Any) -> None:
        """Make the program; it behaves as told here (see Behaviour) until told otherwise."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._calico = folder, calico
        self.config = folder / "felix.cfg"
        self.program = write_program(folder / "calico-felix", "felix", folder)
        self.argv = [str(self.program), "-c", str(self.config)]
        self.behave(**how)

    def behave(self, **how: Any) -> None:
        """Behave so from the next start on, in all else as by default."""
        store = str(self._calico.folder) if self._calico else ""
        new = self._folder / "behaviour.new"
        new.write_text(json.dumps(asdict(Behaviour(**({"store": store} | how)))))
        new.replace(self._folder / "behaviour.json")

    @property
    def effective(self) -> dict[str, dict[str, Any]] | None:
        """What the running one took: `value` and `source` by name; None before it knew."""
        try:
            return json.loads((self._folder / "effective.json").read_text())
        except FileNotFoundError:
            return None
