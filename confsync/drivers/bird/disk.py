"""What happens on disk around the live file: candidate, saved copy, pivot and way back.

Separate because these functions block and run in the disk's thread, and because each must be right
when it is run a second time after a crash. Invariant: the live file is only ever replaced by a
rename of a synced file, and never when another hand wrote it meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path

from confsync.drivers.bird.includes import repointed
from confsync.drivers.bird.step import Before, Change
from confsync.host.files import (
    Attributes,
    File,
    copy_aside,
    read_file,
    rename_durable,
    sync_file,
    sync_folder,
    write_aside,
)
from confsync.model import limits
from confsync.model.errors import HostBusy, NotOwned, RollbackFailed
from confsync.model.ids import Digest, digest

_NEW_FILE_MODE = 0o640


def read(path: str) -> File | None:
    """Return a configuration file, None if absent. Raises NotOwned, HostBusy."""
    return read_file(path, limits.BIRD_FILE_BYTES)


def digest_at(path: str) -> Digest | None:
    """Return the digest of a file's bytes, None if absent. Raises NotOwned, HostBusy."""
    found = read(path)
    return digest(found.data) if found else None


def save(change: Change) -> Attributes:
    """Copy the live file beside itself; return its attributes, or those that a new one gets."""
    if change.old_disk is None:
        return new_attributes(change.socket)
    copied = copy_aside(change.config_file, change.saved, limits.BIRD_FILE_BYTES)
    if digest(copied.data) != change.old_disk:
        raise HostBusy(f"{change.config_file} was changed since the plan was made")
    return copied.attributes


def prepare(change: Change) -> None:
    """Put the new file beside the live one, with the same owner and mode; `sync` must follow.

    Raises: HostBusy when the live file is not the one the plan was made for.
    """
    live = read(change.config_file)
    if (digest(live.data) if live else None) != change.old_disk:
        raise HostBusy(f"{change.config_file} was changed since the plan was made")
    if not is_main_as_planned(change):
        raise HostBusy(f"{change.main_file} was changed since the plan was made")
    if digest_at(change.candidate) != change.new_disk:
        attributes = live.attributes if live else new_attributes(change.socket)
        write_aside(change.candidate, change.data, attributes)
    if change.main_file:
        _draw_in(change, change.candidate)


def _draw_in(change: Change, fragment: str) -> None:
    """Put a main file beside the live one that draws in another file in our fragment's place.

    Why as bytes: an operator's file may hold comments in any encoding.
    Raises: NotOwned when the live one does not draw ours in.
    """
    main = read(change.main_file)
    if main is None:
        raise HostBusy(f"{change.main_file} has vanished")
    text = main.data.decode(errors="surrogateescape")
    text = repointed(text, change.main_file, change.config_file, fragment)
    write_aside(change.trial, text.encode(errors="surrogateescape"), main.attributes)


def is_main_as_planned(change: Change) -> bool:
    """Tell whether the operator's main file is the one that the plan was made for."""
    return not change.main_file or digest_at(change.main_file) == change.main_disk


def sync(change: Change) -> None:
    """Make the new file's content durable, under its own name or not; cheap when it is."""
    sync_file(change.candidate)


def pivot(change: Change, before: Before) -> None:
    """Make the new file the live one; the candidate is written anew if it is gone.

    Raises: NotOwned when another hand wrote the live file meanwhile.
    """
    live = digest_at(change.config_file)
    if live == change.new_disk:
        sync_folder(change.config_file)
        return
    if live != before.disk:
        message = f"{change.config_file} was changed by another hand while confsync was at work"
        raise NotOwned(f"{message}; what runs is the new configuration, the file is left alone")
    if digest_at(change.candidate) != change.new_disk:
        write_aside(change.candidate, change.data, before.attributes)
    sync(change)
    rename_durable(change.candidate, change.config_file)


def restore(change: Change, before: Before) -> bool:
    """Put the old file back if ours is there; True = another hand wrote it, it is left alone.

    Raises: RollbackFailed when the saved copy is not what was saved.
    """
    live = digest_at(change.config_file)
    if live == before.disk:
        return False
    if live != change.new_disk:
        return True
    if before.disk is None:
        rename_durable(change.config_file, change.candidate)
    elif digest_at(change.saved) == before.disk:
        sync_file(change.saved)
        rename_durable(change.saved, change.config_file)
    else:
        raise RollbackFailed(f"{change.saved} is not the file that stood at {change.config_file}")
    return False


def old_file(change: Change, before: Before) -> str:
    """Return a path that holds the old configuration. Raises RollbackFailed when there is none."""
    if change.main_file and digest_at(change.config_file) == before.disk:
        return change.main_file
    if change.main_file and before.disk is not None and digest_at(change.saved) == before.disk:
        _draw_in(change, change.saved)
        return change.trial
    for path in () if change.main_file else (change.saved, change.config_file):
        if before.disk is not None and digest_at(path) == before.disk:
            return path
    raise RollbackFailed(f"there is no copy of {change.config_file} as it was before")


def new_attributes(socket: str) -> Attributes:
    """Return who may read a file that did not exist: BIRD's group, known by its socket."""
    try:
        group = Path(socket).stat().st_gid
    except OSError as fault:
        raise HostBusy(f"{socket}: {fault.strerror}") from fault
    return Attributes(_NEW_FILE_MODE, os.geteuid(), group)
