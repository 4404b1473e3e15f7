"""Everything that a configuration says, put together: the value, the names, and what is lost.

Separate because it alone knows the order: names first, then protocols, then what depends on all of
them; in the end the draft must give back the value that was read, or what it misses is lost, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from confsync.drivers.bird import names
from confsync.drivers.bird.bgp import Bgp, Direct, ForeignFile, Table
from confsync.drivers.bird.impact import differences
from confsync.drivers.bird.importer import draft
from confsync.drivers.bird.importer.bfd import USUAL, bfd
from confsync.drivers.bird.importer.host import Host
from confsync.drivers.bird.importer.lexer import Token, tokens
from confsync.drivers.bird.importer.options import Losses
from confsync.drivers.bird.importer.outline import Outline, Protocol, outline
from confsync.drivers.bird.importer.peers import common_as, peers
from confsync.drivers.bird.importer.policies import Policies
from confsync.drivers.bird.importer.sessions import Met, Sessions
from confsync.drivers.bird.rules import broken

MOVED: Final = "kept-filters.conf"
_WRITER: Final = "you, by hand: filters that no rules can say"
_SECRET: Final = 3  # the tokens of a file that holds a password alone


@dataclass(frozen=True, slots=True)
class Read:
    """A configuration as far as it was understood.

    Shape: as `Reading` has it.
    """

    value: Bgp
    names: Mapping[str, str]
    sessions: Mapping[str, str]
    protocols: frozenset[str]
    lost: tuple[str, ...]
    draft: str


def whole(files: Mapping[str, str], main: str, fragment: str = "") -> Read:
    """Read a configuration from its files; with a fragment, what that one adds to it.

    Raises: Unreadable.
    """
    found = tokens(files, main)
    return _Reader(outline(found), main, fragment, _secrets(found)).read()


def _secrets(found: tuple[Token, ...]) -> frozenset[str]:
    """Return the included files that hold a password and nothing else."""
    by_file: dict[str, dict[Token, None]] = {}
    for token in found:  # once for each place that draws the file in
        by_file.setdefault(token.file, {})[token] = None
    return frozenset(
        file
        for file, inner in by_file.items()
        if file and len(inner) == _SECRET and next(iter(inner)).text == "password"
    )


class _Reader:
    def __init__(self, all_: Outline, main: str, fragment: str, secrets: frozenset[str]) -> None:
        self._file = fragment or main
        self._fragment = fragment
        self._protocols: list[Protocol] = []
        self._others: list[Protocol] = []
        for one in all_.protocols:
            own = not fragment or one.token.file == fragment
            (self._protocols if own else self._others).append(one)
        self._losses = Losses() if fragment else Losses(list(all_.lost))
        if fragment:
            all_.filters = {
                name: one for name, one in all_.filters.items() if one.token.file == fragment
            }
        self._outline = all_
        self._policies = Policies(all_, self._losses)
        self._host = Host(all_, self._policies, self._losses)
        folder = os.path.dirname(self._file)
        self._sessions = Sessions(all_, self._policies, self._losses, folder, secrets)

    def read(self) -> Read:
        kept = list(self._losses.lines)
        self._host.options()
        if self._fragment:
            self._losses.lines[:] = kept  # what concerns all of BIRD is the main file's
        met = [one for one in map(self._protocol, self._protocols) if one]
        value, called = self._value(met)
        made = draft.text(value, self._comments(value, met))
        self._losses.lines += self._missed(value)
        return Read(
            value=value,
            names={**self._host.names, **called},
            sessions=self._neighbors(met),
            protocols=frozenset(one.name for one in self._protocols),
            lost=tuple(self._losses.lines),
            draft=made,
        )

    def _protocol(self, protocol: Protocol) -> Met | None:
        if protocol.kind == "bgp":
            return self._sessions.read(protocol)
        if protocol.kind != "bfd" and not self._host.read(protocol):
            self._losses.add(protocol.name, f"protocol {protocol.kind}", protocol.token)
        return None

    def _value(self, met: list[Met]) -> tuple[Bgp, dict[str, str]]:
        local_as = common_as(met or self._elsewhere())
        found, called = peers(met, local_as)
        host, whole_ = self._host, not self._fragment
        timing = USUAL
        for number, one in enumerate(self._of_kind("bfd")):
            if number:
                self._losses.add(one.name, "the whole protocol", one.token, "there is another one")
                continue
            timing = bfd(one, self._outline, self._losses, found)
            if one.name != names.BFD:
                called[names.BFD] = one.name
        usual, _ = draft.parsed({"router_id": "auto", "local_as": local_as})
        assert usual is not None
        value = replace(
            usual,
            router_id=host.router_id,
            peers=found,
            announce=tuple(sorted(host.announce, key=lambda one: one.name)),
            bfd=timing,
            syncers=host.finished() if whole_ or host.syncers else usual.syncers,
            routes=tuple(sorted(host.routes, key=lambda one: one.name)),
            pipes=tuple(host.pipes[name] for name in sorted(host.pipes)),
            direct=host.direct,
            filters=self._policies.filters(),
            sets=self._policies.sets(),
        )
        if whole_:
            value = self._of_main(value)
        return value, called

    def _of_main(self, value: Bgp) -> Bgp:
        """Return a value with what the main file says, which in fragment mode stays its own."""
        tables = [Table(name, family) for name, family in self._outline.tables.items()]
        tables = [one for one in tables if one.name != one.family.master]
        if value.direct is None and names.needs_direct(value):
            value = replace(value, direct=Direct(ipv4=False, ipv6=False))
        moved = self._policies.foreign
        path = os.path.join(os.path.dirname(self._file), MOVED)
        return replace(
            value,
            tables=tuple(sorted(tables, key=lambda one: one.name)),
            daemon=self._host.told(),
            foreign=(ForeignFile(path, "filters", _WRITER),) if moved else (),
        )

    def _of_kind(self, kind: str) -> list[Protocol]:
        return [one for one in self._protocols if one.kind == kind]

    def _elsewhere(self) -> list[Met]:
        """Return the sessions of the main file, which a fragment shares its AS with."""
        aside = Losses()
        policies = Policies(self._outline, aside)
        reader = replace(self._sessions, policies=policies, losses=aside)
        found = (reader.read(one) for one in self._others if one.kind == "bgp")
        return [one for one in found if one]

    def _neighbors(self, met: list[Met]) -> dict[str, str]:
        known = {one.protocol: str(one.peer.sessions[0].neighbor or "") for one in met}
        return {one.name: known.get(one.name, "") for one in self._of_kind("bgp")}

    # --- the draft

    def _comments(self, value: Bgp, met: list[Met]) -> list[str]:
        lines = [f"Drafted from {self._file}: read it before it is published."]
        if not met and not self._elsewhere():
            lines.append("No session tells which AS number is ours: set local_as.")
        lines += [
            f"{name} is disabled in the file, and stays so until it is enabled by hand."
            for name in sorted(one.name for one in self._protocols if one.disabled)
        ]
        if moved := [] if self._fragment else self._policies.foreign:
            path = value.foreign[0].path
            lines.append(f"Move these filters, with all that they use, into {path}:")
            lines.append(f"  {', '.join(moved)}")
        if self._losses.lines:
            lines.append("No document can say the following, it would be lost:")
            lines += [f"  {line}" for line in self._losses.lines]
        if faults := broken(value):
            lines.append("It is refused until this is put right:")
            lines += [f"  {fault}" for fault in faults]
        return lines

    def _missed(self, value: Bgp) -> list[str]:
        """Return what the draft does not give back as it was read."""
        again, faults = draft.parsed(draft.document(value))
        if again is None or faults:
            return [f"no document can have this: {fault}" for fault in faults]
        return [f"no document can have this: {one}" for one in differences(again, value)]
