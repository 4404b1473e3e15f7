"""The `bgp` section for the flow: a document in, a step for the BIRD driver out.

Separate because this is all that the flow knows of BGP. A plan is one step that carries the whole
file, so that what is checked, approved and journalled is what BIRD reads; nothing is planned while
the file on disk and what runs both bear the id of what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from confsync.drivers.bird import capabilities, effective
from confsync.drivers.bird.bgp import SECTION, Bgp, Channel, Peer, Session
from confsync.drivers.bird.build import build
from confsync.drivers.bird.doubts import doubtful, forgotten
from confsync.drivers.bird.impact import differences, impact_word, objects
from confsync.drivers.bird.inherit import fallbacks
from confsync.drivers.bird.names import protocols
from confsync.drivers.bird.policy import Family, Network, Policy
from confsync.drivers.bird.render import render, render_id
from confsync.drivers.bird.rules import broken
from confsync.drivers.bird.schema import READER
from confsync.drivers.bird.tree import tree_of
from confsync.model import limits
from confsync.model.errors import SchemaViolated, Violations
from confsync.model.ids import (
    DriverName,
    Json,
    ObjectId,
    Path,
    SectionName,
    Tree,
    canonical,
    digest,
)
from confsync.model.plan import Difference, Impact, Step
from confsync.model.section import Deadline, Observed, Place, Scope

DRIVER: Final = DriverName("bird")
DRIFT: Final = "what runs is not what was applied"
_FEEDS: Final = re.compile(rf"{SECTION}\.(routes|sets|filters|foreign|tables|direct|announce)\b")
ADOPTED: Final = "the same, by another hand"


class BgpSection:
    """One host's BGP speaker, carried by BIRD."""

    name: SectionName = SECTION
    scope: Scope = Scope.NODE

    def parse(self, tree: Tree) -> Bgp | Violations:
        """Return the value, or every fault: of the shape, and of the rules as far as they show."""
        reading = READER.read(tree)
        if reading.document is None:
            return reading.faults
        value, underived = build(reading.document)
        faults = (*reading.faults, *(underived if reading.whole else ()))
        return (*faults, *broken(value)) if faults else value

    def rules(self, value: Bgp, siblings: Mapping[SectionName, object]) -> Violations:  # noqa: ARG002
        """Return every broken rule; BGP depends on no other section."""
        return broken(value)

    def warnings(self, value: Bgp) -> tuple[str, ...]:
        """Return what is allowed but deserves a second look."""
        return doubtful(value)

    def deadlines(self, value: Bgp) -> tuple[Deadline, ...]:
        """Return what is withheld, with when it should be given back."""
        return forgotten(value)

    def inventory(self, value: Bgp) -> frozenset[ObjectId]:
        """Return the peers, sessions and prefixes of a value."""
        return objects(value)

    def canonical(self, value: Bgp) -> bytes:
        """Return the explicit document, which `parse` reads back."""
        return canonical(tree_of(value))

    def describe(self, path: Path) -> Place | None:
        """Return what may stand at a place, with what a change of it does."""
        found = READER.described(path)
        return found and replace(found, impact=impact_word(path))

    def fallbacks(self, tree: Tree, path: Path) -> tuple[Path, ...]:
        """Return where a peer's value comes from while it says nothing itself."""
        return fallbacks(tree, path)

    def plan(self, want: Bgp, had: Bgp | None, seen: Observed) -> tuple[Step, ...]:
        """Return the one step to what is wanted, or nothing if it stands already.

        Shape: on a host that was adopted and not written to yet, `had` is what was found there.
        Raises: SchemaViolated for what this BIRD does not know.
        """
        detail = seen.detail
        if unknown := capabilities.unsupported(want, detail["version"] or ""):
            raise SchemaViolated(unknown)
        if _stands(want, detail):
            return ()
        drifted = had is not None and not detail["adopted"] and not _stands(had, detail)
        items = _differences(had, want, detail, drifted=drifted)
        changes = _Changes(had, want, objects(had), _channels_of(had), items, drifted)
        written = _Written.of(want, detail)
        return (_step(changes, detail, written),)

    def remarks(self, want: Bgp, had: Bgp | None, seen: Observed) -> tuple[str, ...]:  # noqa: ARG002
        """Return nothing: the one step says it all."""
        return ()


