"""What a channel's policy comes to: the defaults of what was not said, and what lies over it.

Separate because a guard, a drain, or the source address of a kernel's routes, is no filter of the
document's, yet must hold in each filter that a channel uses. All is values: what is here can be
rendered, compared and asked about like a filter that somebody wrote.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from confsync.drivers.bird import guards
from confsync.drivers.bird.bgp import Bgp, Channel, Peer, Pipe, Syncer
from confsync.drivers.bird.names import announcer
from confsync.drivers.bird.policy import (
    Action,
    Changes,
    Family,
    Filter,
    Foreign,
    Match,
    Named,
    Policy,
    Range,
    Rule,
)

ALL: Final = Filter((), permit=True)
NONE: Final = Filter((), permit=False)
FROM_BGP: Final = Filter((Rule(Match(sources=("bgp",)), Action.PERMIT),), permit=False)

# Source: RFC 8326. A neighbour that knows the community, and our own AS, prefer any other path.
GRACEFUL_SHUTDOWN: Final = Changes(add_communities=(guards.GRACEFUL_SHUTDOWN,))
LEAST_PREFERRED: Final = Changes(local_pref=0)


def session_import(value: Bgp, peer: Peer, channel: Channel) -> Policy:
    """Return what a peer's routes pass on their way in."""
    policy = channel.imports
    if policy is None:
        policy = _all_but_default(channel.family) if value.internal(peer) else NONE
    if peer.guard and policy != NONE:
        policy = _guarded(value, peer, policy, channel.family)
    if drained(value, peer) and not value.internal(peer):
        return _finally(value, policy, channel.family, LEAST_PREFERRED)
    return policy


def session_export(value: Bgp, peer: Peer, channel: Channel) -> Policy:
    """Return what our routes pass on their way to a peer."""
    policy = channel.exports
    if policy is None:
        policy = _announced(channel.family) if value.internal(peer) else NONE
    if not drained(value, peer):
        return policy
    changes = LEAST_PREFERRED if value.internal(peer) else GRACEFUL_SHUTDOWN
    return _finally(value, policy, channel.family, changes)


def syncer_import(one: Syncer) -> Policy:
    """Return which of the kernel's routes come to us."""
    return NONE if one.imports is None else one.imports


def syncer_export(value: Bgp, one: Syncer) -> Policy:
    """Return which routes go to the kernel; a rule's own source address goes before the table's."""
    policy = FROM_BGP if one.exports is None else one.exports
    if one.source_address is None or policy == NONE:
        return policy
    written = _written(value, policy, one.family)
    first = Rule(Match(), Action.NEXT, Changes(source_address=one.source_address))
    return replace(written, rules=(first, *written.rules))


def pipe_policies(one: Pipe) -> tuple[tuple[str, Policy], ...]:
    """Return what passes a pipe, by BIRD's word for the way: `import` is from the peer table."""
    return (
        ("import", NONE if one.imports is None else one.imports),
        ("export", NONE if one.exports is None else one.exports),
    )


def drained(value: Bgp, peer: Peer) -> bool:
    """Tell whether traffic is asked to leave a peer's sessions."""
    return value.drain is not None or peer.drain is not None


def overlaid(value: Bgp, peer: Peer, channel: Channel) -> tuple[Policy, ...]:
    """Return the policies of a channel that a drain lies over; a foreign one cannot be."""
    if not drained(value, peer):
        return ()
    said = (channel.exports,) if value.internal(peer) else (channel.imports, channel.exports)
    return tuple(policy for policy in said if policy is not None)


def _guarded(value: Bgp, peer: Peer, policy: Policy, family: Family) -> Filter:
    """Return a policy that refuses before it asks, and obeys whatever it prefers.

    Why a rule is parted: what it prefers must not hide that the neighbour is about to go; a
    function of another hand's has the last word.
    """
    written = _written(value, policy, family)
    own = value.local_as if peer.local_as is None else peer.local_as
    before = guards.denials(peer.guard, family, own)
    if guards.SHUTDOWN not in peer.guard:
        return replace(written, rules=(*before, *written.rules))
    parted = tuple(part for rule in written.rules for part in _obedient(rule))
    return replace(written, rules=(*before, guards.OBEY_SHUTDOWN, *parted))


def _obedient(rule: Rule) -> tuple[Rule, ...]:
    """Return a rule whose preference yields to the neighbour's own word."""
    made = rule.changes
    if made is None or made.local_pref is None or made.call:
        return (rule,)
    prefers = Rule(rule.match, Action.NEXT, Changes(local_pref=made.local_pref))
    return (prefers, guards.OBEY_SHUTDOWN, replace(rule, changes=replace(made, local_pref=None)))


def _all_but_default(family: Family) -> Filter:
    net = family.default_route
    return Filter((Rule(Match(prefixes=(Range(net, 0, 0),)), Action.DENY),), permit=True)


def _announced(family: Family) -> Filter:
    return Filter((Rule(Match(protocols=(announcer(family),)), Action.PERMIT),), permit=False)


def _written(value: Bgp, policy: Policy, family: Family) -> Filter:
    """Return the rules of a policy. Raises: ValueError for those that we cannot know."""
    match policy:
        case Filter():
            return policy
        case Foreign():
            raise ValueError("the rules of another hand's filter cannot be added to")
        case Named(name):
            return named(value, name, family)


def named(value: Bgp, name: str, family: Family) -> Filter:
    """Return one family's half of a named filter. Raises: ValueError when there is none."""
    found = (getattr(one, family) for one in value.filters if one.name == name)
    chosen: Filter | None = next(found, None)
    if chosen is None:
        raise ValueError(f"no filter of this name for {family}")
    return chosen


def _finally(value: Bgp, policy: Policy, family: Family, last: Changes) -> Filter:
    """Return a policy that makes its last changes to each route that it permits."""
    written = _written(value, policy, family)
    rules = tuple(_with(rule, last) for rule in written.rules)
    if not written.permit:
        return Filter(rules, permit=False)
    return Filter((*rules, Rule(Match(), Action.NEXT, last)), permit=True)


def _with(rule: Rule, last: Changes) -> Rule:
    if rule.action is not Action.PERMIT:
        return rule
    own = rule.changes or Changes()
    return replace(
        rule,
        changes=replace(
            own,
            local_pref=own.local_pref if last.local_pref is None else last.local_pref,
            add_communities=(*own.add_communities, *last.add_communities),
        ),
    )
