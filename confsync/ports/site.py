"""What works beside the passes of a host: for its site, and for whoever listens.

Separate from the cut of one host because nothing of a transaction may ever wait for these.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from confsync.model.ids import Digest, Json, KeyPath, LayerPath
from confsync.model.mirror import Published, Standing
from confsync.model.snapshot import Head, Manifest
from confsync.model.writes import Entry, Write
from confsync.ports import Closing, Journal


class Companion(Closing, Protocol):
    """What works beside the passes of a host, and never for them."""

    async def run(self) -> None:
        """Work until cancelled; whatever it needs may be away."""


class Board(Closing, Protocol):
    """Where one node's report hangs for everybody to read."""

    async def post(self, report: Json) -> None:
        """Put up a report in place of the one before. Raises SourceError."""


class Fence(Protocol):
    """Proof that this agent alone acts for its site."""

    async def check(self) -> None:
        """Raise LeaseLost once another agent may act."""


class Lease(Protocol):
    """Who acts for a site; it never guards a host, a lock on its own disk does.

    Shape: `trouble` is why it could not be asked for last (empty = it could).
    """

    trouble: str

    def hold(self, name: str) -> AbstractAsyncContextManager[Fence]:
        """Wait until this agent alone holds the name in its site, and hold it while inside."""


class SiteJournal(Journal, Protocol):
    """The journal of a site, written only while its lease is held.

    A write under a lost lease raises JournalLost: the next holder ends what is open.
    """

    async def read(self) -> None:
        """Read all that earlier holders wrote.

        Raises: JournalDamaged, JournalTooNew, SourceError.
        """

    async def accept(self) -> None:
        """Take the site as it is: forget what is open and what was applied."""


class Home(Closing, Protocol):
    """The datacenter where changes are published, from far."""

    site: str

    def wakes(self) -> AsyncGenerator[None, None]:
        """Yield whenever something may have been published; a home that is away is no error."""

    async def published(self, since: Head | None) -> Published | None:
        """Return what differs from a head that was copied, all for None; None = nobody ever pushed.

        Raises: SourceError; HomeMoved.
        """

    async def texts(self, digests: Collection[Digest]) -> Mapping[Digest, bytes]:
        """Return texts, each as its digest says. Raises SourceError, Torn for one that is gone."""


class Mirror(Closing, Protocol):
    """The copy in this datacenter; every write holds only while the fence does."""

    site: str

    def wakes(self) -> AsyncGenerator[None, None]:
        """Yield whenever a document here may have changed."""

    async def standing(self) -> Standing:
        """Return how far the copy is. Raises SourceError."""

    async def manifests(self, layers: Collection[LayerPath]) -> Mapping[LayerPath, Manifest]:
        """Return the manifests of layers, where there are. Raises SourceError."""

    async def entries(self, keys: Collection[KeyPath]) -> Mapping[KeyPath, Entry]:
        """Return single keys, and all below those that end with a slash. Raises SourceError."""

    async def tree(self) -> tuple[Mapping[LayerPath, Manifest], Mapping[KeyPath, Entry]]:
        """Return all manifests and documents, of one moment. Raises SourceError."""

    async def copy(
        self,
        fence: Fence,
        standing: Standing,
        head: Head,
        prepare: Sequence[Write],
        writes: Sequence[Write],
    ) -> None:
        """Write a copy whole, or so that another agent can finish it; its record goes last.

        Raises: LeaseLost, Conflict, SourceError.
        """

    async def note(self, fence: Fence, writes: Sequence[Write]) -> None:
        """Write keys that no reader goes by, in one transaction. Raises as `copy`."""
