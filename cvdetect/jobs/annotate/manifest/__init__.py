"""The manifest of a run: an SQLite file in OUT; where OUT is in a store, a local one, and a log of its changes in OUT.

The log lies in numbered segments, because files in a store cannot grow, be locked or be renamed. The walk is not in the
log: images that wait are found again. An image's row has the state in which it was done, so that it is done again when
it has changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.errors import SinkError, SourceError, SourceNotFound, UsageError
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.database import DamagedManifest, OtherManifest
from cvdetect.jobs.annotate.manifest.ledger import add_written, replace_written
from cvdetect.jobs.annotate.manifest.manifest import Manifest, Row, sort_key
from cvdetect.jobs.annotate.manifest.outcome import Outcome, WrittenFile
from cvdetect.jobs.annotate.prefetch import prefetch
from cvdetect.storage import Folder, LocalFolder

__all__ = ["MANIFEST_FOLDER", "Event", "LogSegments", "LoggedManifest", "in_use_error", "open_manifest"]


MANIFEST_FOLDER = ".cvdetect"  # in OUT

Event = Mapping[str, Any]

_ROWS = 500  # in one event
_VERSION = 2
_MOST_EVENTS = 1000  # of a segment
_LONGEST_WAIT = 10.0  # seconds that an event waits for the next one


class LogSegments:
    """The log in `folder`, in numbered files. Any thread may add to it.

    A segment is written by one request. Its first line has its number, the run that wrote it, and the SHA-256 of the
    lines that follow, an event each. A number is taken by creating its segment, on the condition that there is none
    yet: of two runs that take the same number, one learns of the other.

    Every method raises SinkError where the store cannot be read or written, and where another run has written to the
    log since it was read.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._run = secrets.token_hex(8)
        self._last = 0
        self._lines: list[str] = []
        self._since = 0.0
        self._lost = False
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The names of the segments, by rising number."""
        try:
            found = [entry.name for entry in self._folder.entries() if not entry.is_folder]
        except SourceNotFound:
            return []
        except SourceError as error:
            raise SinkError(str(error)) from error
        return sorted((name for name in found if _number(name)), key=_number)

    def read(self) -> Iterator[list[Event]]:
        """The events of each segment, in order.

        Raises:
            DamagedManifest: a segment is missing or not as it was written.
        """
        names = self.names()
        missing = False
        for name, events in zip(names, prefetch(self._read, names), strict=True):
            missing |= _number(name) != self._last + 1
            missing &= not (events and events[0]["do"] == "begin")  # what was before does not matter
            self._last = _number(name)
            yield events
        if missing:
            hint = f"start again with {arg('overwrite', True)}"
            raise DamagedManifest(f"{self._folder}: segments of the manifest are missing: {hint}")

    def _read(self, name: str) -> list[Event]:
        try:
            first, _, body = self._folder.read(name).partition(b"\n")
            head, lines = json.loads(first), body.splitlines()
            whole = (head["part"], head["sha256"]) == (_number(name), hashlib.sha256(body).hexdigest())
            if whole and head["version"] == _VERSION:
                return [json.loads(line) for line in lines]
            if whole:
                raise OtherManifest(self._folder.shown(name))
            why = "is damaged"
        except SourceError as error:
            raise SinkError(str(error)) from error
        except (ValueError, KeyError, TypeError):
            why = "is damaged"
        raise DamagedManifest(f"{self._folder.shown(name)}: {why}: start again with {arg('overwrite', True)}")

    def add(self, event: Event, now: bool = False) -> None:
        """Log an event; it is written with the next segment, which is written at once if `now`."""
        with self._lock:
            if not self._lines:
                self._since = time.monotonic()
            self._lines.append(json.dumps(event, separators=(",", ":")) + "\n")
            if now or len(self._lines) >= _MOST_EVENTS or time.monotonic() - self._since > _LONGEST_WAIT:
                self._write()

    def flush(self) -> None:
        """Write the events that wait."""
        with self._lock:
            if self._lines:
                self._write()

    def remove(self, before: int | None = None) -> None:
        """Delete all segments, or those before a number."""
        self._folder.remove(name for name in self.names() if before is None or _number(name) < before)
        if before is None:
            self._last = 0

    @property
    def last(self) -> int:
        """The number of the last segment."""
        return self._last

    def _write(self) -> None:
        if self._lost:  # reported already
            return
        number = self._last + 1
        name = f"{number:08d}.jsonl"
        body = "".join(self._lines).encode()
        head = {"part": number, "version": _VERSION, "run": self._run, "sha256": hashlib.sha256(body).hexdigest()}
        if not self._folder.create(name, json.dumps(head).encode() + b"\n" + body):
            self._lost = True
            raise SinkError(
                f"{self._folder.shown(name)}: was written by another run: another cvdetect annotate is running here"
            )
        self._last = number
        self._lines.clear()


def _number(name: str) -> int:
    stem, _, suffix = name.partition(".")
    return int(stem) if suffix == "jsonl" and stem.isascii() and stem.isdecimal() else 0


class LoggedManifest(Manifest):
    """The manifest that log segments describe, rebuilt at `path`, where nothing needs to last.

    Raises:
        DamagedManifest: a segment is missing or damaged.
        SinkError: as `Manifest`, and where another run is running.
    """

    def __init__(self, path: Path, segments: LogSegments) -> None:
        super().__init__(path)
        self._segments = segments
        self.all("PRAGMA synchronous = OFF")
        try:
            for events in segments.read():
                self._replay(events)
        except BaseException:
            super().__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._segments.flush()
        finally:
            super().__exit__()

    def _replay(self, events: Iterable[Event]) -> None:
        with self.transaction() as base:
            for event in events:
                _REPLAY[event["do"]](base, event)

    def remember(self, **facts: Any) -> None:
        """Logged at once: what follows can rely on it."""
        new = {key: value for key, value in facts.items() if json.loads(json.dumps(value)) != self.fact(key)}
        super().remember(**facts)
        if new:
            self._segments.add({"do": "remember", "facts": new}, now=True)

    def begin(self, claims: Iterable[WrittenFile] = (), **facts: Any) -> None:
        """As `Manifest`. Earlier segments are deleted when all that is still true is logged again."""
        super().begin(claims, **facts)
        self._segments.flush()
        first = self._segments.last + 1
        self._segments.add({"do": "begin", "facts": facts}, now=True)
        self._log(self.all_written())
        self._segments.flush()
        self._segments.remove(before=first)

    def forget(self, name: str) -> None:
        """As `Manifest`."""
        super().forget(name)
        self._segments.add({"do": "forget", "name": name})

    def make_all_wait(self) -> None:
        """As `Manifest`."""
        super().make_all_wait()
        self._segments.add({"do": "wait"})

    def record_all(self, outcomes: Iterable[Outcome]) -> None:
        """As `Manifest`. Outcomes whose segment is not written yet are lost with the process: they are done again."""
        recorded = list(outcomes)
        super().record_all(recorded)
        for outcome in recorded:
            self._segments.add(_event(self.row(outcome.name), outcome.files))

    def add_files(self, name: str, files: Iterable[WrittenFile]) -> None:
        """As `Manifest`."""
        added = list(files)
        super().add_files(name, added)
        self._segments.add(
            {"do": "files", "name": name, "files": self.files_of(name), "written": [*map(astuple, added)]}
        )

    def log(self, rows: Iterable[WrittenFile], export: int = 0) -> None:
        """As `Manifest`. Logged at once, also where nothing is new: if another run is running, no file is written."""
        logged = list(rows)
        super().log(logged, export)
        self._log(iter(logged))
        self._segments.add({"do": "written", "rows": []}, now=True)

    def _log(self, rows: Iterator[WrittenFile]) -> None:
        while some := list(islice(rows, _ROWS)):
            self._segments.add({"do": "written", "rows": [*map(astuple, some)]})

    def disown(self, keys: Iterable[str]) -> None:
        """As `Manifest`."""
        gone = list(keys)
        super().disown(gone)
        if gone:
            self._segments.add({"do": "disown", "keys": gone})

    def end_export(self, export: int) -> None:
        """As `Manifest`."""
        superseded = [[json.loads(key), digest] for key, digest in self.superseded(export)]
        super().end_export(export)
        for at in range(0, len(superseded), _ROWS):
            self._segments.add({"do": "drop", "rows": superseded[at : at + _ROWS]})


def _event(row: Row, files: Iterable[WrittenFile]) -> Event:
    found = None if row.found is None else base64.b64encode(row.found).decode("ascii")
    return {"do": "record", **row._asdict(), "found": found, "written": [*map(astuple, files)]}


def _record(base: sqlite3.Connection, event: Event) -> None:
    row = {**event, "found": None if event["found"] is None else base64.b64decode(event["found"])}
    base.execute(
        "INSERT OR REPLACE INTO images (place, name, listing, size, mtime_ns, status, reason, width, height, found, "
        "files) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
        (sort_key(event["name"]), json.dumps(event["name"]), *(row[key] for key in Row._fields[1:])),
    )
    replace_written(base, (WrittenFile(*values) for values in event["written"]))


def _remember(base: sqlite3.Connection, event: Event) -> None:
    rows = [(key, json.dumps(value)) for key, value in event["facts"].items()]
    base.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)


def _begin(base: sqlite3.Connection, event: Event) -> None:
    base.execute("DELETE FROM images")
    base.execute("DELETE FROM facts")
    _remember(base, event)


def _files(base: sqlite3.Connection, event: Event) -> None:
    base.execute("UPDATE images SET files = ? WHERE place = ?", (json.dumps(event["files"]), sort_key(event["name"])))
    replace_written(base, (WrittenFile(*values) for values in event["written"]))


def _written(base: sqlite3.Connection, event: Event) -> None:
    add_written(base, (WrittenFile(*values) for values in event["rows"]))


def _drop(base: sqlite3.Connection, event: Event) -> None:
    rows = [(json.dumps(key), digest) for key, digest in event["rows"]]
    base.executemany("DELETE FROM written WHERE key = ? AND digest = ?", rows)


def _disown(base: sqlite3.Connection, event: Event) -> None:
    base.executemany("DELETE FROM written WHERE key = ?", [(json.dumps(key),) for key in event["keys"]])


_REPLAY: Mapping[str, Callable[[sqlite3.Connection, Event], object]] = {
    "begin": _begin,
    "remember": _remember,
    "record": _record,
    "files": _files,
    "forget": lambda base, event: base.execute("DELETE FROM images WHERE place = ?", (sort_key(event["name"]),)),
    "wait": lambda base, _: base.execute("UPDATE images SET status = 0"),
    "written": _written,
    "drop": _drop,
    "disown": _disown,
}


# The manifest of any run, opened.


@contextmanager
def open_manifest(job: AnnotateJob) -> Iterator[Manifest]:
    """The manifest, open. If no run was begun in it, no trace of it stays.

    Raises:
        UsageError: an `out` in a store is in use; that a local one is shows when its manifest is open.
        SinkError: another run is running here, or the disk or store cannot be read or written.
    """
    out = job.out_folder
    with _local(job, out.path) if isinstance(out, LocalFolder) else _remote(job, out) as manifest:
        yield manifest


def in_use_error(job: AnnotateJob) -> UsageError:
    """The error about an `out` that is in use."""
    hint = f"give {arg('resume', True)} to continue, {arg('overwrite', True)} to start again"
    return UsageError(f"{job.out}: holds an earlier run's results: {hint}")


@contextmanager
def _local(job: AnnotateJob, out: Path) -> Iterator[Manifest]:
    own = out / MANIFEST_FOLDER
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        manifest = Manifest(own / "manifest.sqlite")
    except DamagedManifest:
        if not job.overwrite:
            raise
        _remove(own)
        manifest = Manifest(own / "manifest.sqlite")
    begun = True
    try:
        with manifest:
            try:
                yield manifest
            finally:
                begun = manifest.fact("options") is not None
    finally:
        if not begun:
            _remove(own)
            with suppress(OSError):
                for folder in new:
                    folder.rmdir()


def _remove(own: Path) -> None:
    """Delete the manifest, and nothing else that lies in its folder."""
    shutil.rmtree(own / "export", ignore_errors=True)
    with suppress(OSError):
        for path in own.glob("manifest.sqlite*"):
            path.unlink()
        own.rmdir()


@contextmanager
def _remote(job: AnnotateJob, out: Folder) -> Iterator[Manifest]:
    segments = LogSegments(out.folder(f"{MANIFEST_FOLDER}/parts"))
    if not (job.resume or job.overwrite) and segments.names():  # known without reading them all
        raise in_use_error(job)
    try:
        folder = tempfile.TemporaryDirectory(prefix="cvdetect-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SinkError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror or error}") from error
    with folder as name:
        try:
            manifest = LoggedManifest(Path(name) / "manifest.sqlite", segments)
        except DamagedManifest:
            if not job.overwrite:
                raise
            segments.remove()
            manifest = LoggedManifest(Path(name) / "again.sqlite", segments)
        with manifest:
            yield manifest
