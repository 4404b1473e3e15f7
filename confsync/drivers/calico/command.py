"""calicoctl: every word that goes to it, and what its answers mean.

Separate because nobody else may know its options, and because its exit code alone says little: a
refusal is told from an absence, a conflict and a datastore that is away by its text. What it says
is shown short, and without passwords.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Final

from confsync.drivers.calico.resources import Kind, ObjectKey
from confsync.host.process import Finished, run
from confsync.model import limits
from confsync.model.errors import HostBusy, HostRefused, StepFailed
from confsync.model.ids import Json, canonical

_ABSENT: Final = re.compile(r"resource does not exist", re.IGNORECASE)
_CHANGED: Final = re.compile(r"update conflict|out of date|resource already exists", re.IGNORECASE)
_AWAY: Final = re.compile(
    r"connection|dial tcp|deadline|unavailable|not ready|no endpoint|etcdserver|timed? ?out|"
    r"mismatch|permission|forbidden|unauthorized|no such file|API client",
    re.IGNORECASE,
)
_SECRET: Final = re.compile(
    r"(//[^/\s:@]*:)[^@\s]+(@)|((?:password|token|secret)\S*?[=: ]+)\S+", re.IGNORECASE
)
_VERSION: Final = re.compile(r"Client Version:\s*v?(\d+\.\d+)", re.IGNORECASE)


class Calicoctl:
    """One calicoctl with its own settings file."""

    def __init__(self, program: str, config_file: str) -> None:
        self._program = program
        self._config = (f"--config={config_file}",) if config_file else ()

    async def version(self) -> str:
        """Return the first two numbers of its version. Raises HostBusy."""
        told = await self._run(("version",))
        found = _VERSION.search(told.stdout)
        if found is None:
            raise HostBusy(f"{self._program} does not say its version: {_short(told)}")
        return found[1]

    async def list(self, kind: Kind) -> tuple[Json, ...]:
        """Return all objects of a kind. Raises HostBusy."""
        everywhere = ("--all-namespaces",) if kind.in_namespace else ()
        told = await self._run(("get", kind, "-o", "json", *everywhere, *self._config))
        if told.code:
            raise HostBusy(f"calicoctl cannot list {kind}: {_short(told)}")
        items = self._parsed(told, kind).get("items")
        if not isinstance(items, list):
            raise HostBusy(f"calicoctl lists {kind} in a form that cannot be read")
        return tuple(items)

    async def get(self, key: ObjectKey) -> Json:
        """Return an object, None if there is none. Raises HostBusy."""
        words = ("get", key.kind, key.name, "-o", "json", *_in(key.namespace), *self._config)
        told = await self._run(words)
        if told.code and _ABSENT.search(told.stderr + told.stdout):
            return None
        if told.code:
            raise HostBusy(f"calicoctl cannot read {key}: {_short(told)}")
        found = self._parsed(told, str(key))
        if found.get("kind") != key.kind.resource or "metadata" not in found:
            raise HostBusy(f"calicoctl gives for {key} what is no {key.kind.resource}")
        return found

    async def write(self, verb: str, what: Json) -> None:
        """Create, replace or delete an object. Raises HostBusy, HostRefused, StepFailed."""
        told = await self._run((verb, "-f", "-", *self._config), canonical(what))
        name = what["metadata"]["name"]
        _raise(told, f"{verb} {what['kind']} {name}", name)

    async def patch(self, key: ObjectKey, patch: Json) -> None:
        """Merge into an object, null removes. Raises as `write`.

        Why: `replace` merges labels and annotations, and so can never take one away.
        """
        words = ("patch", key.kind, key.name, f"--patch={canonical(patch).decode()}")
        told = await self._run((*words, *_in(key.namespace), *self._config))
        _raise(told, f"patch {key.kind.resource} {key.name}", key.name)

    async def _run(self, words: Sequence[str], stdin: bytes = b"") -> Finished:
        fd = os.memfd_create("calico", os.MFD_CLOEXEC)
        try:
            os.pwrite(fd, stdin, 0)
            return await run(
                (self._program, *words),
                limits.CALICO_CALL_S,
                stdin=fd,
                memory_bytes=limits.CALICO_MEMORY_BYTES,
                output_bytes=limits.CALICO_OUTPUT_BYTES,
            )
        finally:
            os.close(fd)

    def _parsed(self, told: Finished, what: str) -> Json:
        try:
            found = json.loads(told.stdout)
        except ValueError as fault:
            message = f"calicoctl's answer about {what} is no JSON: {_short(told)}"
            raise HostBusy(message) from fault
        if not isinstance(found, dict):
            raise HostBusy(f"calicoctl's answer about {what} is no JSON object")
        return found


def _in(namespace: str) -> tuple[str, ...]:
    return ("-n", namespace) if namespace else ()


def _raise(told: Finished, act: str, name: str) -> None:
    """Raise what a call of a write means, if it failed.

    Why without the object's name: it may be made of the very words that are looked for.
    """
    if not told.code:
        return
    message = f"calicoctl cannot {act}: {_short(told)}"
    text = (told.stderr + told.stdout).replace(name, "")
    if told.code < 0:
        raise StepFailed(message)
    if _CHANGED.search(text) or _ABSENT.search(text) or _AWAY.search(text):
        raise HostBusy(message)
    raise HostRefused(message)


def _short(told: Finished) -> str:
    """Return what calicoctl said, on one line, without what is secret."""
    text = " ".join((told.stderr or told.stdout).split())[: limits.TOLD_CHARS]
    ended = f" (ended by signal {-told.code})" if told.code < 0 else ""
    return (_SECRET.sub(r"\1\3***\2", text) or "no word") + ended
