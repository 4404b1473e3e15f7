"""Guards across sections: what a plan may take away in one change, and what needs a name.

Separate because guards count objects and leaves and know no section's words; each refusal names
the allowance that lifts it, and all refusals are given at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from confsync.model.errors import PlanRefused
from confsync.model.ids import Json, KeyPath, ObjectId, Path, Tree
from confsync.model.limits import GUARD_LEAVES
from confsync.model.plan import Impact, Plan

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Budgets:
    """What one change may do without being allowed by name."""

    max_removed_peers: int = 1
    max_removed_volumes: int = 1
    max_removed_percent: int = 30
    all_sessions_of_a_family: bool = False


def refusals(
    plan: Plan,
    had_inventory: AbstractSet[ObjectId],
    want_inventory: AbstractSet[ObjectId],
    had_tree: Tree,
    want_tree: Tree,
    budgets: Budgets,
    allowances: Collection[str],
) -> tuple[PlanRefused, ...]:
    """Return every guard against a plan; where nothing was applied yet, the steps' own."""
    gone = had_inventory - want_inventory
    hit = {
        item
        for difference in plan.differences
        if difference.impact is not Impact.HITLESS
        for item in difference.hits
    }
    found = (
        *_removed_objects(had_inventory, gone, budgets),
        *_removed_leaves(had_tree, want_tree, budgets),
        *_interrupted(had_inventory, gone | hit, budgets),
        *(PlanRefused(*guard) for step in plan.steps for guard in step.guards),
    )
    return tuple(refusal for refusal in found if not _allowed(refusal, allowances))


def vanished(missing: Collection[KeyPath], allowances: Collection[str]) -> tuple[PlanRefused, ...]:
    """Return a refusal for each key that is gone without anybody having said so."""
    found = (
        PlanRefused(
            "vanished",
            key,
            f"{key} is gone, and nothing is concluded from absence; write null for what shall go "
            f"(`confsync push` writes what is left)",
        )
        for key in missing
    )
    return tuple(refusal for refusal in found if not _allowed(refusal, allowances))


def went_back(lower: Collection[KeyPath], allowances: Collection[str]) -> tuple[PlanRefused, ...]:
    """Return a refusal for each key that tells of an older change than was seen before."""
    found = (
        PlanRefused(
            "older", key, f"{key} is older than what was seen before, as after a restored backup"
        )
        for key in lower
    )
    return tuple(refusal for refusal in found if not _allowed(refusal, allowances))


def moved(
    pinned: Mapping[str, str] | None, names: Mapping[str, str], allowances: Collection[str]
) -> tuple[PlanRefused, ...]:
    """Return a refusal for each name of this host that is not what it was."""
    if pinned is None:
        return ()
    found = (
        PlanRefused(
            "identity",
            name,
            f"this host was {name} {pinned.get(name) or '(none)'} when it was configured, and is "
            f"now said to be {names.get(name) or '(none)'}: mend confsync's settings, or confirm "
            f"it with confsync apply",
        )
        for name in sorted({*pinned, *names})
        if pinned.get(name) != names.get(name)
    )
    return tuple(refusal for refusal in found if not _allowed(refusal, allowances))


def _allowed(refusal: PlanRefused, allowances: Collection[str]) -> bool:
    return bool({f"{refusal.rule}:{refusal.place}", f"{refusal.rule}:*"} & set(allowances))


def _removed_objects(
    had: AbstractSet[ObjectId], gone: AbstractSet[ObjectId], budgets: Budgets
) -> Iterator[PlanRefused]:
    allowed = {"peer": budgets.max_removed_peers, "volume": budgets.max_removed_volumes}
    for kind, at_most in allowed.items():
        for group, before in _groups(had, kind).items():
            lost = before & gone
            if len(lost) > at_most:
                yield PlanRefused(
                    "mass_removal",
                    group,
                    f"{len(lost)} of {len(before)} {group} would go ({_names(lost)}); "
                    f"one change may remove {at_most}",
                )


def _removed_leaves(had: Tree, want: Tree, budgets: Budgets) -> Iterator[PlanRefused]:
    for section, tree in had.items():
        before = set(_leaves(tree))
        lost = len(before - set(_leaves(want.get(section, {}))))
        if len(before) < GUARD_LEAVES or lost * 100 <= len(before) * budgets.max_removed_percent:
            continue
        yield PlanRefused(
            "mass_removal",
            section,
            f"{lost} of {len(before)} values of {section} would go; "
            f"one change may remove {budgets.max_removed_percent} %",
        )


def _interrupted(
    had: AbstractSet[ObjectId], disturbed: AbstractSet[ObjectId], budgets: Budgets
) -> Iterator[PlanRefused]:
    if budgets.all_sessions_of_a_family:
        return
    for group, before in _groups(had, "session").items():
        if before <= disturbed:
            yield PlanRefused(
                "all_sessions",
                group,
                f"every session of {group} would be interrupted at once ({_names(before)})",
            )


def _groups(items: AbstractSet[ObjectId], kind: str) -> Mapping[str, AbstractSet[ObjectId]]:
    names = sorted({item.group for item in items if item.kind == kind})
    return {
        name: {item for item in items if (item.kind, item.group) == (kind, name)} for name in names
    }


def _names(items: AbstractSet[ObjectId]) -> str:
    names = sorted(item.name for item in items)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _leaves(value: Json, at: Path = ()) -> Iterator[Path]:
    """Yield the path of each scalar; those of a list count one by one."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*at, name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*at, index))
    else:
        yield at