@dataclass(frozen=True, slots=True)
class _Written:
    """What would stand on disk: the text, and the names of protocols in it.

    Shape: `names` are those that an adopted host goes on using; `held` are held by hand, `off` is
    what the document itself disables.
    """

    text: str
    names: Mapping[str, str]
    protocols: tuple[str, ...]
    held: frozenset[str]
    off: frozenset[str]

    @classmethod
    def of(cls, want: Bgp, detail: Json) -> _Written:
        names, whole = detail["names"], detail["whole"]
        there = protocols(want, names, whole=whole)
        off = frozenset(
            names.get(own, own)
            for peer, session in want.pairs
            if peer.disabled is not None
            for own in (peer.protocol(session),)
        )
        held = (frozenset(detail["held"]) & frozenset(there)) - off
        return cls(render(want, held, names, whole=whole), names, there, held, off)


_Channels = Mapping[Family, tuple[Peer, Channel]]


@dataclass(frozen=True, slots=True)
class _Changes:
    """From what to what; `drifted` = the host is not at `had`, so nothing is known to be kept.

    Shape: `existing` are the objects of `had`, `channels` those of its sessions.
    """

    had: Bgp | None
    want: Bgp
    existing: frozenset[ObjectId]
    channels: Mapping[ObjectId, _Channels]
    items: tuple[Difference, ...]
    drifted: bool

    @property
    def impact(self) -> Impact:
        return max((item.impact for item in self.items), key=lambda impact: impact.rank)

    @property
    def kernel(self) -> bool:
        """Tell whether the exchange with the kernel's table changes."""
        return self.drifted or any(
            one.path.startswith((f"{SECTION}.kernels.", f"{SECTION}.pipes.")) for one in self.items
        )

    @property
    def routes(self) -> bool:
        """Tell whether the routes that there are to pass on may change: others bring them."""
        return self.kernel or any(
            one.hits or one.op == "+" or ".import" in one.path or _FEEDS.match(one.path)
            for one in self.items
        )


def _stands(value: Bgp, detail: Json) -> bool:
    """Tell whether the disk holds exactly this value's file, and the daemon runs it.

    Why: a protocol that was disabled by hand is rendered so; that alone is no reason to plan.
    """
    names, whole = detail["names"], detail["whole"]
    text = render(value, frozenset(detail["file_held"]), names, whole=whole)
    found = (detail["disk"], detail["running_render"])
    return found == (digest(text.encode()), render_id(text))


def _differences(
    had: Bgp | None, want: Bgp, detail: Json, *, drifted: bool
) -> tuple[Difference, ...]:
    """Return what people read; drift comes first, and may reset anything."""
    found = differences(had, want)
    if detail["adopted"]:
        return found or (Difference("~", SECTION, ADOPTED, "written", Impact.HITLESS),)
    unknown = had is None and detail["disk_render"] is not None
    if found and not drifted and not unknown:
        return found
    drift = Difference("~", SECTION, DRIFT, "written anew", Impact.SESSION_RESET)
    return (drift, *found)


def _step(changes: _Changes, detail: Json, written: _Written) -> Step:
    path, count = detail["config_file"], len(changes.items)
    touched = [peer for peer, session in changes.want.pairs if _is_touched(changes, peer, session)]
    verify_s, hold_s = _patience(changes, touched)
    return Step(
        driver=DRIVER,
        kind="configure",
        version=2,
        target=path,
        impact=changes.impact,
        summary=f"{count} change{'' if count == 1 else 's'} to {path}",
        args={
            **{key: detail[key] for key in ("config_file", "main_file", "socket", "binary")},
            "before": {key: detail[key] for key in ("disk", "main_disk", "running_render")},
            "text": written.text,
            "render": render_id(written.text),
            "held": sorted(written.held),
            "expect": _expect(changes, detail, written),
        },
        differences=changes.items,
        verify_s=detail["verify_s"] or verify_s,
        hold_s=hold_s if detail["hold_s"] is None else detail["hold_s"],
    )


def _patience(changes: _Changes, touched: list[Peer]) -> tuple[float, float]:
    """Return how long health may take, and how long it must then last.

    Why: a neighbour may refuse once and both ends then wait; one that lost BFD kills a session
    that looked healthy, within the detection time.
    """
    if changes.impact is Impact.HITLESS and not touched:
        return limits.VERIFY_HITLESS_S, limits.HOLD_HITLESS_S
    waits = (
        peer.timers.connect_delay_s
        + peer.timers.connect_retry_s
        + 2 * peer.timers.error_wait_min_s
        + limits.CONVERGE_S
        for peer in touched
    )
    verify_s = min(max(limits.VERIFY_RESET_S, *waits, 0.0), limits.VERIFY_MAX_S)
    detections = [limits.HOLD_RESET_S]
    detections += [3 * value.bfd.detection_s for value in (changes.had, changes.want) if value]
    return verify_s, max(detections)


