"""The files that a run wrote, by their digests: a file without a matching row is a user's.

A file has its row before it is in its place, so that a run that is killed at any moment recognises it. Where it
replaces an earlier file of the run, it has two rows until that is done.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from cvdetect.jobs.annotate.manifest.database import Database
from cvdetect.jobs.annotate.manifest.outcome import WrittenFile

__all__ = ["LEDGER_TABLES", "Ledger", "add_written", "replace_written"]

_AT_ONCE = 500  # keys in one query: older SQLites take 999 values
_OUTPUT = """key >= '"out/' AND key < '"out0'"""  # annotation files: what an export writes
# An export's keys are among those of earlier ones only where it replaced their files: stale ones are disowned before.
_SUPERSEDED = f"FROM written WHERE {_OUTPUT} AND export < ?"
LEDGER_TABLES = """
CREATE TABLE written (
    key TEXT NOT NULL,           -- JSON, as names may be no UTF-8
    digest TEXT NOT NULL, md5 TEXT NOT NULL, size INTEGER NOT NULL, stamp INTEGER NOT NULL,
    export INTEGER NOT NULL,     -- the last one that wrote it or left it, 0 for none yet
    PRIMARY KEY (key, digest)
) WITHOUT ROWID;
"""


class Ledger(Database):
    """The rows of files in a manifest. Every method raises SinkError as `Database` does."""

    def known(self, keys: Iterable[str]) -> dict[str, list[WrittenFile]]:
        """Those of the files that have rows → their rows: after a kill, a file may match one or another."""
        known: defaultdict[str, list[WrittenFile]] = defaultdict(list)
        remaining = iter(keys)
        while some := [json.dumps(key) for key in islice(remaining, _AT_ONCE)]:
            marks = ",".join("?" * len(some))
            for row in self.all(f"SELECT key, digest, md5, size, stamp FROM written WHERE key IN ({marks})", *some):
                known[json.loads(row[0])].append(WrittenFile(json.loads(row[0]), *row[1:]))
        return dict(known)

    def has_below(self, key: str) -> bool:
        """Whether a file in the folder `key` has a row."""
        start = json.dumps(key)[:-1]
        return bool(self.all("SELECT 1 FROM written WHERE key > ? AND key < ? LIMIT 1", start + "/", start + "0"))

    def log(self, rows: Iterable[WrittenFile], export: int = 0) -> None:
        """Record files that are about to be written, or whose stamp is known now."""
        with self.transaction() as base:
            add_written(base, rows, export)

    def disown(self, keys: Iterable[str]) -> None:
        """Delete the rows of files that are gone, or a user's from here on."""
        self.execute_many("DELETE FROM written WHERE key = ?", ((json.dumps(key),) for key in keys))

    def keep(self, keys: Iterable[str], export: int) -> None:
        """Record that this export leaves these files as they are."""
        self.execute_many("UPDATE written SET export = ? WHERE key = ?", ((export, json.dumps(k)) for k in keys))

    def next_export(self) -> int:
        """The number of an export that begins."""
        return int(self.all("SELECT coalesce(max(export), 0) + 1 FROM written")[0][0])

    def stale(self, export: int) -> Iterator[str]:
        """Keys of annotation files that earlier exports wrote and this one does not."""
        query = (
            f"SELECT key FROM written WHERE {_OUTPUT} AND key > ? GROUP BY key HAVING max(export) < ? "
            f"ORDER BY key LIMIT {_AT_ONCE}"
        )
        last = ""
        while rows := self.all(query, last, export):
            yield from (json.loads(key) for (key,) in rows)
            last = rows[-1][0]

    def superseded(self, export: int) -> list[tuple[str, str]]:
        """Key (JSON) and digest of the rows of files that this export replaced."""
        return self.all(f"SELECT key, digest {_SUPERSEDED}", export)

    def end_export(self, export: int) -> None:
        """Delete the rows of files that this export replaced."""
        self.execute(f"DELETE {_SUPERSEDED}", export)

    def claims(self) -> Iterator[WrittenFile]:
        """Rows of a user's files that the run may replace."""
        return (row for row in self.all_written() if not row.digest)

    def all_written(self) -> Iterator[WrittenFile]:
        """Every row."""
        last: tuple[str, str] = ("", "")
        query = (
            "SELECT key, digest, md5, size, stamp FROM written WHERE (key, digest) > (?, ?) "
            f"ORDER BY key, digest LIMIT {_AT_ONCE}"
        )
        while rows := self.all(query, *last):
            yield from (WrittenFile(json.loads(row[0]), *row[1:]) for row in rows)
            last = rows[-1][:2]


def _values(row: WrittenFile, export: int) -> tuple[object, ...]:
    return json.dumps(row.key), row.digest, row.md5, row.size, row.stamp, export


def add_written(base: sqlite3.Connection, rows: Iterable[WrittenFile], export: int = 0) -> None:
    """Record files that are about to be written; inside a transaction."""
    values = (_values(row, export) for row in rows)
    base.executemany("INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?, ?, ?)", values)


def replace_written(base: sqlite3.Connection, rows: Iterable[WrittenFile]) -> None:
    """Record files that are written, in place of all earlier rows of theirs; inside a transaction."""
    some = list(rows)
    base.executemany("DELETE FROM written WHERE key = ?", [(json.dumps(row.key),) for row in some])
    base.executemany("INSERT INTO written VALUES (?, ?, ?, ?, ?, ?)", [_values(row, 0) for row in some])
