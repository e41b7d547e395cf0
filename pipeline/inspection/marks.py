"""What people say of items: normal, anomaly, unsure, a comment, by whom and when; in SQLite, safe against two tabs.

Nothing is overwritten: a mark is an entry, the last one that was not undone counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.contents import MADE_FROM

MARKS = ("normal", "anomaly", "unsure")
KINDS = ("item", "slide")
LONGEST_COMMENT, LONGEST_READER = 2000, 80
WAIT = 10.0
"""Seconds that a writer waits for another."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    of TEXT NOT NULL CHECK (of IN ('item', 'slide')),
    name TEXT NOT NULL,
    mark TEXT CHECK (mark IN ('normal', 'anomaly', 'unsure')),
    comment TEXT NOT NULL,
    reader TEXT NOT NULL,
    at TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_name ON entries (of, name, id);
CREATE INDEX IF NOT EXISTS by_reader ON entries (reader, id);
CREATE TABLE IF NOT EXISTS remembered (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
COLUMNS = "id, of, name, mark, comment, reader, at"
LABEL = {"normal": 0, "anomaly": 1}
SEMI_LABEL = {"normal": 1, "anomaly": -1, "unsure": 0}


@dataclass(frozen=True)
class Entry:
    """One statement of a reader; `mark` None takes an earlier one back. `at` is UTC, ISO 8601."""

    id: int
    of: str
    name: str
    mark: str | None
    comment: str
    reader: str
    at: str

    def as_json(self) -> dict[str, Any]:
        """The entry as an object."""
        return asdict(self)


class Conflict(Exception):
    """Another tab or reader has said something of the same item meanwhile; `entry` is what stands now."""

    def __init__(self, message: str, entry: Entry | None) -> None:
        super().__init__(message)
        self.entry = entry


class Marks:
    """The marks file. Each call opens it anew, so that any thread and any process may call."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; EsadError where that cannot be."""
        self.path = path
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Within the block a connection; EsadError for whatever SQLite says of the file."""
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")  # a mark that was answered is on the disk
                yield connection
        except (sqlite3.Error, UnicodeError) as error:  # of a damaged file, whose words may be no text
            raise EsadError(
                f"{self.path}: marks cannot be kept there ({error}). Name another file with --marks FILE."
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")  # readers go on, a second writer waits
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def version(self) -> str:
        """Changes whenever a mark is made or undone."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT COALESCE(MAX(id), 0), COALESCE(SUM(undone), 0) FROM entries"
            ).fetchone()
        return f"{row[0]}-{row[1]}"

    def current(self, of: str) -> dict[str, Entry]:
        """Name -> its last entry that was not undone, of items or slides that have one; in the order of their making."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM entries WHERE id IN "
                "(SELECT MAX(id) FROM entries WHERE of = ? AND undone = 0 GROUP BY name) ORDER BY id",
                (of,),
            ).fetchall()
        return {row[2]: Entry(*row) for row in rows}

    def history(self, of: str, name: str) -> list[Entry]:
        """All entries of an item that were not undone, the last one first."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM entries WHERE of = ? AND name = ? AND undone = 0 ORDER BY id DESC",
                (of, name),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def put(
        self, of: str, name: str, mark: str | None, comment: str, reader: str, seen: int | None = None
    ) -> Entry:
        """Write an entry. `seen` is the id of the entry that the reader saw, 0 for none: Conflict where another stands now."""
        if of not in KINDS or (mark is not None and mark not in MARKS):
            raise ValueError(
                f"mark {mark!r} of {of!r}: expected one of {', '.join(MARKS)}, of an item or a slide"
            )
        reader, comment = " ".join(reader.split())[:LONGEST_READER], comment.strip()[:LONGEST_COMMENT]
        if not reader:
            raise ValueError("a mark needs the name of who made it")
        with self._writing() as connection:
            now = _last(connection, of, name)
            if seen is not None and seen != (now.id if now else 0):
                told = (
                    f"{now.reader} marked it {now.mark or 'as open'} meanwhile"
                    if now
                    else "the mark was undone meanwhile"
                )
                raise Conflict(told, now)
            at = datetime.now(UTC).isoformat(timespec="seconds")
            made = connection.execute(
                "INSERT INTO entries (of, name, mark, comment, reader, at) VALUES (?, ?, ?, ?, ?, ?)",
                (of, name, mark, comment, reader, at),
            ).lastrowid
        return Entry(int(made or 0), of, name, mark, comment, reader, at)

    def undo(self, reader: str) -> Entry | None:
        """Take back the last entry of `reader`, and return it; None where there is none.

        Conflict where somebody else has said something of the same item after it.
        """
        reader = " ".join(reader.split())[:LONGEST_READER]
        with self._writing() as connection:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM entries WHERE reader = ? AND undone = 0 ORDER BY id DESC LIMIT 1",
                (reader,),
            ).fetchone()
            if row is None:
                return None
            entry = Entry(*row)
            now = _last(connection, entry.of, entry.name)
            if now is not None and now.id != entry.id:
                raise Conflict(f"{now.reader} has marked {entry.name} after you; it is not undone", now)
            connection.execute("UPDATE entries SET undone = 1 WHERE id = ?", (entry.id,))
        return entry

    def table(self, of: str) -> pd.DataFrame:
        """What `--labels` takes: item_id or source, label (0, 1, empty for unsure), semi_label; then mark, comment, reader, at.

        Of items it says, too, what they were made from when they were marked.
        """
        entries = [entry for entry in self.current(of).values() if entry.mark is not None or entry.comment]
        entries.sort(key=lambda entry: entry.name)
        columns = {
            "item_id" if of == "item" else "source": [entry.name for entry in entries],
            "label": pd.array([LABEL.get(str(entry.mark)) for entry in entries], dtype="Int8"),
            "semi_label": pd.array([SEMI_LABEL.get(str(entry.mark)) for entry in entries], dtype="Int8"),
            **{
                name: [getattr(entry, name) for entry in entries]
                for name in ("mark", "comment", "reader", "at")
            },
        }
        if of == "item":
            with self._open() as connection:
                known = dict(connection.execute("SELECT name, value FROM remembered").fetchall())
            columns[MADE_FROM] = [known.get(f"{MADE_FROM} {entry.name}") for entry in entries]
        return pd.DataFrame(columns)

    def remember(self, name: str, value: str) -> None:
        """Keep a word for the next time that the file is opened."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?)", (name, value))

    def remembered(self, name: str) -> str | None:
        """The word that was kept, or None."""
        with self._open() as connection:
            row = connection.execute("SELECT value FROM remembered WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])


def _last(connection: sqlite3.Connection, of: str, name: str) -> Entry | None:
    row = connection.execute(
        f"SELECT {COLUMNS} FROM entries WHERE of = ? AND name = ? AND undone = 0 ORDER BY id DESC LIMIT 1",
        (of, name),
    ).fetchone()
    return None if row is None else Entry(*row)
