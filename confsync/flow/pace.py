"""When a change that users notice is carried out: not on every host in the same second.

Separate because it is one decision over two numbers and a name. The wait is stable per node and
revision, so that neither a restart of the pass nor a second look changes the moment.
"""

from __future__ import annotations

from confsync.model.ids import Digest, digest

_SHARE_DIGITS = 8


class Pace:
    """Spreads one revision over the hosts. Units: seconds of the loop's clock."""

    def __init__(self, node: str, splay_s: float) -> None:
        self._node = node
        self._splay_s = splay_s
        self._first: tuple[Digest | None, float] = (None, 0.0)

    def wait_s(self, revision: Digest, now_s: float) -> float:
        """Return how long a revision still waits here, counted from when it was first ready."""
        if self._first[0] != revision:
            self._first = (revision, now_s)
        return max(0.0, self._first[1] + share(self._node, revision) * self._splay_s - now_s)

    def done(self) -> None:
        """Take note that nothing waits: what comes next, waits anew."""
        self._first = (None, 0.0)


def share(node: str, revision: Digest) -> float:
    """Return which part of the splay this node waits, from 0 to below 1."""
    mixed = digest(f"{node} {revision}".encode())[:_SHARE_DIGITS]
    return int(mixed, 16) / float(1 << 4 * _SHARE_DIGITS)
