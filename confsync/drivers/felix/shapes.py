"""The shape of a `felix` document, and the value that it becomes.

Separate because this is the whole of what may be written. Which version a host runs is not known
where documents are read, so a value must be good in one version at least; `faults_for` looks at it
again for the version that is there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from confsync.drivers.felix import values
from confsync.drivers.felix.tables import Parameter, knowing, table, versions
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Json, SectionName
from confsync.model.shapes import Reader, Shape, choice, listed

SECTION: Final = SectionName("felix")
REFUSE: Final = "refuse"
KEEP: Final = "keep"


@dataclass(frozen=True, slots=True)
class Felix:
    """What felix.cfg of a host shall hold.

    Shape: `parameters` has each by its official name, with the text of the newest version that
    takes it. `unknown` says what is done with lines of a file that no version knows: `refuse` = the
    file is not ours to write, `keep` = they stay.
    """

    parameters: Mapping[str, str]
    unknown: str = REFUSE

    def tree(self) -> Json:
        """Return it as a document, which reads back as the same."""
        return {"parameters": dict(sorted(self.parameters.items())), "unknown": self.unknown}


class Document(Shape):
    """A whole `felix` section as documents write it; its parameters are read by the tables."""

    parameters: dict[str, Any] = Field(default_factory=dict)
    unknown: Annotated[str, PlainValidator(choice("a way with the unknown", REFUSE, KEEP))] = REFUSE


READER: Final = Reader(SECTION, Document, (("unknown",), ("parameters",)))


def felix_of(document: Document) -> tuple[Felix, Violations]:
    """Return the value of all that could be read, and every fault."""
    found: dict[str, str] = {}
    faults: list[Violation] = []
    written: dict[str, str] = {}
    for name, said in sorted(document.parameters.items()):
        twin = written.setdefault(name.lower(), name)
        if twin != name:
            message = f"{twin} is the same: Felix knows no case, and takes either"
            faults.append(Violation("CS-V201", _place(name), message, "keep one of them"))
            continue
        official, text, refused = _reading(name, said)
        faults += refused
        if not refused:
            found[official] = text
    return Felix(found, document.unknown), tuple(faults)


def faults_for(value: Felix, version: str) -> Violations:
    """Return what is wrong with a value on a host with one version of Calico.

    Raises: KeyError for a version without a table.
    """
    known = table(version)
    faults: list[Violation] = []
    for name, text in sorted(value.parameters.items()):
        parameter = known.get(name.lower())
        if parameter is None:
            others = [one for one, _ in knowing(name)]
            message = f"{name} is not known to Calico {version}"
            hint = f"it is to {listed(others)}" if others else _nearest(name, (version,))
            faults.append(Violation("CS-V202", _place(name), message, hint))
        else:
            faults += _fault(name, parameter, text, f" (in Calico {version})")
    return tuple(faults)


def _reading(name: str, said: Json) -> tuple[str, str, list[Violation]]:
    """Return a parameter's official name and text, or why there is none."""
    known = [parameter for _, parameter in reversed(knowing(name))]
    if not known:
        return name, "", [Violation("CS-V200", _place(name), "unknown parameter", _nearest(name))]
    for parameter in known:
        try:
            return parameter.name, values.read(parameter, said), []
        except PydanticCustomError:
            continue
    return known[0].name, "", list(_fault(name, known[0], said))


def _fault(name: str, parameter: Parameter, said: Json, where: str = "") -> Iterator[Violation]:
    try:
        values.read(parameter, said)
    except PydanticCustomError as refused:
        told = refused.context or {}
        message = f"{told['message']}{where}"
        yield Violation(refused.type, _place(name), message, told["hint"])


def _nearest(name: str, among: tuple[str, ...] = ()) -> str:
    """Return the hint for a name that no table has: FelixConfiguration's word, or the nearest."""
    known = {one.name: one for version in among or versions() for one in table(version).values()}
    yaml = {one.yaml.lower(): one.name for one in known.values() if one.yaml}
    if name.lower() in yaml:
        return f"in felix.cfg it is {yaml[name.lower()]}"
    lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    if close:
        return f"did you mean {lower[close[0]]}?"
    return "see the reference of Felix's configuration for its parameters"


def _place(name: str) -> tuple[str, ...]:
    return (SECTION, "parameters", name)
