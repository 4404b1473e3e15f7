"""Calico's datastore as one JSON file: objects by kind, namespace and name, and one counter.

Separate because the fake calicoctl, the fake Felix and a test change and read the same objects
at the same time. Invariants: every change happens under one lock and replaces the file as a
whole; `resourceVersion` is the text of the store's counter, which rises by one with each write.

Source of the texts: projectcalico/calico, libcalico-go/lib/errors/errors.go and, for what happens
when, libcalico-go/lib/backend/etcdv3/etcdv3.go (its errors carry no cause: `<nil>`).
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.calico.kinds import Object


class StoreError(Exception):
    """What the datastore refuses; its text is the real one's."""


class AlreadyExistsError(StoreError):
    """A create of something that is there."""


class DoesNotExistError(StoreError):
    """A get, update or delete of something that is not there."""


class ConflictError(StoreError):
    """A write on top of another `resourceVersion` than the stored one."""


class Key(NamedTuple):
    """Where an object is; `namespace` is empty for the kinds that have none."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind}({self.namespace and self.namespace + '/'}{self.name})"

    @classmethod
    def of(cls, item: Object) -> Key:
        """Return the key of an object."""
        metadata = item["metadata"]
        return cls(item["kind"], metadata["name"], metadata.get("namespace", ""))


class Content(NamedTuple):
    """All that the file holds."""

    revision: int
    items: dict[Key, Object]


class Store:
    """The objects of one folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; the file comes with the first write."""
        self._file = folder / "store.json"
        self._lock = folder / "store.lock"

    def content(self) -> Content:
        """Return what is stored now."""
        try:
            held = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return Content(0, {})
        return Content(held["revision"], {Key.of(item): item for item in held["items"]})

    def get(self, key: Key) -> Object:
        """Return one object. Raises DoesNotExistError."""
        return _present(self.content().items, key)

    def items(self, kind: str, namespace: str = "") -> list[Object]:
        """Return the objects of a kind by namespace and name; without a namespace those of all."""
        found = [
            key
            for key in self.content().items
            if key.kind == kind and namespace in {"", key.namespace}
        ]
        items = self.content().items
        return [items[key] for key in sorted(found, key=lambda key: (key.namespace, key.name))]

    def create(self, item: Object) -> Object:
        """Store a new object with a uid and a time of its own. Raises AlreadyExistsError."""

        def change(items: dict[Key, Object], revision: int) -> Object:
            if (key := Key.of(item)) in items:
                raise AlreadyExistsError(f"resource already exists: {key}")
            made = copy.deepcopy(item)
            made["metadata"] |= {
                "uid": str(uuid.uuid4()),
                "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "resourceVersion": str(revision),
            }
            items[key] = made
            return made

        return self._write(change)

    def update(self, item: Object) -> Object:
        """Put an object in the place of the one that its `resourceVersion` names.

        Raises: DoesNotExistError, ConflictError.
        """

        def change(items: dict[Key, Object], revision: int) -> Object:
            key = Key.of(item)
            _same_version(_present(items, key), key, item["metadata"]["resourceVersion"])
            made = copy.deepcopy(item)
            made["metadata"]["resourceVersion"] = str(revision)
            items[key] = made
            return made

        return self._write(change)

    def delete(self, key: Key, version: str = "") -> Object:
        """Drop an object, only if it has this `resourceVersion` when one is named.

        Raises: DoesNotExistError, ConflictError.
        """

        def change(items: dict[Key, Object], _: int) -> Object:
            held = _present(items, key)
            if version:
                _same_version(held, key, version)
            return items.pop(key)

        return self._write(change)

    def put(self, item: Object) -> Object:
        """Store an object whatever is there, unjudged: somebody else's hand."""
        try:
            held = self.get(Key.of(item))
        except DoesNotExistError:
            return self.create(item)
        metadata = held["metadata"]
        own = {name: metadata[name] for name in ("uid", "creationTimestamp", "resourceVersion")}
        return self.update(item | {"metadata": item["metadata"] | own})

    def _write(self, change: Callable[[dict[Key, Object], int], Object]) -> Object:
        with self._locked():
            revision, items = self.content()
            made = change(items, revision + 1)
            text = json.dumps({"revision": revision + 1, "items": list(items.values())}, indent=1)
            new = self._file.with_suffix(f".{os.getpid()}")
            new.write_text(text)
            new.replace(self._file)
            return copy.deepcopy(made)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def _present(items: dict[Key, Object], key: Key) -> Object:
    if key not in items:
        raise DoesNotExistError(f"resource does not exist: {key} with error: <nil>")
    return items[key]


def _same_version(held: Object, key: Key, version: str) -> None:
    if held["metadata"]["resourceVersion"] != version:
        raise ConflictError(f"update conflict: {key}")
