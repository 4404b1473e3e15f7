"""The golden folders: a document each, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import yaml

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.render import render
from confsync.drivers.bird.section import BgpSection

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in FOLDER.iterdir())
BGP = BgpSection()


def outcome(case: str) -> tuple[str, str]:
    """Return the name of the file that holds the expectation, and what it should hold."""
    value = BGP.parse(yaml.safe_load((FOLDER / case / "document.yaml").read_text()))
    faults = BGP.rules(value, {}) if isinstance(value, Bgp) else value
    if isinstance(value, Bgp) and not faults:
        return "bird.conf", render(value)
    return "violations.txt", "".join(f"{fault}\n" for fault in faults)
