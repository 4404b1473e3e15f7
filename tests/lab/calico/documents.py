"""What `-f` names, read as strictly as the real calicoctl decodes it.

Separate because it needs no datastore: a file with one bad document is refused as a whole, before
anything is written.

Source: projectcalico/calico, calicoctl/calicoctl/resourcemgr/resourcemgr.go
(`createResourcesFromBytes`) and calicoctl/calicoctl/calicoctl.go (`massageError`).
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from tests.lab.calico.kinds import API_VERSION, BY_LIST_NAME, BY_NAME, Kind, Object

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = {"apiVersion", "kind", "metadata", "spec", "status"}
METADATA = {"name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"}
METADATA |= {"generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"}
METADATA |= {"labels", "annotations", "ownerReferences", "finalizers", "managedFields"}
DURATION = re.compile(r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+)")
DECODING = "error unmarshaling JSON: while decoding JSON: "


class InvalidDocumentError(Exception):
    """A file that cannot be taken for resources; nothing of it was used."""


def read_objects(filename: str) -> list[Object]:
    """Return the resources of a file, `-` is the standard input, lists taken apart.

    Raises: InvalidDocumentError, and OSError for a file that cannot be read.
    """
    if filename == "-":
        text = sys.stdin.read()
    else:
        with open(filename, encoding="utf-8") as file:  # noqa: PTH123  a word of a command line
            text = file.read()
    return [one for document in _documents(text) for one in _decoded(document)]


def _documents(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        import yaml

        try:
            return [one for one in yaml.safe_load_all(text) if one is not None]
        except yaml.YAMLError as error:
            raise InvalidDocumentError(f"error converting YAML to JSON: yaml: {error}") from error


def _decoded(document: Any) -> Iterator[Object]:
    for one in document if isinstance(document, list) else [document]:
        if not isinstance(one, dict):
            raise InvalidDocumentError(f"{DECODING}json: cannot unmarshal {_go(one)} into Go value")
        yield from _resources(one)


def _resources(document: Object) -> Iterator[Object]:
    name, version = str(document.get("kind", "")), str(document.get("apiVersion", ""))
    if version == API_VERSION and name in BY_LIST_NAME:
        kind = BY_LIST_NAME[name]
        _only(document, {"apiVersion", "kind", "metadata", "items"})
        for one in document.get("items") or []:
            yield _resource({"apiVersion": version, "kind": kind.name} | one, kind)
    elif version == API_VERSION and name in BY_NAME:
        yield _resource(document, BY_NAME[name])
    else:
        raise InvalidDocumentError(f"Unknown resource type ({name}) and/or version ({version})")


def _resource(document: Object, kind: Kind) -> Object:
    _only(document, TOP)
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    _typed("object", metadata, f"{kind.name}.metadata")
    _typed("object", spec, f"{kind.name}.spec")
    _only(metadata, METADATA)
    for name in ("labels", "annotations"):
        _typed("object", metadata.get(name) or {}, f"ObjectMeta.metadata.{name}")
        for value in (metadata.get(name) or {}).values():
            _typed("string", value, f"ObjectMeta.metadata.{name}")
    for name in ("name", "namespace", "resourceVersion", "uid"):
        _typed("string", metadata.get(name, ""), f"ObjectMeta.metadata.{name}")
    _only(spec, set(kind.fields))
    for name, value in spec.items():
        _typed(kind.fields[name], value, f"{kind.name}Spec.spec.{name}")
    return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec}


def _only(document: Object, known: set[str]) -> None:
    for name in document:
        if name not in known:
            raise InvalidDocumentError(f'{DECODING}json: unknown field "{name}"')


def _typed(wanted: str, value: Any, place: str) -> None:
    if wanted == "duration" and isinstance(value, str) and not DURATION.fullmatch(value):
        raise InvalidDocumentError(f'{DECODING}time: invalid duration "{value}"')
    if not _is(wanted, value):
        text = f"{DECODING}json: cannot unmarshal {_go(value)} into Go struct field {place}"
        raise InvalidDocumentError(f"{text} of type {wanted}")


def _is(wanted: str, value: Any) -> bool:
    found = _go(value)
    if wanted == "integer":
        return isinstance(value, int) and found == "number"
    if wanted == "as_number":
        return found in {"number", "string"}
    return found == {"boolean": "bool", "duration": "string"}.get(wanted, wanted)


def _go(value: Any) -> str:
    names = {bool: "bool", str: "string", int: "number", float: "number", list: "array"}
    return names.get(type(value), "object" if isinstance(value, dict) else "null")
