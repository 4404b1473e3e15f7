"""Agents in haste: a module's worth of waiting, shortened for a whole process.

Separate because it is put before our code by Python itself: nothing of ours knows of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def haste(folder: Path, **limits: float) -> str:
    """Return a folder for PYTHONPATH that gives limits of ours other values, in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"limits.{name} = {value!r}" for name, value in limits.items()]
    text = "\n".join(["from confsync.model import limits", *lines, ""])
    (folder / "sitecustomize.py").write_text(text)
    return str(folder)
