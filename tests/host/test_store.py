"""Rows and notes: in one commit or not at all, and believed only while they are what was put."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from confsync.host.store import Store
from confsync.model.errors import HostBusy, JournalDamaged, JournalLost


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    made = Store(path)
    yield made
    made.close()


@contextlib.contextmanager
def by_hand(path):
    """Give the file to somebody who knows SQL and not our checksums."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        yield db


def filled(store):
    """Write two transactions and two notes, and close the file."""
    for txn in (1, 2):
        with store.commit():
            store.add(txn, "prepared", {"n": txn})
        with store.commit():
            store.add(txn, "closed", {"n": -txn})
    with store.commit():
        store.put("paused", "x")
        store.put("applied", "y")
    store.close()


def test_what_was_put_is_there_after_reopening(store, path):
    filled(store)
    again = Store(path)
    with again.commit():
        assert [("prepared", {"n": 2}), ("closed", {"n": -2})] == again.rows(2)
        assert (2, "x", None) == (again.newest(), again.note("paused"), again.note("other"))
    again.close()


def test_an_exception_takes_everything_of_its_commit_back(store):
    with store.commit():
        store.put("paused", "before")

    def fail() -> None:
        with store.commit():
            store.put("paused", "after")
            store.add(1, "prepared", {})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with store.commit():
        assert ("before", 0) == (store.note("paused"), store.newest())


def test_it_is_durable_by_its_pragmas_and_private(store, path):
    with store.commit():
        pass
    values = [
        store._db().execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    assert ["wal", 2] == values
    assert 0o600 == path.stat().st_mode & 0o777


def test_notes_are_dropped_by_pattern(store):
    with store.commit():
        for name in ("quarantine/a", "quarantine/b", "quarantined"):
            store.put(name, 1)
        store.drop("quarantine/*")
        assert [None, None, 1] == [
            store.note(name) for name in ("quarantine/a", "quarantine/b", "quarantined")
        ]


@pytest.mark.parametrize(
    "deed",
    [
        "UPDATE row SET body = '{\"n\":9}' WHERE seq = 2",
        "UPDATE row SET kind = 'committing' WHERE seq = 2",
        "UPDATE row SET txn = 1 WHERE txn = 2",
        (
            "UPDATE row SET body = (SELECT body FROM row WHERE seq = 1),"
            " sum = (SELECT sum FROM row WHERE seq = 1) WHERE seq = 2"
        ),
        "DELETE FROM row WHERE seq = 3",
        "UPDATE note SET body = '\"z\"' WHERE name = 'paused'",
        "UPDATE note SET name = 'quarantine/x' WHERE name = 'paused'",
        (
            "UPDATE note SET body = (SELECT body FROM note WHERE name = 'applied'),"
            " sum = (SELECT sum FROM note WHERE name = 'applied') WHERE name = 'paused'"
        ),
    ],
)
def test_what_is_not_as_it_was_put_is_damage_at_the_next_opening(deed, store, path):
    filled(store)
    with by_hand(path) as db:
        db.execute(deed)
    again = Store(path)
    with pytest.raises(JournalDamaged), again.commit():
        pass


def test_old_rows_may_be_forgotten(store, path):
    filled(store)
    with store.commit():
        store.forget_before(2)
    store.close()
    again = Store(path)
    with again.commit():
        assert ([], 2) == (again.rows(1), len(again.rows(2)))
    again.close()


def test_another_writer_is_busy_and_not_lost(store, path):
    filled(store)
    with store.commit():
        pass
    store._db().execute("PRAGMA busy_timeout = 0")
    with by_hand(path) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(HostBusy, match="another process"), store.commit():
            store.put("paused", "z")
    with store.commit():
        assert "x" == store.note("paused")


def test_a_write_that_fails_otherwise_has_an_unknown_fate(store):
    with store.commit():
        pass
    store._db().execute("PRAGMA query_only = 1")
    with pytest.raises(JournalLost, match="unknown"), store.commit():
        store.put("paused", "x")


def test_a_file_set_aside_is_kept_whole_and_a_new_one_begun(store, tmp_path):
    filled(store)
    with store.commit():
        store.put("paused", "kept")
    store.set_aside()
    with store.commit():
        assert (0, None) == (store.newest(), store.note("paused"))
    (aside,) = [p for p in tmp_path.iterdir() if p.name.endswith("Z")]
    with contextlib.closing(sqlite3.connect(aside)) as db:
        assert [('"kept"',)] == db.execute("SELECT body FROM note WHERE name='paused'").fetchall()
