"""What the driver tells of a host, as JSON that only its section understands.

Separate because this is the one contract between the driver, which looks, and the section, which
plans: every key is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confsync.drivers.bird.observe import Place, View
from confsync.drivers.bird.ownership import Found
from confsync.drivers.bird.render import held_in, render_id
from confsync.model.ids import Json


def blank(settings: Mapping[str, Any], place: Place, adopted: Json | None) -> dict[str, Json]:
    """Return what is told of a host of which nothing else is known.

    Shape: `config_file` is the file that we write, `main_file` the operator's that draws it in
    (empty = ours is the main file); `whole` = all of BIRD is ours; `names` are the kept names of
    protocols by our own; `adopted` = what runs is what was taken over, nothing of ours yet.
    """
    fragment = settings["ownership"] == "fragment"
    return {
        "config_file": settings["fragment_file"] or place.config_file,
        "main_file": place.config_file if fragment else "",
        "main_disk": None,
        "whole": not fragment,
        "names": adopted["names"] if adopted else {},
        "adopted": False,
        "socket": place.socket,
        "binary": settings["binary"],
        "version": None,
        "disk": None,
        "disk_render": None,
        "running_render": None,
        "file_held": [],
        "held": [],
        "verify_s": settings["verify_timeout_s"],
        "hold_s": settings["hold_s"],
        "protocols": {},
        "sessions": {},
    }


def on_disk(found: Found) -> dict[str, Json]:
    """Return what the disk holds."""
    return {
        "disk": found.disk,
        "disk_render": render_id(found.text),
        "file_held": sorted(held_in(found.text)),
        "main_disk": found.main_disk,
    }


def running(found: Found, seen: View, adopted: Json | None) -> dict[str, Json]:
    """Return what BIRD runs; what an adopted file disables stays so, as if it were held by hand."""
    known = found.ours or adopted is not None
    return {
        "running_render": seen.marker,
        "held": list(seen.held) if known else [],
        "sessions": seen.sessions,
        "protocols": {name: one.as_json() for name, one in seen.protocols.items()},
    }


def notes_of(seen: View, held: list[str]) -> tuple[str, ...]:
    """Return what people should know of the daemon's state."""
    notes = []
    if held:
        notes.append(f"held by hand: {', '.join(held)}")
    if seen.condition.window_s is not None:
        left = f"{seen.condition.window_s:.0f} s"
        notes.append(f"BIRD runs an unconfirmed configuration and goes back in {left}")
    if seen.condition.recovering:
        notes.append("BIRD is in graceful restart recovery")
    return tuple(notes)
