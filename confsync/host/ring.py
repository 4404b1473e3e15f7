"""Events that nobody has taken yet, on disk: the newest so many, in order, over a restart.

Separate because it may lose and must never hold up: a file that is damaged, or a disk that is
full, costs events and nothing else, and what is lost is counted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY AUTOINCREMENT, topic, payload)"
)


class DiskRing:
    """A bounded queue in an SQLite file; not for two threads at once, and nothing raises.

    Why SQLite with NORMAL: a power cut may cost the last events, and never the file.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self.lost = 0

    def put(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add messages; the oldest give way."""
        try:
            with closing(self._open()) as database, database:
                database.executemany("INSERT INTO message (topic, payload) VALUES (?, ?)", messages)
                gone = database.execute(
                    "DELETE FROM message WHERE id <= (SELECT max(id) FROM message) - ?",
                    (self._size,),
                )
                self.lost += gone.rowcount
        except (sqlite3.Error, OSError):
            self.lost += len(messages)
            self._renew()

    def oldest(self, count: int) -> list[tuple[int, str, bytes]]:
        """Return the oldest messages with their numbers."""
        try:
            with closing(self._open()) as database:
                rows = database.execute(
                    "SELECT id, topic, payload FROM message ORDER BY id LIMIT ?", (count,)
                )
                return [(int(number), str(topic), bytes(raw)) for number, topic, raw in rows]
        except (sqlite3.Error, OSError, TypeError, ValueError):
            self._renew()
            return []

    def taken(self, number: int) -> None:
        """Forget a message and all before it."""
        try:
            with closing(self._open()) as database, database:
                database.execute("DELETE FROM message WHERE id <= ?", (number,))
        except (sqlite3.Error, OSError):
            self._renew()

    def __len__(self) -> int:
        try:
            with closing(self._open()) as database:
                return int(database.execute("SELECT count(*) FROM message").fetchone()[0])
        except (sqlite3.Error, OSError):
            return 0

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=1.0)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(TABLE)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _renew(self) -> None:
        """Begin anew with an empty file, where the disk lets us."""
        for suffix in ("", "-wal", "-shm"):
            try:
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            except OSError:
                return
