"""What must hold before BIRD is asked to use a file; every one of these changes nothing.

Separate because a check that passes wrongly is an outage: each stands for something measured to
go wrong in silence, or to kill the daemon.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from confsync.drivers.bird.daemon import Daemon
from confsync.drivers.bird.includes import matches
from confsync.drivers.bird.observe import Condition
from confsync.drivers.bird.ownership import reads_elsewhere
from confsync.drivers.bird.step import Change
from confsync.host.files import in_thread, read_file
from confsync.host.process import run
from confsync.model import limits
from confsync.model.errors import HostBusy, HostRefused, NotOwned
from confsync.model.ids import Digest

_PASSWORD: Final = re.compile(rb'\s*password\s+"([^"]*)";\s*')
_SECRET_FILE_BYTES: Final = 4096
_SHOWN_CHARS: Final = 160


def require_ready(marker: str | None, condition: Condition, change: Change) -> None:
    """Refuse while BIRD recovers, or somebody else configures it or has done so: HostBusy."""
    if condition.recovering:
        raise HostBusy("BIRD is in graceful restart recovery; it is left in peace until that ends")
    if condition.window_s is not None:
        left = f"{condition.window_s:.0f} s left"
        raise HostBusy(f"BIRD runs an unconfirmed configuration of somebody else ({left})")
    if condition.busy:
        raise HostBusy(f"BIRD is busy with another configuration: {condition.busy}")
    if marker != change.old_render:
        raise HostBusy("BIRD runs another configuration than when the plan was made")


async def require_passwords(change: Change) -> None:
    """Prove that every password file that the text draws in will work.

    Raises: HostRefused.
    Why: BIRD takes an empty or too long password without a word, and the session stays down.
    """
    for name in change.passwords:
        found = await in_thread(_secret, Path(change.config_file).parent / name)
        if found is None:
            raise HostRefused(f"password file {name} does not exist")
        lines = [line for line in found.splitlines() if _says_something(line)]
        password = _PASSWORD.fullmatch(lines[0]) if len(lines) == 1 else None
        if password is None:
            raise HostRefused(f'password file {name} must hold one line: password "...";')
        if not 1 <= len(password[1]) <= limits.BIRD_PASSWORD_BYTES:
            size = f"{len(password[1])} bytes, 1 to {limits.BIRD_PASSWORD_BYTES} are possible"
            raise HostRefused(f"the password in {name} has {size}")


async def require_foreign(change: Change) -> None:
    """Prove that the files of other hands are there; who writes them may do so any moment.

    Raises: HostBusy.
    """
    for name in change.foreign:
        path = str(Path(change.config_file).parent / name)
        if not await in_thread(matches, change.config_file, name):
            raise HostBusy(f"{path} is another hand's and does not exist")


async def require_survivable(change: Change) -> None:
    """Parse the candidate in a child, since some texts kill the parser and would kill the daemon.

    Raises: HostRefused.
    """
    argv = [change.binary, "-p", "-c", change.trial]
    done = await run(argv, limits.BIRD_CHECK_S)
    if done.code < 0:
        raise HostRefused(f"the new configuration kills BIRD's parser (signal {-done.code})")
    if done.code > 0:
        raise HostRefused(f"BIRD refuses: {explained(done.stderr.strip(), change)}")


async def require_way_back(daemon: Daemon, change: Change, *, known: Digest | None = None) -> None:
    """Prove that the daemon itself reads our file, and could go back to it.

    Raises: NotOwned, HostBusy.
    """
    path, complaint = await daemon.own_file()
    if elsewhere := await in_thread(reads_elsewhere, path, change.live):
        raise NotOwned(elsewhere)
    # A fault that was shown before is what the change is allowed to mend; BIRD's timer goes back.
    told = known is not None and known == change.old_disk
    if complaint and not told and (change.main_file or change.old_disk is not None):
        raise HostBusy(f"the live file does not parse, there would be no way back: {complaint}")


async def require_parsable(daemon: Daemon, change: Change) -> None:
    """Prove that the daemon takes the candidate; only for one that is survivable.

    Raises: HostRefused.
    """
    if complaint := await daemon.complaint(change.trial):
        raise HostRefused(f"BIRD refuses: {explained(complaint, change)}")


def explained(complaint: str, change: Change) -> str:
    """Return BIRD's message with the line of our text that it means.

    Why: a fault in an included file shows no line; there are secrets in those.
    """
    place = re.search(re.escape(change.candidate) + r":(\d+):(\d+) (.*)", complaint)
    if place is None:
        return complaint[-_SHOWN_CHARS:]
    line, column, message = int(place[1]), place[2], place[3]
    lines = change.text.splitlines()
    shown = lines[line - 1].strip()[:_SHOWN_CHARS] if 0 < line <= len(lines) else "(end of file)"
    return f"line {line}, column {column}: {message}: {shown}"


def _secret(path: Path) -> bytes | None:
    """Return what an include would draw in; it may be a symlink, as credentials often are."""
    found = read_file(str(path.resolve()), _SECRET_FILE_BYTES)
    return found.data if found else None


def _says_something(line: bytes) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(b"#")
