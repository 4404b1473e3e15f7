"""How a group's free extents are shared out among what is to be made and grown.

Separate because shares depend on everything else that a plan takes: first what has a size of its
own, then the shares of what is left; headroom is never touched. The order of names decides nothing
but who is told that it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from confsync.drivers.lvm.sizes import exact, extents_of, told
from confsync.drivers.lvm.storage import WantedVolume
from confsync.model.errors import Violation


@dataclass(frozen=True, slots=True)
class Wish:
    """What one volume wants: so many extents in all, of which it has some; a share if `extents` 0.

    Shape: `has` 0 = it is to be made.
    """

    volume: WantedVolume
    extents: int
    has: int = 0

    @property
    def more(self) -> int:
        return self.extents - self.has


@dataclass(frozen=True, slots=True)
class Space:
    """A group's extents, those of devices that come to it included."""

    extent_bytes: int
    extents: int
    free: int
    headroom_bytes: int

    def wish(self, volume: WantedVolume, has: int = 0) -> Wish:
        """Return what a size means here; a share of what is free is told later."""
        size = volume.size
        if size.of == "VG":
            return Wish(volume, max(1, self.extents * size.percent // 100), has)
        return Wish(volume, extents_of(size.size_bytes, self.extent_bytes), has)

    def share(self, wishes: list[Wish]) -> tuple[list[Wish], list[Violation]]:
        """Return the wishes that can be met, shares resolved, and what stands against others."""
        spare = self.free - extents_of(self.headroom_bytes, self.extent_bytes)
        met: list[Wish] = []
        faults: list[Violation] = []
        for wish in wishes:
            if not wish.extents:
                continue
            if wish.more > spare:
                faults.append(self._too_much(wish, spare))
            else:
                spare -= wish.more
                met.append(wish)
        shares = [wish.volume for wish in wishes if not wish.extents]
        faults.extend(_over_all(shares))
        for volume in () if faults else shares:
            extents = max(0, spare) * volume.size.percent // 100
            if extents:
                met.append(Wish(volume, extents))
            else:
                faults.append(self._too_much(Wish(volume, 0), spare))
        return met, faults

    def stays(self, met: list[Wish]) -> str:
        """Return in words what is free after all that is met."""
        left = self.free - sum(wish.more for wish in met)
        return f"{told(left * self.extent_bytes)} stay free" if left else "nothing stays free"

    def told(self, extents: int) -> str:
        """Return so many extents as people read them."""
        return told(extents * self.extent_bytes)

    def _too_much(self, wish: Wish, spare: int) -> Violation:
        wanted = self.told(wish.more) if wish.extents else str(wish.volume.size)
        headroom = (
            f", {told(self.headroom_bytes)} of it are headroom" if self.headroom_bytes else ""
        )
        message = f"{wanted} more are wanted, {self.told(self.free)} are free{headroom}"
        most = exact((wish.has + spare) * self.extent_bytes)
        hint = f"use at most {most}" if spare > 0 else "add a device"
        return Violation("CS-V161", wish.volume.at.place("size"), message, hint)


def _over_all(shares: list[WantedVolume]) -> Iterator[Violation]:
    """Yield a fault where shares come to more than all."""
    total = 0
    for volume in shares:
        total += volume.size.percent
        if total > 100:  # noqa: PLR2004 - percent
            others = ", ".join(one.name for one in shares if one is not volume)
            message = f"with {others} it comes to {total}% of what is free"
            hint = "give a size to all but one"
            yield Violation("CS-V124", volume.at.place("size"), message, hint)
