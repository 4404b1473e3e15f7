"""Which parameters each version of Felix knows: the tables in the folder `parameters`.

Separate because Felix does not tell: what it does not know it ignores, and what it cannot read it
replaces by the default. A version is a file there, made by `scripts/felix-parameters`; its `source`
says what it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from confsync.model.ids import Json

_FOLDER: Final = resources.files("confsync.drivers.felix") / "parameters"
_SUFFIX: Final = ".json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one version.

    Shape: `kind` is Felix's word for its type and `of` what that word is given: choices, bounds as
    ``low:high`` (either may lack). `default` is the text that means the same as leaving it out,
    empty = the zero value. `yaml` is its name in FelixConfiguration where more differs than case.
    """

    name: str
    kind: str
    of: tuple[str, ...] = ()
    default: str = ""
    flags: frozenset[str] = frozenset()
    yaml: str = ""

    @property
    def die_on_fail(self) -> bool:
        """Tell whether Felix does not start with a bad value, where it else takes the default."""
        return "die-on-fail" in self.flags

    @property
    def local(self) -> bool:
        """Tell whether it is read from the file and the environment alone."""
        return "local" in self.flags

    @property
    def non_zero(self) -> bool:
        """Tell whether it may not be set to nothing, by `none`."""
        return "non-zero" in self.flags


@cache
def versions() -> tuple[str, ...]:
    """Return the versions that there is a table of, the oldest first, such as ``3.27``."""
    names = (one.name for one in _FOLDER.iterdir() if one.name.endswith(_SUFFIX))
    found = (name.removesuffix(_SUFFIX) for name in names)
    return tuple(sorted(found, key=lambda one: tuple(map(int, one.split(".")))))


@cache
def table(version: str) -> Mapping[str, Parameter]:
    """Return the parameters of one version by their names in lower case: Felix knows no case.

    Raises: KeyError for a version that is not one of `versions`.
    """
    if version not in versions():
        raise KeyError(version)
    said = json.loads((_FOLDER / f"{version}{_SUFFIX}").read_text("utf-8"))["parameters"]
    return MappingProxyType({name.lower(): _parameter(name, one) for name, one in said.items()})


def knowing(name: str) -> tuple[tuple[str, Parameter], ...]:
    """Return the versions that know a name, in any case, each with its parameter; oldest first."""
    found = ((version, table(version).get(name.lower())) for version in versions())
    return tuple((version, one) for version, one in found if one)


def _parameter(name: str, said: Json) -> Parameter:
    return Parameter(
        name,
        said["type"],
        tuple(said.get("of", ())),
        said.get("default", ""),
        frozenset(said.get("flags", ())),
        said.get("yaml", ""),
    )
