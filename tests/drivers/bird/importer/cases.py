"""The golden folders: a configuration that somebody wrote by hand, and the document drafted of it.

A case is a folder with a `bird.conf` and what that includes, and `document.yaml`: the draft with
its comments, which say what is lost; or `refusal.txt` where BIRD would not read it either.
"""

from __future__ import annotations

from pathlib import Path

from confsync.drivers.bird.importer.lexer import Unreadable
from confsync.drivers.bird.importer.whole import Read, whole

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in FOLDER.iterdir())
READABLE = [case for case in CASES if not (FOLDER / case / "refusal.txt").exists()]
MAIN = "/etc/bird/bird.conf"


def read(case: str) -> Read:
    """Read a case as if it lay where BIRD's files do."""
    parts = [*(FOLDER / case).rglob("*.conf"), *(FOLDER / case).rglob("*.inc")]
    texts = {str(path.relative_to(FOLDER / case)): path.read_text() for path in sorted(parts)}
    return whole({f"/etc/bird/{name}": text for name, text in texts.items()}, MAIN)


def outcome(case: str) -> tuple[str, str]:
    """Return the name of the file that holds the expectation, and what it should hold."""
    try:
        return "document.yaml", read(case).draft
    except Unreadable as fault:
        return "refusal.txt", f"{fault}\n"


def one(text: str) -> Read:
    """Read a text that is all of a configuration."""
    return whole({MAIN: text}, MAIN)
