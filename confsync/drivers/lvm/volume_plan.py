"""What is to be done about one volume: made, kept, grown, retired, removed, or left alone.

Separate because each volume is judged by itself: one that is not ours never holds up another.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from confsync.drivers.lvm.draft import Draft, change
from confsync.drivers.lvm.found import Host, Volume
from confsync.drivers.lvm.mount_plan import plan_mounts, plan_unmounts
from confsync.drivers.lvm.names import LVM_CHARS, Trash, trash_of, unfit
from confsync.drivers.lvm.rules import XFS_MIN_BYTES, device_name
from confsync.drivers.lvm.sizes import exact, fills, told
from confsync.drivers.lvm.space import Space, Wish
from confsync.drivers.lvm.step import (
    MANAGED,
    Activate,
    ChangeTags,
    CreateVolume,
    ExtendVolume,
    FileSystem,
    GrowFileSystem,
    MakeFileSystem,
    Remove,
    Retire,
)
from confsync.drivers.lvm.storage import WantedVolume, object_id
from confsync.model.limits import RETIRED_KEPT_S
from confsync.model.plan import Difference, Impact

ID: Final = "confsync.id="
_DAYS: Final = RETIRED_KEPT_S // 86_400
_LATER: Final = "grows once it is mounted"
_GROWING: Final = (FileSystem.XFS, FileSystem.EXT4)


def is_owned(host: Host, volume: Volume) -> bool:
    """Tell whether a volume is ours: by its tag, or since it was taken over."""
    return MANAGED in volume.tags or volume.uuid in host.adopted


class VolumePlan:
    """Plans the volumes of one group; what needs room is settled when all of them are known."""

    def __init__(self, draft: Draft, space: Space) -> None:
        self._draft = draft
        self._space = space
        self._live = {one.name: one for one in draft.group.volumes} if draft.group else {}
        self._wishes: list[Wish] = []

    def volume(self, want: WantedVolume, before: WantedVolume | None) -> None:
        """Plan one volume; `before` is what was wanted of it before."""
        live = self._live.get(want.name)
        if want.remove:
            self._remove(want)
        if live is None:
            if not want.retire:
                self._make(want)
            elif not want.remove:
                self._tell_trash(want)
        elif not is_owned(self._draft.host, live):
            self._note(want, "is there and is not ours, it is left alone: confsync adopt lvm")
        elif live.layout == "linear" and not self._is_another(want, live):
            if want.retire:
                self._retire(want, live)
            else:
                self._keep(want, live, before)

    def settle(self) -> None:
        """Share the group's free extents out, and plan what gets some."""
        met, faults = self._space.share(self._wishes)
        self._draft.faults.extend(faults)
        stays = self._space.stays(met)
        for wish in met:
            if wish.has:
                self._grow(wish, self._live[wish.volume.name], stays)
            elif self._is_large_enough(wish):
                self._create(wish, stays)

    # --- what is not there

    def _make(self, want: WantedVolume) -> None:
        place = want.at.place()
        if why := unfit(want.name):
            self._draft.refuse("CS-V155", place, f"{want.name} cannot be made", why)
        made = [one.name for one in self._live.values() if f"{ID}{want.name}" in one.tags]
        if renamed := [name for name in made if trash_of(name) is None]:
            self._refuse_renamed(want, renamed[0], want.name)
            return
        if self._refuses_retired(want):
            return
        self._wishes.append(self._space.wish(want))
        plan_mounts(self._draft, want, None)

    def _create(self, wish: Wish, stays: str) -> None:
        want = wish.volume
        tags = (MANAGED, f"{ID}{want.name}", *want.tags)
        act = CreateVolume(
            **self._draft.base, lv=want.name, extents=wish.extents, fs=want.fs, tags=tags
        )
        words = [self._space.told(wish.extents)]
        words += [str(want.fs)] if want.fs is not FileSystem.NONE else []
        note = f"{self._rounded(wish)}{stays}"
        shown = change(self._path(want), None, ", ".join(words), note=note)
        self._draft.add(act, self._target(want), shown)

    def _is_large_enough(self, wish: Wish) -> bool:
        size_bytes = wish.extents * self._space.extent_bytes
        if wish.volume.fs is not FileSystem.XFS or size_bytes >= XFS_MIN_BYTES:
            return True
        place = wish.volume.at.place("size")
        hint = f"xfs wants {told(XFS_MIN_BYTES)} or more"
        self._draft.refuse("CS-V127", place, f"it would get {told(size_bytes)}", hint)
        return False

    def _rounded(self, wish: Wish) -> str:
        size = wish.volume.size
        if size.percent or not size.size_bytes % self._space.extent_bytes:
            return ""
        return f"{size} is rounded up to {wish.extents} extents; "

    # --- what is there, and ours

    def _is_another(self, want: WantedVolume, live: Volume) -> bool:
        """Refuse a volume that bears our name and is not the one that we know."""
        path = self._target(want)
        if (known := self._draft.host.known.get(path, live.uuid)) != live.uuid:
            message = f"{path} is another volume than before ({live.uuid} in place of {known})"
            hint = "take it over if it is right: confsync adopt lvm"
            self._draft.refuse("CS-V158", want.at.place(), message, hint)
            return True
        made_as = [tag.removeprefix(ID) for tag in live.tags if tag.startswith(ID)]
        if made_as and want.name not in made_as:
            self._refuse_renamed(want, live.name, made_as[0])
            return True
        return False

    def _refuse_renamed(self, want: WantedVolume, now: str, once: str) -> None:
        vg = self._draft.vg
        message = f"{vg}/{once} is called {now} now, by another hand"
        hint = f"give it its name back: lvrename {vg} {now} {once}"
        self._draft.refuse("CS-V157", want.at.place(), message, hint)

    def _refuses_retired(self, want: WantedVolume) -> bool:
        """Refuse to make a volume anew whose data is still there under a retired one's name.

        Why: whoever names it again most likely wants what was in it, and an empty file system in
        its place would look like a lost one.
        """
        trashed = [(one, trash_of(one.name)) for one in self._live.values()]
        found = [(one, trash) for one, trash in trashed if trash and trash.name == want.name]
        for one, trash in found:
            vg, name = self._draft.vg, want.name
            message = f"{vg}/{name} was retired as {one.name}, with all that is in it"
            hint = (
                f"to have it back: lvrename {vg} {one.name} {name} && lvchange --setautoactivation "
                f"y {vg}/{name}; to end it after {_moment(trash.due)}: remove: {one.uuid}"
            )
            self._draft.refuse("CS-V163", want.at.place(), message, hint)
        return bool(found)

    def _keep(self, want: WantedVolume, live: Volume, before: WantedVolume | None) -> None:
        self._tags(want, live, before)
        if not live.active:
            act = Activate(**self._draft.base, lv=live.name, lv_uuid=live.uuid)
            shown = change(self._path(want), "inactive", "active")
            self._draft.add(act, self._target(want), shown)
        if not self._file_system_fits(want, live, before):
            return
        self._size(want, live)
        plan_mounts(self._draft, want, live)

    def _tags(self, want: WantedVolume, live: Volume, before: WantedVolume | None) -> None:
        named = {MANAGED, f"{ID}{want.name}", *want.tags}
        gone = set(before.tags) - set(want.tags) if before else set()
        new = tuple(sorted((set(live.tags) | named) - gone))
        if new == tuple(sorted(live.tags)):
            return
        act = ChangeTags(
            **self._draft.base, lv=live.name, lv_uuid=live.uuid, old=live.tags, new=new
        )
        shown = change(f"{self._path(want)}.tags", list(live.tags), list(new))
        self._draft.add(act, self._target(want), shown)

    def _file_system_fits(
        self, want: WantedVolume, live: Volume, before: WantedVolume | None
    ) -> bool:
        """Plan a file system where none was wanted before; refuse to put one in another's place.

        Why only there: one that cannot be found any more may be damaged, and making it anew as the
        repair of a drift would be the end of it.
        """
        if want.fs is FileSystem.NONE or live.fs in (None, str(want.fs)):
            return True
        place = want.at.place("fs")
        retire = "retire the volume and make another"
        if live.fs:
            message = f"it holds {live.fs}, and {want.fs} is wanted"
            hint = f"a file system is never replaced: {retire}"
            self._draft.refuse("CS-V141", place, message, hint)
        elif live.open:
            message = f"it is in use as it is, and no {want.fs} is made on it"
            self._draft.refuse("CS-V159", place, message, "stop what uses it first")
        elif before is None or before.fs is not FileSystem.NONE:
            message = f"no {want.fs} is found on it, though it should hold one"
            hint = f"it may be damaged: mend it by hand, or {retire}"
            self._draft.refuse("CS-V163", place, message, hint)
        else:
            act = MakeFileSystem(**self._draft.base, lv=live.name, lv_uuid=live.uuid, fs=want.fs)
            note = "what lies on it without a signature is lost"
            shown = change(f"{self._path(want)}.fs", None, str(want.fs), Impact.DATA_LOSS, note)
            self._draft.add(act, self._target(want), shown)
            return True
        return False

    def _size(self, want: WantedVolume, live: Volume) -> None:
        """Plan growth; a share was resolved when the volume was made."""
        wish = self._space.wish(want, live.extents)
        if want.size.percent or wish.more == 0:
            self._fill(want, live)
        elif wish.more < 0:
            there, wanted = self._space.told(live.extents), self._space.told(wish.extents)
            message = f"{there} are there, and {wanted} are wanted"
            size = exact(live.extents * self._space.extent_bytes)
            hint = f"a volume is never made smaller; say {size}"
            self._draft.refuse("CS-V021", want.at.place("size"), message, hint)
        elif want.fs is FileSystem.SWAP and live.fs != "":
            message = "swap space does not grow"
            hint = "retire the volume and make another"
            self._draft.refuse("CS-V143", want.at.place("size"), message, hint)
        elif self._grows_blindly(want, live):
            self._wishes.append(wish)
        elif want.mount:
            self._note(want, _LATER)
        else:
            message = f"its {want.fs} grows only while it is mounted"
            self._draft.refuse("CS-V142", want.at.place("size"), message, "mount it first")

    def _grows_blindly(self, want: WantedVolume, live: Volume) -> bool:
        """Tell whether a volume may grow now: it has no file system of ours, or a mounted one."""
        return want.fs is FileSystem.NONE or live.fs == "" or bool(_mounted(live))

    def _grow(self, wish: Wish, live: Volume, stays: str) -> None:
        want = wish.volume
        grows = want.fs in _GROWING and live.fs == str(want.fs)
        act = ExtendVolume(
            **self._draft.base,
            lv=live.name,
            lv_uuid=live.uuid,
            old_extents=live.extents,
            new_extents=wish.extents,
            segments=live.segments,
            fs=want.fs if grows else FileSystem.NONE,
            mount=_mounted(live) if grows else "",
        )
        before, after = self._space.told(live.extents), self._space.told(wish.extents)
        note = f"{self._rounded(wish)}{stays}"
        shown = change(self._path(want), before, after, Impact.ONLINE_GROW, note)
        self._draft.add(act, self._target(want), shown)

    def _fill(self, want: WantedVolume, live: Volume) -> None:
        """Let a file system grow that its volume has outgrown: a commit that was cut off."""
        grows = want.fs in _GROWING and live.fs == str(want.fs) and live.fs_bytes is not None
        if not grows or fills(live, self._space.extent_bytes):
            return
        if not _mounted(live):
            self._note(want, f"holds a smaller {want.fs}, which {_LATER}")
            return
        act = GrowFileSystem(
            **self._draft.base,
            lv=live.name,
            lv_uuid=live.uuid,
            extents=live.extents,
            fs=want.fs,
            mount=_mounted(live),
        )
        before, after = told(live.fs_bytes or 0), self._space.told(live.extents)
        shown = change(f"{self._path(want)}.fs", before, after, Impact.ONLINE_GROW)
        self._draft.add(act, self._target(want), shown)

    # --- what is to go

    def _retire(self, want: WantedVolume, live: Volume) -> None:
        if live.open or _mounted(live):
            where = f"it is mounted at {_mounted(live)}" if _mounted(live) else "it is in use"
            hint = "take it out of use first (mount: none), then retire it"
            self._draft.refuse("CS-V144", want.at.place("retire"), where, hint)
            return
        trash = Trash(live.name, self._draft.host.at)
        if len(device_name(self._draft.vg, str(trash))) > LVM_CHARS:
            message = f"as {trash} its name would be too long"
            self._draft.refuse("CS-V126", want.at.place(), message, "rename it by hand first")
            return
        plan_unmounts(self._draft, want, live)
        act = Retire(
            **self._draft.base,
            lv=live.name,
            lv_uuid=live.uuid,
            to=str(trash),
            was_active=live.active,
        )
        note = f"kept as {trash}, may be removed after {_moment(trash.due)}"
        shown = change(
            self._path(want), self._space.told(live.extents), None, Impact.OUT_OF_USE, note
        )
        self._draft.add(act, self._target(want), self._hitting(shown, want))

    def _remove(self, want: WantedVolume) -> None:
        """Plan the end of the retired volume that is named by its UUID."""
        found = next((one for one in self._live.values() if one.uuid == want.remove), None)
        if found is None:
            return
        place = want.at.place("remove")
        trash = trash_of(found.name)
        if found.name == want.name:
            self._note(want, f"is removed no sooner than {_DAYS} days after its retiring")
        elif trash is None or trash.name != want.name:
            message = f"{want.remove} is {self._draft.vg}/{found.name}, which was not retired"
            hint = f"name one that was retired as {want.name}"
            self._draft.refuse("CS-V145", place, message, hint)
        elif not is_owned(self._draft.host, found):
            self._note(want, f"{found.name} is not ours, it is left alone")
        elif self._draft.host.at < trash.due:
            self._note(want, f"{found.name} is kept until {_moment(trash.due)}")
        elif found.open:
            self._draft.refuse("CS-V144", place, f"{found.name} is in use", "find out by whom")
        else:
            act = Remove(**self._draft.base, lv=found.name, lv_uuid=found.uuid)
            path = f"lvm.{self._draft.vg}/{found.name}"
            size = self._space.told(found.extents)
            shown = change(path, size, None, Impact.DATA_LOSS)
            self._draft.add(act, f"{self._draft.vg}/{found.name}", self._hitting(shown, want))

    def _tell_trash(self, want: WantedVolume) -> None:
        """Note what was retired under this name and is still there."""
        for one in self._live.values():
            trash = trash_of(one.name)
            if trash and trash.name == want.name:
                due = f"may be removed after {_moment(trash.due)}: remove: {one.uuid}"
                self._note(want, f"was retired as {one.name}; it {due}")

    # --- words

    def _path(self, want: WantedVolume) -> str:
        return f"lvm.{self._target(want)}"

    def _target(self, want: WantedVolume) -> str:
        return f"{self._draft.vg}/{want.name}"

    def _hitting(self, shown: Difference, want: WantedVolume) -> Difference:
        hits = frozenset((object_id(self._draft.vg, want.name),))
        return Difference(
            shown.op, shown.path, shown.before, shown.after, shown.impact, hits, shown.note
        )

    def _note(self, want: WantedVolume, text: str) -> None:
        self._draft.note(f"{self._target(want)} {text}")


def _mounted(live: Volume) -> str:
    """Return where a volume is mounted now, empty = nowhere."""
    return next((one.where for one in live.mounts if one.active), "")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%MZ")
