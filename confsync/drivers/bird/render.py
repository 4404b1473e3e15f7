"""Typed values to BIRD's one complete configuration file (2.0.12).

Separate because every byte that BIRD reads is made here, purely: equal values give equal bytes,
whatever the order they were written in. A bare text cannot get into the file: templates may only
print numbers, addresses, prefixes and what `quoted`, `symbol` or `word` let through.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Undefined

from confsync.drivers.bird.bgp import Bgp, Family
from confsync.model.ids import digest
from confsync.model.limits import BGP_PATH_BYTES, BIRD_SYMBOL_CHARS

_WARNING: Final = "# Written by confsync; an edit by hand is reported, not kept."
_HELD: Final = "  disabled; # held by hand"
_ID_CHARS: Final = 32
_KEPT: Final = 4
_HEAD: Final = re.compile(
    rf'{re.escape(_WARNING)}\ndefine cs_render = "([0-9a-f]{{{_ID_CHARS}}})";\n', re.ASCII
)
_HELD_NAMES: Final = re.compile(
    rf"^protocol \w+ (\w+) {{\n{re.escape(_HELD)}$", re.MULTILINE | re.ASCII
)
_SYMBOL: Final = re.compile(rf"cs_[A-Za-z0-9_]{{1,{BIRD_SYMBOL_CHARS - 3}}}", re.ASCII)
_WORDS: Final = frozenset({"all", "none", "multihop", "direct", "{", "}"})


class Written(str):
    """Text that is BIRD's syntax already."""

    __slots__ = ()


def quoted(text: str) -> Written:
    """Return a text between BIRD's quotes, which know no escapes.

    Raises: ValueError for what cannot stand there; the model refuses it long before.
    """
    if '"' in text or not text.isprintable() or len(text.encode()) > 4 * BGP_PATH_BYTES:
        raise ValueError("this text cannot be quoted for BIRD")
    return Written(f'"{text}"')


def symbol(name: str) -> Written:
    """Return the name of one of our protocols; the prefix keeps it off BIRD's keywords."""
    if not _SYMBOL.fullmatch(name):
        raise ValueError("this is not a name of ours")
    return Written(name)


def word(text: str) -> Written:
    """Return one of the few words that templates choose between."""
    if text not in _WORDS:
        raise ValueError("this is not a word that templates may choose")
    return Written(text)


def verdict(permit: bool) -> Written:
    """Return how a filter ends."""
    return Written("accept" if permit else "reject")


_PRINTED: Final = (Written, IPv4Address, IPv6Address, IPv4Network, IPv6Network, Family, Undefined)


def _finalize(value: object) -> object:
    """Refuse to print anything whose text was not made for BIRD."""
    if isinstance(value, bool):
        return Written("yes" if value else "no")
    if isinstance(value, _PRINTED) or type(value) is int:
        return value
    raise TypeError(f"a template may not print a bare {type(value).__name__}")


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
    environment.filters |= {"quoted": quoted, "symbol": symbol, "word": word, "verdict": verdict}
    return environment


_TEMPLATE: Final = _environment().get_template("bird.conf.j2")


@lru_cache(maxsize=_KEPT)
def render(value: Bgp, held: frozenset[str] = frozenset()) -> str:
    """Return the whole file; protocols in `held` stay disabled, as an operator left them.

    Why kept: one pass asks for the same file up to three times, and the next one for the last.
    """

    def hold(name: str) -> Written:
        return Written(f"{_HELD}\n" if name in held else "")

    body = _TEMPLATE.render(bgp=value, families=tuple(Family), multihop=_multihop(value), hold=hold)
    return f'{_WARNING}\ndefine cs_render = "{_id(body)}";\n{body}'


def render_id(text: str) -> str | None:
    """Return the id that a file of ours names in its second line; None for any other file."""
    head = _HEAD.match(text)
    return head[1] if head else None


def is_intact(text: str) -> bool:
    """Tell whether a file is ours to the last byte."""
    head = _HEAD.match(text)
    return head is not None and head[1] == _id(text[head.end() :])


def held_in(text: str) -> frozenset[str]:
    """Return the protocols that a file of ours keeps disabled."""
    return frozenset(_HELD_NAMES.findall(text))


def protocols(value: Bgp) -> tuple[str, ...]:
    """Return the names of all protocols that the file defines, in its order."""
    return (
        "cs_device",
        *(("cs_direct",) if _multihop(value) else ()),
        *("cs_kernel4", "cs_kernel6", "cs_announce4", "cs_announce6", "cs_bfd"),
        *(peer.protocol(session) for peer, session in value.pairs),
    )


def _multihop(value: Bgp) -> bool:
    """Tell whether next hops must be resolved over the host's own networks."""
    return any(peer.multihop for peer in value.peers)


def _id(body: str) -> str:
    return digest(body.encode())[:_ID_CHARS]
