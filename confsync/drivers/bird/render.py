"""Typed values to BIRD's configuration: a whole file, or the fragment that a main file includes.

Separate because every byte that BIRD reads is made here, purely: equal values give equal bytes,
whatever the order they were written in. A bare text cannot get into the file: templates may only
print numbers, addresses, prefixes and what `syntax` let through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Undefined

from confsync.drivers.bird import clauses, effective, options
from confsync.drivers.bird import names as naming
from confsync.drivers.bird.bgp import Bgp, Direct, Peer, Session
from confsync.drivers.bird.names import protocols, symbols
from confsync.drivers.bird.policy import Family, NamedSet, Policy
from confsync.drivers.bird.syntax import Written, quoted, symbol, verdict, word
from confsync.model.ids import digest

__all__ = ["disabled_in", "held_in", "is_intact", "protocols", "render", "render_id", "symbols"]

_WARNING: Final = "# Written by confsync; an edit by hand is reported, not kept."
_DISABLED: Final = "\n  disabled;"
_HELD: Final = f"{_DISABLED} # held by hand"
_ID_CHARS: Final = 32
_KEPT: Final = 4
_SESSIONS_KEPT: Final = 1024
_HEAD: Final = re.compile(
    rf'{re.escape(_WARNING)}\ndefine cs_render = "([0-9a-f]{{{_ID_CHARS}}})";\n', re.ASCII
)
_OFF: Final = re.compile(
    rf"^protocol \w+ '?([\w.:-]+)'? {{{_DISABLED}( # held by hand)?$", re.MULTILINE | re.ASCII
)
_PRINTED: Final = (Written, IPv4Address, IPv6Address, IPv4Network, IPv6Network, Family, Undefined)


def _finalize(value: object) -> object:
    """Refuse to print anything whose text was not made for BIRD."""
    if isinstance(value, bool):
        return Written("on" if value else "off")
    if isinstance(value, _PRINTED) or type(value) is int:
        return value
    raise TypeError(f"a template may not print a bare {type(value).__name__}")


def _quoted_list(texts: tuple[str, ...]) -> Written:
    return Written(", ".join(map(quoted, texts)))


def _indent(width: int) -> Written:
    return Written(" " * width)


def _environment() -> Environment:
    environment = Environment(  # noqa: S701 (this is no HTML; `_finalize` guards every value)
        loader=PackageLoader("confsync.drivers.bird", "templates"),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,  # templates are part of the package
    )
    environment.filters |= {
        "attributes": options.attributes,
        "bfd_neighbor": options.bfd_neighbor,
        "channel_options": options.channel_options,
        "condition": clauses.condition,
        "definitions": clauses.definitions,
        "far_end": options.far_end,
        "filter_symbol": naming.filter_symbol,
        "hops": options.hops,
        "local_end": options.local_end,
        "log": options.log,
        "options": options.peer_options,
        "quoted": quoted,
        "quoted_list": _quoted_list,
        "statements": clauses.statements,
        "symbol": symbol,
        "verdict": verdict,
        "word": word,
    }
    environment.globals |= {
        "announcer": naming.announcer,
        "comma": Written(","),
        "families": tuple(Family),
        "deeper": lambda pad: Written(f"{pad}  "),
        "indent": _indent,
        "nothing": Written(""),
        "pipe_policies": effective.pipe_policies,
        "pipe_protocol": naming.pipe_protocol,
        "semicolon": Written(";"),
        "syncer_export": effective.syncer_export,
        "syncer_import": effective.syncer_import,
        "syncer_protocol": naming.syncer_protocol,
    }
    return environment


_TEMPLATES: Final = _environment()
_FILE: Final = _TEMPLATES.get_template("bird.conf.j2")
_SESSION: Final = _TEMPLATES.get_template("session.j2")


def render(
    value: Bgp,
    held: frozenset[str] = frozenset(),
    names: Mapping[str, str] = naming.NO_NAMES,
    *,
    whole: bool = True,
) -> str:
    """Return the file; protocols in `held` stay disabled, as an operator left them.

    Shape: `names` are the names that protocols of ours go by on an adopted host, `held` are names
    as BIRD knows them; not `whole` = without what is the main file's.
    """
    return _render(value, held, tuple(sorted(names.items())), whole)


@lru_cache(maxsize=_KEPT)
def _render(
    value: Bgp, held: frozenset[str], kept: tuple[tuple[str, str], ...], whole: bool
) -> str:
    """Return the file.

    Why kept: one pass asks for the same file up to three times, and the next one for the last.
    """
    body = _FILE.render(_context(value, held, dict(kept), whole=whole))
    return f'{_WARNING}\ndefine cs_render = "{_id(body)}";\n{body}'


def _context(
    value: Bgp, held: frozenset[str], kept: Mapping[str, str], *, whole: bool
) -> dict[str, Any]:
    direct = value.direct or (Direct() if naming.needs_direct(value) else None)
    return {
        "bgp": value,
        "whole": whole,
        "names": kept,
        "sets": {one.name: one for one in value.sets},
        "head": partial(_head, held, kept),
        "device": value.daemon.device_protocol or naming.DEVICE,
        "direct": direct,
        "direct_name": (direct and direct.protocol) or naming.DIRECT,
        "bfd_name": value.bfd.protocol or naming.BFD,
        "any_interface": any(one.pattern == "*" for one in value.bfd.interfaces),
        "syncers": naming.syncers(value, whole=whole),
        "announcers": naming.announcers(value, whole=whole),
        "statics": naming.statics(value),
        "session_text": partial(_session, value, held, tuple(kept.items())),
    }


def _head(
    held: frozenset[str], kept: Mapping[str, str], kind: str, own: str, disabled: bool = False
) -> Written:
    """Return how a protocol begins: its name, and whether it stays down."""
    name = kept.get(own, own)
    state = _HELD if name in held else _DISABLED if disabled else ""
    return Written(f"protocol {word(kind)} {symbol(name)} {{{state}")


def _session(
    value: Bgp,
    held: frozenset[str],
    kept: tuple[tuple[str, str], ...],
    peer: Peer,
    session: Session,
) -> Written:
    policies = tuple(
        (
            ("import", effective.session_import(value, peer, channel)),
            ("export", effective.session_export(value, peer, channel)),
        )
        for channel in session.channels
    )
    own = peer.protocol(session)
    head = _head(held, dict(kept), "bgp", own, peer.disabled is not None)
    return _session_text(value.local_as, value.sets, kept, head, peer, session, policies)


@lru_cache(maxsize=_SESSIONS_KEPT)
def _session_text(
    local_as: int,
    sets: tuple[NamedSet, ...],
    kept: tuple[tuple[str, str], ...],
    head: Written,
    peer: Peer,
    session: Session,
    policies: tuple[tuple[tuple[str, Policy], ...], ...],
) -> Written:
    """Return one session's protocol.

    Why kept: a change touches few of hundreds of sessions.
    """
    context = {
        "local_as": local_as,
        "sets": {one.name: one for one in sets},
        "names": dict(kept),
        "head": head,
        "peer": peer,
        "session": session,
        "channels": tuple(zip(session.channels, policies, strict=True)),
    }
    return Written(_SESSION.render(context))


def render_id(text: str) -> str | None:
    """Return the id that a file of ours names in its second line; None for any other file."""
    head = _HEAD.match(text)
    return head[1] if head else None


def is_intact(text: str) -> bool:
    """Tell whether a file is ours to the last byte."""
    head = _HEAD.match(text)
    return head is not None and head[1] == _id(text[head.end() :])


def held_in(text: str) -> frozenset[str]:
    """Return the protocols that a file of ours keeps disabled because an operator did."""
    return frozenset(name for name, by_hand in _OFF.findall(text) if by_hand)


def disabled_in(text: str) -> frozenset[str]:
    """Return the protocols that a file of ours keeps disabled, for whatever reason."""
    return frozenset(name for name, _ in _OFF.findall(text))


def _id(body: str) -> str:
    return digest(body.encode())[:_ID_CHARS]
