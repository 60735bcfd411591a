"""The manifest: which images are done, what was found in them, and what a run began with, in one SQLite file.

SQLite, because a transaction is atomic and survives kill -9, because rows come back in natural order without being held
in memory, and because Python includes it. The file is locked while a run works on it, so two runs cannot write into one
folder.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cvdetect.annotations.types import ImageRecord
from cvdetect.jobs.annotate.inputs import ListedImage
from cvdetect.jobs.annotate.manifest.ledger import LEDGER_TABLES, Ledger, add_written, replace_written
from cvdetect.jobs.annotate.manifest.outcome import Outcome, WrittenFile, pack, unpack

__all__ = ["Counts", "Manifest", "Row", "sort_key"]

_VERSION = 3
_WAITING, _DONE, _FAILED = range(3)
_PAGE = 500  # rows read at once
_TABLES = f"""
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    place BLOB PRIMARY KEY,      -- natural order
    name TEXT NOT NULL,          -- JSON, as names may be no UTF-8
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    listing INTEGER NOT NULL,    -- number of the last walk that found it
    status INTEGER NOT NULL,     -- 0 waiting, 1 done, 2 failed
    reason TEXT, width INTEGER, height INTEGER, found BLOB,
    files TEXT NOT NULL DEFAULT '[]'  -- keys of images written for it
) WITHOUT ROWID;
CREATE INDEX met ON images (listing);  -- the last walk's number is asked for with every page
{LEDGER_TABLES.strip()}
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many images there are of each kind."""

    waiting: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.waiting + self.done + self.failed


class Row(NamedTuple):
    """What is recorded of an image: its state, its outcome, and the images written for it (JSON)."""

    name: str
    size: int
    stamp: int
    status: int
    reason: str | None
    width: int | None
    height: int | None
    found: bytes | None
    files: str


class Manifest(Ledger):
    """The manifest at `path`, created where it does not exist. A context manager; safe to use from any thread.

    Every method raises SinkError where the disk does not take or give what is asked for; what was recorded stays.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES, _VERSION)

    def __enter__(self) -> Manifest:
        return self

    def _pages(self, columns: str, condition: str) -> Iterator[Any]:
        """Rows in natural order, a page at a time, so that other work can go on between pages."""
        query = f"SELECT place, {columns} FROM images WHERE place > ? AND {condition} ORDER BY place LIMIT {_PAGE}"
        last = b""
        while rows := self.all(query, last):
            yield from (row[1:] for row in rows)
            last = rows[-1][0]

    def fact(self, key: str) -> Any:
        """What was recorded of the run under `key`, or None."""
        rows = self.all("SELECT value FROM facts WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def remember(self, **facts: Any) -> None:
        """Record values of the run, which JSON can hold, all or none of them."""
        self._keep(facts)

    def _keep(self, facts: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self.execute_many("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def begin(self, claims: Iterable[WrittenFile] = (), **facts: Any) -> None:
        """A run begins, or begins again: no image is done or has files, and these values hold.

        Args:
            claims: a user's files that the run may replace.
        """
        self.execute("UPDATE images SET status = 0, files = '[]'")
        Ledger.log(self, claims)
        self._keep(facts)

    def list_anew(self, found: Iterable[ListedImage]) -> bool:
        """Record what a walk found: new and changed images and those that failed wait, unchanged ones stay done.

        Returns:
            Whether it found any.
        """
        (listing,) = self.all("SELECT coalesce(max(listing), 0) + 1 FROM images")[0]
        with self.transaction() as base:
            base.executemany(
                "INSERT INTO images (place, name, size, mtime_ns, listing, status) VALUES (?, ?, ?, ?, ?, 0) "
                "ON CONFLICT (place) DO UPDATE SET listing = excluded.listing, size = excluded.size, "
                "mtime_ns = excluded.mtime_ns, status = status = 1 AND size = excluded.size "
                "AND mtime_ns = excluded.mtime_ns",
                ((sort_key(i.name), json.dumps(i.name), i.size, i.mtime_ns, listing) for i in found),
            )
            return bool(base.execute("SELECT 1 FROM images WHERE listing = ? LIMIT 1", (listing,)).fetchone())

    def gone(self) -> Iterator[tuple[str, list[str]]]:
        """Name and files of the images that the last walk did not find."""
        for name, files in self._pages("name, files", "listing < (SELECT max(listing) FROM images)"):
            yield json.loads(name), json.loads(files)

    def listed(self, met: bool = True) -> Iterator[tuple[str, bool]]:
        """Name of each image, and whether it waits, in natural order; `met`: only those that the last walk found."""
        condition = "listing = (SELECT max(listing) FROM images)" if met else "1"
        for name, status in self._pages("name, status", condition):
            yield json.loads(name), status == _WAITING

    def forget(self, name: str) -> None:
        """Drop an image."""
        self.execute("DELETE FROM images WHERE place = ?", sort_key(name))

    def make_all_wait(self) -> None:
        """Make every image wait again."""
        self.execute("UPDATE images SET status = 0")

    def counts(self) -> Counts:
        """How many images wait, are done, have failed."""
        number = dict(self.all("SELECT status, count(*) FROM images GROUP BY status"))
        return Counts(number.get(_WAITING, 0), number.get(_DONE, 0), number.get(_FAILED, 0))

    def waiting(self) -> Iterator[str]:
        """Names of the images that are not done, in natural order."""
        yield from (json.loads(name) for (name,) in self._pages("name", "status = 0"))

    def waits(self, name: str) -> bool:
        """Whether there is an image of that name that is not done."""
        return bool(self.all("SELECT 1 FROM images WHERE place = ? AND status = 0", sort_key(name)))

    def met(self, name: str) -> bool:
        """Whether the last walk found an image of that name."""
        query = "SELECT 1 FROM images WHERE place = ? AND listing = (SELECT max(listing) FROM images)"
        return bool(self.all(query, sort_key(name)))

    def holds(self, name: str) -> bool:
        """Whether there is an image of that name."""
        return bool(self.all("SELECT 1 FROM images WHERE place = ?", sort_key(name)))

    def record(self, outcome: Outcome) -> None:
        """Record that one image is done, or has failed: from here on that is never lost."""
        self.record_all([outcome])

    def record_all(self, outcomes: Iterable[Outcome]) -> None:
        """The same for several images, all or none of them."""
        recorded = list(outcomes)
        written = [row for outcome in recorded for row in outcome.files]
        with self.transaction() as base:
            base.executemany(
                "UPDATE images SET status = ?, reason = ?, width = ?, height = ?, found = ?, files = ? WHERE place = ?",
                map(_row, recorded),
            )
            replace_written(base, written)

    def row(self, name: str) -> Row:
        """What is recorded of an image that there is."""
        columns = "size, mtime_ns, status, reason, width, height, found, files"
        return Row(name, *self.all(f"SELECT {columns} FROM images WHERE place = ?", sort_key(name))[0])

    def files_of(self, name: str) -> list[str]:
        """Keys of the files that were written for an image."""
        rows = self.all("SELECT files FROM images WHERE place = ?", sort_key(name))
        return list(json.loads(rows[0][0])) if rows else []

    def log_images(self, name: str, rows: Iterable[WrittenFile]) -> None:
        """Record files of an image that are about to be written, beside those that it has; `record` follows.

        In a store this is not logged, as a request for each image would cost too much: files that a killed run leaves
        there are known by their content (`ImageOutputs.put`).
        """
        self._add_files(name, list(rows), add_written)

    def add_files(self, name: str, files: Iterable[WrittenFile]) -> None:
        """Record that more files were written for an image, or written again."""
        self._add_files(name, list(files), replace_written)

    def _add_files(
        self, name: str, files: list[WrittenFile], record: Callable[[sqlite3.Connection, list[WrittenFile]], None]
    ) -> None:
        together = json.dumps([*dict.fromkeys([*self.files_of(name), *(row.key for row in files)])])
        with self.transaction() as base:
            base.execute("UPDATE images SET files = ? WHERE place = ?", (together, sort_key(name)))
            record(base, files)

    def all_files(self) -> Iterator[str]:
        """Keys of the files that were written for all images."""
        for (files,) in self._pages("files", "files <> '[]'"):
            yield from json.loads(files)

    def names(self) -> Iterator[str]:
        """Names of the images that are done, in natural order."""
        yield from (json.loads(name) for (name,) in self._pages("name", "status = 1"))

    def __iter__(self) -> Iterator[ImageRecord]:
        """The images that are done, in natural order: this is what annotation files are written from."""
        for name, width, height, found in self._pages("name, width, height, found", "status = 1"):
            yield ImageRecord(json.loads(name), (width, height), unpack(found))

    def failures(self) -> Iterator[tuple[str, str]]:
        """Name and reason of the images that failed, in natural order."""
        yield from ((json.loads(name), reason) for name, reason in self._pages("name, reason", "status = 2"))


def _row(outcome: Outcome) -> tuple[Any, ...]:
    wh = outcome.wh or (None, None)
    status = _FAILED if outcome.found is None else _DONE
    return status, outcome.reason, *wh, pack(outcome.found), json.dumps(_keys(outcome)), sort_key(outcome.name)


def _keys(outcome: Outcome) -> list[str]:
    return [*dict.fromkeys([*(row.key for row in outcome.files), *outcome.kept])]


def sort_key(name: str) -> bytes:
    """A key whose byte order is that of ``(natural_key(name), name)``, so that SQLite can sort by it. Different names
    have different keys.
    """
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
