"""Which files are this run's own, by their digests: what is not in here and unchanged is a user's.

A file has its row before it has its place, so that a run that is killed at any moment knows the file again. Where it
replaces an earlier one of its own, it has two rows until that is done.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from cvdetect.jobs.annotate.manifest.database import Database
from cvdetect.jobs.annotate.manifest.outcome import Written

__all__ = ["LEDGER_TABLES", "Ledger", "add_written", "replace_written"]

_TOGETHER = 500  # keys in one query: older SQLites take 999 values
_OUTPUT = """key >= '"out/' AND key < '"out0'"""  # annotation files: what an export puts down
# No key of an export's own rows is among earlier ones' but where it has replaced them: stale ones are disowned before.
_SUPERSEDED = f"FROM written WHERE {_OUTPUT} AND export < ?"
LEDGER_TABLES = """
CREATE TABLE written (
    key TEXT NOT NULL,           -- JSON, as names may be no UTF-8
    digest TEXT NOT NULL, md5 TEXT NOT NULL, size INTEGER NOT NULL, stamp INTEGER NOT NULL,
    export INTEGER NOT NULL,     -- the last one that put it down or left it, 0 for none yet
    PRIMARY KEY (key, digest)
) WITHOUT ROWID;
"""


class Ledger(Database):
    """The rows of files in a manifest. Every method raises SinkError as `Database`."""

    def known(self, keys: Iterable[str]) -> dict[str, list[Written]]:
        """Those of the files that have rows → what they may be: after a kill, one thing or another."""
        known: defaultdict[str, list[Written]] = defaultdict(list)
        remaining = iter(keys)
        while some := [json.dumps(key) for key in islice(remaining, _TOGETHER)]:
            marks = ",".join("?" * len(some))
            for row in self.all(f"SELECT key, digest, md5, size, stamp FROM written WHERE key IN ({marks})", *some):
                known[json.loads(row[0])].append(Written(json.loads(row[0]), *row[1:]))
        return dict(known)

    def has_below(self, key: str) -> bool:
        """Whether a file in the folder `key` has a row."""
        start = json.dumps(key)[:-1]
        return bool(self.all("SELECT 1 FROM written WHERE key > ? AND key < ? LIMIT 1", start + "/", start + "0"))

    def log(self, rows: Iterable[Written], export: int = 0) -> None:
        """Files that are about to be written, or whose stamp is known now."""
        with self.transaction() as base:
            add_written(base, rows, export)

    def disown(self, keys: Iterable[str]) -> None:
        """These files are gone, or a user's from here on."""
        self.execute_many("DELETE FROM written WHERE key = ?", ((json.dumps(key),) for key in keys))

    def keep(self, keys: Iterable[str], export: int) -> None:
        """This export leaves these files as they are."""
        self.execute_many("UPDATE written SET export = ? WHERE key = ?", ((export, json.dumps(k)) for k in keys))

    def next_export(self) -> int:
        """The number of an export that begins."""
        return int(self.all("SELECT coalesce(max(export), 0) + 1 FROM written")[0][0])

    def stale(self, export: int) -> Iterator[str]:
        """Keys of annotation files that earlier exports put down and this one does not."""
        query = (
            f"SELECT key FROM written WHERE {_OUTPUT} AND key > ? GROUP BY key HAVING max(export) < ? "
            f"ORDER BY key LIMIT {_TOGETHER}"
        )
        last = ""
        while rows := self.all(query, last, export):
            yield from (json.loads(key) for (key,) in rows)
            last = rows[-1][0]

    def superseded(self, export: int) -> list[tuple[str, str]]:
        """Key (JSON) and digest of what this export has replaced."""
        return self.all(f"SELECT key, digest {_SUPERSEDED}", export)

    def end_export(self, export: int) -> None:
        """What this export has replaced is no more."""
        self.execute(f"DELETE {_SUPERSEDED}", export)

    def claims(self) -> Iterator[Written]:
        """Rows of a user's files that may be replaced."""
        return (row for row in self.all_written() if not row.digest)

    def all_written(self) -> Iterator[Written]:
        """Every row."""
        last: tuple[str, str] = ("", "")
        query = (
            "SELECT key, digest, md5, size, stamp FROM written WHERE (key, digest) > (?, ?) "
            f"ORDER BY key, digest LIMIT {_TOGETHER}"
        )
        while rows := self.all(query, *last):
            yield from (Written(json.loads(row[0]), *row[1:]) for row in rows)
            last = rows[-1][:2]


def _values(row: Written, export: int) -> tuple[object, ...]:
    return json.dumps(row.key), row.digest, row.md5, row.size, row.stamp, export


def add_written(base: sqlite3.Connection, rows: Iterable[Written], export: int = 0) -> None:
    """These files are about to get their places; in a transaction."""
    values = (_values(row, export) for row in rows)
    base.executemany("INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?, ?, ?)", values)


def replace_written(base: sqlite3.Connection, rows: Iterable[Written]) -> None:
    """These files are in their places, so nothing else is known of them any more; in a transaction."""
    some = list(rows)
    base.executemany("DELETE FROM written WHERE key = ?", [(json.dumps(row.key),) for row in some])
    base.executemany("INSERT INTO written VALUES (?, ?, ?, ?, ?, ?)", [_values(row, 0) for row in some])
