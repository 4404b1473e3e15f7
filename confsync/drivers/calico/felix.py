"""The fields of a FelixConfiguration, as each version of Calico knows them.

Separate because they are data, a file for each version: `fields` are known to be there, `unsure`
are those of which nobody could say whether that version has them. Reading takes a field that any
version has; whether one version has it is asked when that version is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Final, cast

from pydantic import PlainValidator, create_model
from pydantic_core import PydanticCustomError

from confsync.drivers.calico import fields
from confsync.drivers.calico.durations import read_duration
from confsync.drivers.calico.policy_shapes import MetaShape
from confsync.drivers.calico.resources import Kind, Resources
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Json
from confsync.model.shapes import choice, fault, integer, listed, nearest_key, read_flag, shown

VERSIONS: Final = ("3.26", "3.27", "3.32")
_MARK_MAX: Final = 2**32 - 1
_MARK_BITS_MIN: Final = 2
Read = Callable[[object], Json]


@dataclass(frozen=True, slots=True)
class Table:
    """What one version has: the form of each field by its name."""

    fields: Mapping[str, Json]
    unsure: Mapping[str, Json]

    def form(self, name: str) -> Json | None:
        """Return the form of a field, None = this version has no such field."""
        return self.fields.get(name) or self.unsure.get(name)


def _load(version: str) -> Table:
    folder = resources.files("confsync.drivers.calico") / "felixconfiguration"
    found = json.loads((folder / f"{version}.json").read_text())
    return Table(found["fields"], found["unsure"])


TABLES: Final = {version: _load(version) for version in VERSIONS}


def faults_for(value: Resources, version: str) -> Violations:
    """Return what a version of Calico would not take; one without a table takes everything.

    Shape: `version` is ``3.27``, ``v3.27.2`` or alike.
    """
    found = re.match(r"v?([0-9]+\.[0-9]+)", version)
    table = TABLES.get(found[1]) if found else None
    if found is None or table is None:
        return ()
    return tuple(
        fault_
        for key, body in value.of(Kind.FELIX)
        for name, setting in body["spec"].items()
        for fault_ in _faults(table, found[1], name, setting, key.place(name))
    )


def _faults(
    table: Table, version: str, name: str, setting: Json, place: tuple[str | int, ...]
) -> Violations:
    form = table.form(name)
    if form is None:
        known = [one for one in VERSIONS if TABLES[one].form(name)]
        message = f"Felix {version} has no such field"
        return (Violation("CS-V313", place, message, f"known in {listed(known)}; leave it out"),)
    try:
        reader(form)(setting)
    except PydanticCustomError as refused:
        said = refused.context or {}
        message = f"{said['message']} for Felix {version}"
        return (Violation(refused.type, place, message, said["hint"]),)
    return ()


def reader(form: Json) -> Read:
    """Return the reader of a field of this form."""
    return _READERS[form["type"]](form)


def _text(form: Json) -> Read:
    if "enum" in form:
        return choice("a word that Felix knows here", *form["enum"])
    pattern = re.compile(form.get("pattern", ".*"), re.ASCII | re.DOTALL)

    def read(value: object) -> str:
        text = fields.read_text(value)
        if not pattern.fullmatch(text):
            hint = f"it has to match {form['pattern']}"
            raise fault("CS-V312", f"{shown(value)} is not what Felix takes here", hint)
        return text

    return read


def _duration(form: Json) -> Read:
    words = form.get("enum", ())
    return lambda value: value if value in words else read_duration(value)


def _mark(value: object) -> int:
    hint = f"use a number of 32 bits, at least {_MARK_BITS_MIN} of them set, like 0xffff0000"
    if type(value) is not int or not 0 <= value <= _MARK_MAX:
        raise fault("CS-V312", f"{shown(value)} is not a mark", hint)
    if value.bit_count() < _MARK_BITS_MIN:
        raise fault("CS-V312", f"{shown(value)} has too few bits for a mark", hint)
    return value


def _ports(value: object) -> int | str:
    found = fields.read_port(value)
    if isinstance(found, str) and ":" not in found:
        hint = 'use a number, or a range such as "30000:32767"'
        raise fault("CS-V305", f"{shown(value)} is not a range of ports", hint)
    return found


def _ipv4(value: object) -> str:
    found = fields.read_address(value)
    if ":" in found:
        raise fault("CS-V308", f"{shown(value)} is of IPv6", "write an IPv4 address")
    return found


def _ipv6(value: object) -> str:
    found = fields.read_address(value)
    if ":" not in found:
        raise fault("CS-V308", f"{shown(value)} is of IPv4", "write an IPv6 address")
    return found


def _net4(value: object) -> str:
    found = fields.read_net(value)
    if ":" in found:
        raise fault("CS-V304", f"{shown(value)} is of IPv6", "Felix takes IPv4 alone here")
    return found


def _array(form: Json) -> Read:
    inside = reader(form["items"])

    def read(value: object) -> list[Json]:
        if not isinstance(value, list | tuple):
            hint = "write each of its parts after a dash"
            raise fault("CS-V042", f"{shown(value)} is not a list", hint)
        if len(value) > form.get("max", len(value)):
            hint = f"use at most {form['max']}"
            raise fault("CS-V312", f"{len(value)} parts", hint)
        return [_within(f"part {place}", inside, one) for place, one in enumerate(value)]

    return read


def _object(form: Json) -> Read:
    known = {name: reader(one) for name, one in form["fields"].items()}

    def read(value: object) -> dict[str, Json]:
        found = _map(value)
        for name in found:
            if name not in known:
                raise fault("CS-V040", f"unknown key {name}", nearest_key(name, tuple(known)))
        for name in form["required"]:
            if name not in found:
                raise fault("CS-V041", f"{name} is missing", "it has no default")
        return {name: _within(name, known[name], one) for name, one in found.items()}

    return read


def _words(form: Json) -> Read:
    pattern = re.compile(form["pattern"], re.ASCII)

    def read(value: object) -> dict[str, str]:
        found = _map(value)
        for name in found:
            if not pattern.fullmatch(name):
                hint = f"it has to match {form['pattern']}"
                raise fault("CS-V312", f"{shown(name)} cannot be a key here", hint)
        return {name: _within(name, fields.read_text, one) for name, one in found.items()}

    return read


def _map(value: object) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise fault("CS-V042", f"{shown(value)} is not a map", "write its keys below it")
    return value


def _within(where: str, read: Read, value: object) -> Json:
    """Read a part of a value, with its place in what is said of it."""
    try:
        return read(value)
    except PydanticCustomError as refused:
        said = refused.context or {}
        raise fault(refused.type, f"{where}: {said['message']}", said["hint"]) from None


_READERS: Final[Mapping[str, Callable[[Json], Read]]] = {
    "boolean": lambda _: read_flag,
    "integer": lambda form: integer(form["min"], form["max"]),
    "string": _text,
    "duration": _duration,
    "mark": lambda _: _mark,
    "ports": lambda _: _ports,
    "selector": lambda _: fields.read_selector,
    "net": lambda _: fields.read_net,
    "net4": lambda _: _net4,
    "ipv4": lambda _: _ipv4,
    "ipv6": lambda _: _ipv6,
    "array": _array,
    "object": _object,
    "map": _words,
}


def _of_any(forms: tuple[Json, ...]) -> Read:
    """Return the reader of a value that at least one version takes; the last one speaks."""
    readers = tuple(map(reader, forms))

    def read(value: object) -> Json:
        for one in readers[:-1]:
            try:
                return one(value)
            except PydanticCustomError:
                continue
        return readers[-1](value)

    return read


def _shape() -> type[MetaShape]:
    """Return the shape with every field that a version has."""
    tables = tuple(TABLES.values())
    names = sorted({name for table in tables for name in (*table.fields, *table.unsure)})
    settings: dict[str, Any] = {}
    for name in names:
        forms = tuple(form for table in tables if (form := table.form(name)))
        settings[name] = (Annotated[Any, PlainValidator(_of_any(forms))], None)
    return cast("type[MetaShape]", create_model("FelixShape", __base__=MetaShape, **settings))


FelixShape: Final = _shape()
