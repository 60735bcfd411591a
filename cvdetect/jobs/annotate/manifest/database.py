"""An SQLite file that one process at a time works on, from any of its threads."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.errors import CvdetectError, SinkError

__all__ = ["DamagedManifest", "Database", "OtherManifest"]


class DamagedManifest(SinkError):
    """The file is not a manifest of this version of cvdetect."""


class OtherManifest(DamagedManifest):
    """`place` is a manifest of another version, which may lack the digests that prove files to be a run's own."""

    exit_code = 2

    def __init__(self, place: object) -> None:
        super().__init__(
            f"{place}: is of another version of cvdetect and cannot prove which files are the earlier run's own: "
            f"give another {arg('out')}, or start again with {arg('overwrite', True)}, which replaces them"
        )


class Database:
    """The file at `path`, created with `tables` where it does not exist. A context manager.

    Raises:
        DamagedManifest: it is something else, or of another `version`.
        SinkError: the disk does not take or give what is asked for, here or later; what was committed stays.
    """

    def __init__(self, path: Path, tables: str, version: int) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._reporting():
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_access(path)  # SQLite would report an I/O error
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
    def _reporting(self) -> Iterator[None]:
        """One thread at a time; errors of SQLite become errors of one sentence."""
        with self._lock:
            try:
                yield
            except CvdetectError:
                raise
            except sqlite3.OperationalError as error:
                busy = "locked" in str(error)
                why = "another cvdetect annotate is running here" if busy else f"cannot be used: {error}"
                raise SinkError(f"{self.path}: {why}") from error
            except sqlite3.DatabaseError as error:
                raise DamagedManifest(f"{self.path}: {error}: start again with {arg('overwrite', True)}") from error
            except OSError as error:
                raise SinkError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is done inside."""
        with self._reporting():
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
        with self._reporting():
            return self._base.execute(query, values).fetchall()


def _check_access(path: Path) -> None:
    """Raise OSError where the file, or the folder in which its log is to lie, may not be written."""
    for checked in (path.parent, path):
        if checked.exists() and not os.access(checked, os.R_OK | os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
