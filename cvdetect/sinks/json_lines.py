"""JSON Lines files: one compact object for each frame."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cvdetect.core.detections import Detections
from cvdetect.core.files import TextFile
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.core.printable import json_text
from cvdetect.core.record import as_line, image_record
from cvdetect.core.redact import redact_name
from cvdetect.core.targets import is_standard_output

__all__ = ["JsonLines", "as_record"]


def as_record(frame: Frame, found: Detections, model: str, ran: dict[str, str], labels: LabelSet) -> dict[str, Any]:
    """One frame's JSON object: see the README for its keys."""
    moment: dict[str, Any] = {}
    if frame.time_s is not None:
        moment = {"frame": frame.index, "time": round(frame.time_s, 6), **({"held": True} if frame.skipped else {})}
    return image_record(redact_name(frame.name), frame.wh, found, model, ran, labels, moment)


class JsonLines:
    """Writes one line a frame to a file, a device or pipe, or to standard output where `path` is "-".

    The file appears at the end, also when the run is interrupted; then it has the lines of the frames so far. Without
    any frame an earlier file stays as it was.
    """

    def __init__(self, path: str | Path, model: str, ran: dict[str, str], labels: LabelSet) -> None:
        self._path = path
        self._run = (model, ran, labels)

    def __enter__(self) -> JsonLines:
        self._file = TextFile(self._path)
        return self

    def write(self, frame: Frame, found: Detections) -> None:
        """Write one frame's line."""
        line = as_line(as_record(frame, found, *self._run)) + "\n"
        self._file.write(json_text(line, sys.stdout) if is_standard_output(self._path) else line)

    def __exit__(self, *_: object) -> None:
        self._file.close()
