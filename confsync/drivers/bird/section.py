"""The `bgp` section for the flow: a document in, a step for the BIRD driver out.

Separate because this is all that the flow knows of BGP. A plan is one step that carries the whole
file, so that what is checked, approved and journalled is what BIRD reads; nothing is planned while
the file on disk and what runs both bear the id of what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confsync.drivers.bird.bgp import SECTION, Bgp, Family, Peer, Session, tree_of
from confsync.drivers.bird.build import build
from confsync.drivers.bird.impact import differences, objects
from confsync.drivers.bird.render import protocols, render, render_id
from confsync.drivers.bird.rules import broken, doubtful
from confsync.drivers.bird.schema import read
from confsync.model import limits
from confsync.model.errors import Violations
from confsync.model.ids import DriverName, Json, ObjectId, SectionName, Tree, canonical, digest
from confsync.model.plan import Difference, Impact, Step
from confsync.model.section import Observed, Scope

DRIVER: Final = DriverName("bird")
DRIFT: Final = "what runs is not what was applied"


class BgpSection:
    """One host's BGP speaker, carried by BIRD."""

    name: SectionName = SECTION
    scope: Scope = Scope.NODE

    def parse(self, tree: Tree) -> Bgp | Violations:
        """Return the value, or every fault: of the shape, and of the rules as far as they show."""
        reading = read(tree)
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

    def inventory(self, value: Bgp) -> frozenset[ObjectId]:
        """Return the peers, sessions and prefixes of a value."""
        return objects(value)

    def canonical(self, value: Bgp) -> bytes:
        """Return the explicit document, which `parse` reads back."""
        return canonical(tree_of(value))

    def plan(self, want: Bgp, had: Bgp | None, seen: Observed) -> tuple[Step, ...]:
        """Return the one step to what is wanted, or nothing if it stands already."""
        detail = seen.detail
        if _stands(want, detail):
            return ()
        drifted = had is not None and not _stands(had, detail)
        items = _differences(had, want, detail, drifted=drifted)
        changes = _Changes(had, want, objects(had), items, drifted)
        held = frozenset(detail["held"]) & frozenset(protocols(want))
        text = render(want, held)
        return (_step(changes, detail, text, held),)


@dataclass(frozen=True, slots=True)
class _Changes:
    """From what to what; `drifted` = the host is not at `had`, so nothing is known to be kept.

    Shape: `existing` are the objects of `had`.
    """

    had: Bgp | None
    want: Bgp
    existing: frozenset[ObjectId]
    items: tuple[Difference, ...]
    drifted: bool

    @property
    def impact(self) -> Impact:
        return max((item.impact for item in self.items), key=lambda impact: impact.rank)

    @property
    def kernel(self) -> bool:
        """Tell whether the exchange with the kernel's table changes."""
        return self.drifted or any(one.path.startswith(f"{SECTION}.kernel.") for one in self.items)

    @property
    def routes(self) -> bool:
        """Tell whether the routes that there are to pass on may change: others bring them."""
        return self.kernel or any(
            one.hits or one.op == "+" or ".import." in one.path for one in self.items
        )


def _stands(value: Bgp, detail: Json) -> bool:
    """Tell whether the disk holds exactly this value's file, and the daemon runs it.

    Why: a protocol that was disabled by hand is rendered so; that alone is no reason to plan.
    """
    text = render(value, frozenset(detail["file_held"]))
    found = (detail["disk"], detail["running_render"])
    return found == (digest(text.encode()), render_id(text))


def _differences(
    had: Bgp | None, want: Bgp, detail: Json, *, drifted: bool
) -> tuple[Difference, ...]:
    """Return what people read; drift comes first, and may reset anything."""
    found = differences(had, want)
    unknown = had is None and detail["disk_render"] is not None
    if found and not drifted and not unknown:
        return found
    drift = Difference("~", SECTION, DRIFT, "written anew", Impact.SESSION_RESET)
    return (drift, *found)


def _step(changes: _Changes, detail: Json, text: str, held: frozenset[str]) -> Step:
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
            "text": text,
            "render": render_id(text),
            "held": sorted(held),
            "expect": _expect(changes, held),
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


def _expect(changes: _Changes, held: frozenset[str]) -> Json:
    """Return what the driver's probes look for after the step."""
    want = changes.want
    families = {session.family for _, session in want.pairs}
    return {
        "protocols": list(protocols(want)),
        "sessions": {
            peer.protocol(session): _expected(changes, peer, session, held)
            for peer, session in want.pairs
        },
        "kernel": {
            **{str(one): want.kernel.export and one in families for one in Family},
            "changed": changes.kernel,
        },
    }


def _expected(changes: _Changes, peer: Peer, session: Session, held: frozenset[str]) -> Json:
    return {
        "family": str(session.family),
        "neighbor": str(session.neighbor),
        "required": peer.required and peer.protocol(session) not in held,
        "touched": _is_touched(changes, peer, session),
        "imports": _may_import_anew(changes, peer, session),
        "exports": _may_export_anew(changes, peer, session),
        "bfd": peer.bfd,
    }


def _is_touched(changes: _Changes, peer: Peer, session: Session) -> bool:
    """Tell whether the plan adds or resets a session; after drift nobody knows."""
    one = peer.session_id(session)
    reset = any(one in item.hits for item in changes.items)
    return changes.drifted or reset or one not in changes.existing


def _may_import_anew(changes: _Changes, peer: Peer, session: Session) -> bool:
    had = _session_before(changes.had, peer, session)
    return changes.drifted or had is None or had.imports != session.imports


def _may_export_anew(changes: _Changes, peer: Peer, session: Session) -> bool:
    """Tell whether the plan changes what a session may send.

    Why: a filter of the operator's own may pass on what other peers, the kernel or our networks
    gave, so with one every such change counts.
    """
    had = _session_before(changes.had, peer, session)
    if changes.drifted or had is None or changes.had is None or had.exports != session.exports:
        return True
    if changes.had.announced(session.family) != changes.want.announced(session.family):
        return True
    return session.exports is not None and changes.routes


def _session_before(had: Bgp | None, peer: Peer, session: Session) -> Session | None:
    pairs = had.pairs if had else ()
    wanted = peer.session_id(session)
    return next((old for owner, old in pairs if owner.session_id(old) == wanted), None)
