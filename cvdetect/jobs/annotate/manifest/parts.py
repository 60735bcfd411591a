"""A log that is kept in numbered files, for a folder where files cannot grow, be locked or be renamed.

A part is one whole put. Its first line has its number, the run that wrote it, and the number and SHA-256 of the lines
that follow, an event each. A number is taken by creating its part, on the condition that there is none yet: of two runs
that take the same number, one learns of the other.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from cvdetect.core.errors import SinkError, SourceError, SourceNotFound
from cvdetect.jobs.annotate.ahead import ahead
from cvdetect.jobs.annotate.manifest.database import DamagedManifest, OtherManifest
from cvdetect.storage import Folder

__all__ = ["Event", "Parts"]

Event = Mapping[str, Any]

_VERSION = 2
_MOST_EVENTS = 1000  # of a part
_LONGEST = 10.0  # seconds that an event waits, until the next one comes


class Parts:
    """The log in `folder`. Any thread may add to it.

    Every method raises SinkError where the store does not take or give what is asked for, and where another run has
    written to the log since it was read.
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
        """The parts that are there, by rising number."""
        try:
            found = [entry.name for entry in self._folder.entries() if not entry.is_folder]
        except SourceNotFound:
            return []
        except SourceError as error:
            raise SinkError(str(error)) from error
        return sorted((name for name in found if _number(name)), key=_number)

    def read(self) -> Iterator[list[Event]]:
        """The events of each part, in order.

        Raises:
            DamagedManifest: a part is missing or not as it was written.
        """
        names = self.names()
        missing = False
        for name, events in zip(names, ahead(self._read, names), strict=True):
            missing |= _number(name) != self._last + 1
            missing &= not (events and events[0]["do"] == "begin")  # what was before does not matter
            self._last = _number(name)
            yield events
        if missing:
            raise DamagedManifest(f"{self._folder}: parts of the manifest are missing: start again with --overwrite")

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
        raise DamagedManifest(f"{self._folder.shown(name)}: {why}: start again with --overwrite")

    def add(self, event: Event, now: bool = False) -> None:
        """Take an event; it is written with the next part, which is written at once if `now`."""
        with self._lock:
            if not self._lines:
                self._since = time.monotonic()
            self._lines.append(json.dumps(event, separators=(",", ":")) + "\n")
            if now or len(self._lines) >= _MOST_EVENTS or time.monotonic() - self._since > _LONGEST:
                self._write()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            if self._lines:
                self._write()

    def remove(self, before: int | None = None) -> None:
        """Delete all parts, or those before a number."""
        self._folder.remove(name for name in self.names() if before is None or _number(name) < before)
        if before is None:
            self._last = 0

    @property
    def last(self) -> int:
        """The number of the last part."""
        return self._last

    def _write(self) -> None:
        if self._lost:  # told already
            return
        number = self._last + 1
        name = f"{number:08d}.jsonl"
        body = "".join(self._lines).encode()
        head = {"part": number, "version": _VERSION, "run": self._run, "sha256": hashlib.sha256(body).hexdigest()}
        if not self._folder.create(name, json.dumps(head).encode() + b"\n" + body):
            self._lost = True
            raise SinkError(
                f"{self._folder.shown(name)}: was written by another run: another cvdetect annotate is at work here"
            )
        self._last = number
        self._lines.clear()


def _number(name: str) -> int:
    stem, _, suffix = name.partition(".")
    return int(stem) if suffix == "jsonl" and stem.isascii() and stem.isdecimal() else 0
