"""An SQLite file that one process at a time works on, from any of its threads."""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.errors import CvdetectError, SinkError
from cvdetect.jobs.annotate.manifest.outcome import Written

__all__ = [
    "LEDGER_TABLES",
    "DamagedManifest",
    "Database",
    "Ledger",
    "OtherManifest",
    "add_written",
    "place_of",
    "replace_written",
]


class DamagedManifest(SinkError):
    """The file is no manifest of this version of cvdetect."""


class OtherManifest(DamagedManifest):
    """`place` is a manifest of another version, which may not have the digests that prove files to be a run's own."""

    exit_code = 2

    def __init__(self, place: object) -> None:
        super().__init__(
            f"{place}: is of another version of cvdetect, by which files cannot be proven to be an earlier run's own: "
            f"give another {arg('out')}, or start again with {arg('overwrite')}, which replaces them"
        )


class Database:
    """The file at `path`, made with `tables` where it is not there. A context manager.

    Raises:
        DamagedManifest: it is something else, or of another `version`.
        SinkError: the disk does not take or give what is asked for, here or later; what was committed stays.
    """

    def __init__(self, path: Path, tables: str, version: int) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_access(path)  # SQLite calls it an I/O error
            self._base = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            try:
                self._open(tables, version)
            except BaseException:
                self._base.close()
                raise

    def _open(self, tables: str, version: int) -> None:
        # Exclusive first: then the write-ahead log needs no shared memory, which network file systems lack.
        self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")
        with self.transaction():
            (found,) = self._base.execute("PRAGMA user_version").fetchone()
            if found not in (0, version):
                raise OtherManifest(self.path)
            if not found:
                for statement in tables.split(";"):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA user_version = {version:d}")

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._base.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """One thread at a time, and what SQLite throws as one sentence."""
        with self._lock:
            try:
                yield
            except CvdetectError:
                raise
            except sqlite3.OperationalError as error:
                busy = "locked" in str(error)
                why = "another cvdetect annotate is at work here" if busy else f"cannot be used: {error}"
                raise SinkError(f"{self.path}: {why}") from error
            except sqlite3.DatabaseError as error:
                raise DamagedManifest(f"{self.path}: {error}: start again with {arg('overwrite')}") from error
            except OSError as error:
                raise SinkError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is done inside."""
        with self._told():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    def execute(self, statement: str, *values: Any) -> None:
        """One statement in a transaction of its own."""
        with self.transaction() as base:
            base.execute(statement, values)

    def execute_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """One statement for every row, all in one transaction."""
        with self.transaction() as base:
            base.executemany(statement, rows)

    def all(self, query: str, *values: Any) -> list[Any]:
        """All rows of a query."""
        with self._told():
            return self._base.execute(query, values).fetchall()


def _check_access(path: Path) -> None:
    """Raise OSError where the file, or the folder in which its log is to lie, may not be written."""
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


# Which files are this run's own, by their digests: what is not in here and unchanged is a user's.
#
# A file has its row before it has its place, so that a run that is killed at any moment knows the file again. Where it
# replaces an earlier one of its own, it has two rows until that is done.

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


# Natural order as bytes, so that a database can sort by it without knowing Python.


def place_of(name: str) -> bytes:
    """A key whose byte order is that of ``(natural_key(name), name)``; different names have different keys."""
    parts = re.split(r"(\d+)", name)
    key = b"".join(_digits(part) if odd % 2 else _text(part) for odd, part in enumerate(parts))
    return key + b"\0" + os.fsencode(name)


def _text(part: str) -> bytes:
    """UTF-8 sorts as the characters do; the end sorts before any of them."""
    return part.casefold().encode("utf-8", "surrogatepass") + b"\0"


def _digits(part: str) -> bytes:
    """The more digits, the larger the number; a name that ends here (0) comes before one that goes on (1)."""
    value = part if part.isascii() else "".join(str(int(c)) for c in part)
    ascii_digits = value.lstrip("0").encode("ascii")
    return b"\1" + len(ascii_digits).to_bytes(4, "big") + ascii_digits
