"""What is done and what is not: one SQLite file a run.

SQLite, because a row and the end of its transaction are one atomic act that survives kill -9, because rows come back
in natural order without being held in memory, and because Python brings it. The file is locked while a run works on it,
so two runs cannot write into one folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cvdetect.annotations.types import ImageRecord
from cvdetect.jobs.annotate.manifest.database import LEDGER_TABLES, Ledger, add_written, place_of, replace_written
from cvdetect.jobs.annotate.manifest.outcome import Outcome, Written, pack, unpack
from cvdetect.jobs.annotate.walk import Listed

__all__ = ["Counts", "Manifest", "Row"]

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
    listing INTEGER NOT NULL,    -- number of the last walk that met it
    status INTEGER NOT NULL,     -- 0 waiting, 1 done, 2 failed
    reason TEXT, width INTEGER, height INTEGER, found BLOB,
    files TEXT NOT NULL DEFAULT '[]'  -- keys of pictures written for it
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
    """What is recorded of an image: its state, how it went, and the pictures written for it (JSON)."""

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
    """The manifest at `path`, made where it is not there. A context manager; safe to use from any thread.

    Every method raises SinkError where the disk does not take or give what is asked for; what was recorded stays.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES, _VERSION)

    def __enter__(self) -> Manifest:
        return self

    def _pages(self, columns: str, condition: str) -> Iterator[Any]:
        """Rows in natural order, a page at a time, so that other work may go on between."""
        query = f"SELECT place, {columns} FROM images WHERE place > ? AND {condition} ORDER BY place LIMIT {_PAGE}"
        last = b""
        while rows := self.all(query, last):
            yield from (row[1:] for row in rows)
            last = rows[-1][0]

    def fact(self, key: str) -> Any:
        """What was remembered of the run under `key`, or None."""
        rows = self.all("SELECT value FROM facts WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def remember(self, **facts: Any) -> None:
        """Remember values of the run, together; what JSON can hold."""
        self._keep(facts)

    def _keep(self, facts: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self.execute_many("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def begin(self, claims: Iterable[Written] = (), **facts: Any) -> None:
        """A run begins, or begins again: no image is done, the pictures of all are gone, and these values hold.

        `claims`: a user's files that may be replaced.
        """
        self.execute("UPDATE images SET status = 0, files = '[]'")
        Ledger.log(self, claims)
        self._keep(facts)

    def list_anew(self, found: Iterable[Listed]) -> bool:
        """Take what a walk found: new and changed images and those that failed wait, unchanged ones stay done.

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
                ((place_of(i.name), json.dumps(i.name), i.size, i.mtime_ns, listing) for i in found),
            )
            return bool(base.execute("SELECT 1 FROM images WHERE listing = ? LIMIT 1", (listing,)).fetchone())

    def gone(self) -> Iterator[tuple[str, list[str]]]:
        """Name and pictures of the images that the last walk did not meet."""
        for name, files in self._pages("name, files", "listing < (SELECT max(listing) FROM images)"):
            yield json.loads(name), json.loads(files)

    def listed(self, met: bool = True) -> Iterator[tuple[str, bool]]:
        """Name of every image, and whether it waits, in natural order; with `met`, of those that the last walk met."""
        condition = "listing = (SELECT max(listing) FROM images)" if met else "1"
        for name, status in self._pages("name, status", condition):
            yield json.loads(name), status == _WAITING

    def forget(self, name: str) -> None:
        """Drop an image."""
        self.execute("DELETE FROM images WHERE place = ?", place_of(name))

    def make_all_wait(self) -> None:
        """Every image is to be done again."""
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
        return bool(self.all("SELECT 1 FROM images WHERE place = ? AND status = 0", place_of(name)))

    def met(self, name: str) -> bool:
        """Whether the last walk met an image of that name."""
        query = "SELECT 1 FROM images WHERE place = ? AND listing = (SELECT max(listing) FROM images)"
        return bool(self.all(query, place_of(name)))

    def holds(self, name: str) -> bool:
        """Whether there is an image of that name."""
        return bool(self.all("SELECT 1 FROM images WHERE place = ?", place_of(name)))

    def record(self, outcome: Outcome) -> None:
        """One image is done, or has failed: from here on it is never lost."""
        self.record_all([outcome])

    def record_all(self, outcomes: Iterable[Outcome]) -> None:
        """The same for several, all or none of them."""
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
        return Row(name, *self.all(f"SELECT {columns} FROM images WHERE place = ?", place_of(name))[0])

    def files_of(self, name: str) -> list[str]:
        """The pictures that were written for an image."""
        rows = self.all("SELECT files FROM images WHERE place = ?", place_of(name))
        return list(json.loads(rows[0][0])) if rows else []

    def log_pictures(self, name: str, rows: Iterable[Written]) -> None:
        """Pictures of an image that are about to be written, beside those that it has; `record` follows.

        In a store this is not logged, as a put an image would be too dear: what a killed run leaves there is known by
        its content (`PictureOutputs.put`).
        """
        some = list(rows)
        together = json.dumps([*dict.fromkeys([*self.files_of(name), *(row.key for row in some)])])
        with self.transaction() as base:
            base.execute("UPDATE images SET files = ? WHERE place = ?", (together, place_of(name)))
            add_written(base, some)

    def add_files(self, name: str, files: Iterable[Written]) -> None:
        """More pictures were written for an image, or written again."""
        added = list(files)
        together = json.dumps([*dict.fromkeys([*self.files_of(name), *(row.key for row in added)])])
        with self.transaction() as base:
            base.execute("UPDATE images SET files = ? WHERE place = ?", (together, place_of(name)))
            replace_written(base, added)

    def all_files(self) -> Iterator[str]:
        """Keys of the pictures that were written for all images."""
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
    return status, outcome.reason, *wh, pack(outcome.found), json.dumps(_keys(outcome)), place_of(outcome.name)


def _keys(outcome: Outcome) -> list[str]:
    return [*dict.fromkeys([*(row.key for row in outcome.files), *outcome.kept])]
