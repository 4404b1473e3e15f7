"""The folder where scripts/setup keeps what it has fetched or made."""

from __future__ import annotations

import os
from pathlib import Path


def cached(name: str) -> Path:
    """Return where setup puts a thing, whether it is there or not."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CONFSYNC_CACHE") or Path(home, "confsync"), name)