def _expect(changes: _Changes, detail: Json, written: _Written) -> Json:
    """Return what the driver's probes look for after the step.

    Shape: `dynamic` are the beginnings of names that a range of neighbours brings; `strict` = the
    routes must be the same ones, since nothing is wanted but another hand's file.
    """
    want, names = changes.want, written.names
    fed = {family for _, session in want.pairs for family in session.carries}
    ranges = [peer for peer, session in want.pairs if session.neighbor_range is not None]
    return {
        "protocols": list(written.protocols),
        "whole": detail["whole"],
        "dynamic": sorted({peer.dynamic_name for peer in ranges}),
        "strict": bool(detail["adopted"]) and not differences(changes.had, want),
        "sessions": {
            names.get(own, own): {
                **_expected(changes, peer, session),
                "required": peer.required
                and session.neighbor is not None
                and names.get(own, own) not in written.held | written.off,
            }
            for peer, session in want.pairs
            for own in (peer.protocol(session),)
        },
        "kernel": {
            **{str(one): _reaches_kernel(want, one) and one in fed for one in Family},
            "changed": changes.kernel,
        },
    }


def _reaches_kernel(value: Bgp, family: Family) -> bool:
    """Tell whether routes of BIRD's own table go to the kernel's."""
    return any(
        one.table == family.master and effective.syncer_export(value, one) != effective.NONE
        for one in value.syncers
    )


def _expected(changes: _Changes, peer: Peer, session: Session) -> dict[str, Json]:
    main = session.family if session.family in session.carries else session.carries[0]
    return {
        "peer": peer.name,
        "family": str(main),
        "neighbor": str(session.neighbor or session.neighbor_range),
        "touched": _is_touched(changes, peer, session),
        "imports": _may_import_anew(changes, peer, session),
        "exports": _may_export_anew(changes, peer, session),
        "bfd": peer.bfd != "off",
    }


def _is_touched(changes: _Changes, peer: Peer, session: Session) -> bool:
    """Tell whether the plan adds or resets a session; after drift nobody knows."""
    one = peer.session_id(session)
    reset = any(one in item.hits for item in changes.items)
    return changes.drifted or reset or one not in changes.existing


def _may_import_anew(changes: _Changes, peer: Peer, session: Session) -> bool:
    """Tell whether the plan changes what a session may bring."""
    if changes.drifted or changes.had is None:
        return True
    before = changes.channels.get(peer.session_id(session), {})
    return before.keys() != set(session.carries) or any(
        _imports(changes.had, *before[channel.family]) != _imports(changes.want, peer, channel)
        for channel in session.channels
    )


def _may_export_anew(changes: _Changes, peer: Peer, session: Session) -> bool:
    """Tell whether the plan changes what a session may send.

    Why: a filter of the operator's own may pass on what other peers, the kernel or our networks
    gave, so with one every such change counts.
    """
    if changes.drifted or changes.had is None:
        return True
    before = changes.channels.get(peer.session_id(session), {})
    if before.keys() != set(session.carries):
        return True
    for channel in session.channels:
        old, new = (
            _exports(changes.had, *before[channel.family]),
            _exports(changes.want, peer, channel),
        )
        if old != new or (channel.exports is not None and changes.routes):
            return True
    return False


Judged = tuple[object, ...]
"""All that decides which routes pass."""


def _imports(value: Bgp, peer: Peer, channel: Channel) -> Judged:
    limits_ = (channel.import_limit, channel.receive_limit, channel.preference)
    return (effective.session_import(value, peer, channel), _words(value), *limits_)


def _exports(value: Bgp, peer: Peer, channel: Channel) -> Judged:
    policy: Policy = effective.session_export(value, peer, channel)
    announced: tuple[Network, ...] = value.announced(channel.family)
    return (policy, _words(value), announced, channel.export_limit)


def _words(value: Bgp) -> Judged:
    """Return what policies are made of by name."""
    return (value.filters, value.sets, value.foreign)


def _channels_of(value: Bgp | None) -> Mapping[ObjectId, _Channels]:
    """Return the channels of each session, by their family."""
    found: dict[ObjectId, dict[Family, tuple[Peer, Channel]]] = {}
    for peer, session in value.pairs if value else ():
        channels = found.setdefault(peer.session_id(session), {})
        channels |= {channel.family: (peer, channel) for channel in session.channels}
    return found
