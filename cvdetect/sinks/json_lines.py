"""JSON Lines: one compact object a frame."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

from cvdetect.detections import Detections
from cvdetect.errors import SinkError
from cvdetect.files import check_writable, temporary_beside
from cvdetect.frame import Frame
from cvdetect.json_records import as_line, image_record
from cvdetect.labels import LabelSet

__all__ = ["JsonLines", "as_record"]


def as_record(frame: Frame, found: Detections, model: str, ran: dict[str, str], labels: LabelSet) -> dict[str, Any]:
    """One frame's JSON object: see the README for its keys."""
    moment: dict[str, Any] = {}
    if frame.time_s is not None:
        moment = {"frame": frame.index, "time": round(frame.time_s, 6), **({"held": True} if frame.held else {})}
    return image_record(frame.name, frame.wh, found, model, ran, labels, moment)


class JsonLines:
    """Writes one line a frame to a file, or to standard output where `path` is "-".

    A file is written under a temporary name and renamed at the end, also when the run is cut short: then it holds whole
    lines of the frames so far.
    """

    def __init__(self, path: str, model: str, ran: dict[str, str], labels: LabelSet) -> None:
        self._path = path
        self._facts = (model, ran, labels)
        self._temporary: Path | None = None
        self._stream: IO[str] = sys.stdout

    def __enter__(self) -> JsonLines:
        if self._path != "-":
            check_writable(Path(self._path))
            self._temporary = temporary_beside(Path(self._path))
            self._stream = self._temporary.open("w", encoding="utf-8")
        return self

    def write(self, frame: Frame, found: Detections) -> None:
        """Write one frame's line."""
        line = as_line(as_record(frame, found, *self._facts))
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SinkError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def __exit__(self, *_: object) -> None:
        if self._temporary is None:
            return
        self._stream.close()
        self._temporary.replace(self._path)
