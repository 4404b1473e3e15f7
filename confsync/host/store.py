"""Checksummed rows and notes in one SQLite file: what the journal is made of.

Separate because durability and damage are judged here, transactions in `journal.py`. WAL with
synchronous=FULL: when `commit` ends without an error, its writes are on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from confsync.model.errors import HostBusy, JournalDamaged, JournalLost, JournalTooNew
from confsync.model.ids import Json, canonical, digest

FORMAT: Final = 1
SCHEMA: Final = """
CREATE TABLE row (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, txn INTEGER NOT NULL, kind TEXT NOT NULL,
    body TEXT NOT NULL, sum TEXT NOT NULL);
CREATE TABLE note (name TEXT PRIMARY KEY, body TEXT NOT NULL, sum TEXT NOT NULL);
"""
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Store:
    """One SQLite file, used by one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def commit(self) -> Iterator[None]:
        """Make everything inside durable in one commit, or nothing of it.

        Raises: JournalDamaged; JournalLost when the fate of the commit is unknown.
        """
        db = self._db()
        try:
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("COMMIT")
        except sqlite3.DatabaseError as fault:
            raise self._translated(fault) from fault
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def add(self, txn: int, kind: str, body: Json) -> None:
        """Append a row to a transaction."""
        text = canonical(body).decode()
        self._db().execute(
            "INSERT INTO row (txn, kind, body, sum) VALUES (?, ?, ?, ?)",
            (txn, kind, text, _sum(txn, kind, text)),
        )

    def rows(self, txn: int) -> list[tuple[str, Json]]:
        """Return a transaction's rows, oldest first, each checked."""
        found = self._db().execute(
            "SELECT kind, body, sum FROM row WHERE txn = ? ORDER BY seq", (txn,)
        )
        return [(kind, self._checked(body, stored, txn, kind)) for kind, body, stored in found]

    def latest(self, txn: int) -> tuple[str, Json]:
        """Return a transaction's newest row, checked."""
        kind, body, stored = (
            self._db()
            .execute(
                "SELECT kind, body, sum FROM row WHERE txn = ? ORDER BY seq DESC LIMIT 1", (txn,)
            )
            .fetchone()
        )
        return kind, self._checked(body, stored, txn, kind)

    def newest(self) -> int:
        """Return the number of the newest transaction; 0 = there is none."""
        return int(self._db().execute("SELECT coalesce(max(txn), 0) FROM row").fetchone()[0])

    def forget_before(self, txn: int) -> None:
        """Drop the rows of old transactions."""
        self._db().execute("DELETE FROM row WHERE txn < ?", (txn,))

    def put(self, name: str, body: Json) -> None:
        """Set a note."""
        text = canonical(body).decode()
        self._db().execute(
            "INSERT OR REPLACE INTO note (name, body, sum) VALUES (?, ?, ?)",
            (name, text, _sum(name, text)),
        )

    def note(self, name: str) -> Json:
        """Return a note, or None."""
        found = self._db().execute("SELECT body, sum FROM note WHERE name = ?", (name,)).fetchone()
        return self._checked(*found, name) if found else None

    def drop(self, pattern: str) -> None:
        """Drop the notes whose name matches a glob."""
        self._db().execute("DELETE FROM note WHERE name GLOB ?", (pattern,))

    def free_bytes(self) -> int:
        """Return how much room the file system has for us."""
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def set_aside(self) -> None:
        """Keep a damaged file under another name and begin a new one."""
        self.close()
        aside = f".set-aside-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{self.path}{aside}{suffix}")

    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> sqlite3.Connection:
        try:
            # Closing at the interpreter's end may come from another thread than the one at work.
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found > FORMAT:
                db.close()
                message = (
                    f"{self.path} has format {found}, we read up to {FORMAT}: upgrade confsync"
                )
                raise JournalTooNew(message)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            if found == 0:
                os.chmod(self.path, 0o600)
                db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
            self._verify(db)
        except sqlite3.DatabaseError as fault:
            raise self._translated(fault) from fault
        return db

    def _verify(self, db: sqlite3.Connection) -> None:
        """Check every row once, at opening: one whose key is damaged would never be read."""
        if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise self._damaged("quick_check failed")
        before = None
        for seq, txn, kind, body, stored in db.execute("SELECT * FROM row ORDER BY seq"):
            if before is not None and seq != before + 1:
                raise self._damaged(f"row {before + 1} is missing")
            self._checked(body, stored, txn, kind)
            before = seq
        last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'row'").fetchone()
        if (last[0] if last else None) != before:
            raise self._damaged("the newest row is missing")
        for name, body, stored in db.execute("SELECT * FROM note"):
            self._checked(body, stored, name)

    def _checked(self, body: str, stored: str, *key: object) -> Json:
        if _sum(*key, body) != stored:
            raise self._damaged(f"row {key} does not match its checksum")
        return json.loads(body)

    def _translated(self, fault: sqlite3.DatabaseError) -> Exception:
        code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE or type(fault) is sqlite3.DatabaseError:
            return self._damaged(str(fault))
        if code == sqlite3.SQLITE_BUSY:
            return HostBusy(f"another process is writing {self.path}: {fault}")
        return JournalLost(f"writing {self.path} failed ({fault}): whether it is kept is unknown")

    def _damaged(self, what: str) -> JournalDamaged:
        return JournalDamaged(
            f"the journal {self.path} is damaged ({what}): nothing is written to this host; look "
            f"at the host, then take it as it is with: confsync agent resume --accept"
        )


def _sum(*parts: object) -> str:
    return digest("\0".join(map(str, parts)).encode())[:32]
