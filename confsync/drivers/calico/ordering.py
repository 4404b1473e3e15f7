"""In which order objects are written and deleted.

Separate because it is what keeps a site safe between two writes: a rule finds its sets, and an
interface is not protected before the policies are there that allow what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from confsync.drivers.calico.resources import Kind, ObjectKey

_RANKS: Final = {
    Kind.GLOBAL_SET: 0,
    Kind.SET: 0,
    Kind.GLOBAL_POLICY: 1,
    Kind.POLICY: 1,
    Kind.HOST_ENDPOINT: 2,
    Kind.FELIX: 3,
}


def in_order(
    written: Iterable[ObjectKey], deleted: Iterable[ObjectKey] = ()
) -> tuple[ObjectKey, ...]:
    """Return keys as they are worked on: what is written, then what is deleted, from the end.

    Why: while an old HostEndpoint still stands, so do the policies that allow it something.
    """
    ahead = sorted(written, key=_place)
    back = sorted(deleted, key=_place, reverse=True)
    return (*ahead, *back)


def _place(key: ObjectKey) -> tuple[int, ObjectKey]:
    return _RANKS[key.kind], key
