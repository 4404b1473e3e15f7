"""What policies let pass, as far as a document shows it.

Separate because rules refuse by these answers and doubts tell by them; what cannot be known for
certain might be.
"""

from __future__ import annotations

from collections.abc import Iterator

from confsync.drivers.bird.bgp import Bgp, Channel, Peer
from confsync.drivers.bird.policy import (
    Action,
    Family,
    Filter,
    Match,
    Named,
    Network,
    Policy,
    Range,
    family_of,
)


def channels(value: Bgp) -> Iterator[tuple[Peer, Channel]]:
    """Yield every channel with its peer."""
    for peer, session in value.pairs:
        yield from ((peer, channel) for channel in session.channels)


def may_permit(value: Bgp, policy: Policy | None, prefix: Network) -> bool:
    """Tell whether a policy lets a prefix of our own pass; what cannot be known might.

    Why a foreign filter counts as strict: nothing is known of it, and refusing all would refuse
    every host that has one.
    """
    if policy is None:
        return False
    rules = rules_of(value, policy, family_of(prefix))
    for rule in rules.rules if rules else ():
        sure, maybe = _meets(value, rule.match, prefix)
        if not maybe or rule.action is Action.NEXT:
            continue
        if rule.action is Action.PERMIT:
            return True
        if sure:
            return False
    return rules is not None and rules.permit


def rules_of(value: Bgp, policy: Policy, family: Family) -> Filter | None:
    """Return the rules of a policy; None where they are another hand's, or not there at all."""
    if isinstance(policy, Named):
        found = (getattr(one, family) for one in value.filters if one.name == policy.filter)
        return next(found, None)
    return policy if isinstance(policy, Filter) else None


def _meets(value: Bgp, match: Match, prefix: Network) -> tuple[bool, bool]:
    """Tell whether a prefix meets a rule for certain, and whether it may."""
    ranges: tuple[Range, ...] = match.prefixes
    if match.prefix_set:
        found = next((one for one in value.sets if one.name == match.prefix_set), None)
        ranges += getattr(found, str(family_of(prefix)), ())
    asks_prefix = bool(match.prefixes or match.prefix_set)
    if asks_prefix and not any(one.matches(prefix) for one in ranges):
        return False, False
    if match.length and not match.length[0] <= prefix.prefixlen <= match.length[1]:
        return False, False
    only = Match(match.prefixes, match.prefix_set, match.length)
    return match == only, True
