"""JSON Lines: one compact object a frame."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

from cvdetect.detections import Detections
from cvdetect.errors import SinkError
from cvdetect.files import check_writable, temporary_beside
from cvdetect.frame import Frame
from cvdetect.labels import LabelSet

__all__ = ["JsonLines", "as_record"]

SCHEMA = 1


def as_record(frame: Frame, found: Detections, model: str, ran: dict[str, str], labels: LabelSet) -> dict[str, Any]:
    """One frame's JSON object: see the README for its keys."""
    width, height = frame.wh
    record: dict[str, Any] = {"schema": SCHEMA, "source": frame.name, "width": width, "height": height, "model": model}
    if frame.time_s is not None:
        record |= {"frame": frame.index, "time": round(frame.time_s, 6)}
    detections = [_detection(found, i, labels) for i in range(len(found))]
    return record | {"ran": ran, "detections": detections}


def _detection(found: Detections, i: int, labels: LabelSet) -> dict[str, Any]:
    class_id = int(found.class_id[i])
    category_id = labels.category_id(class_id)
    return {
        "class_id": class_id,
        "label": labels.label(class_id),
        **({} if category_id is None else {"category_id": category_id}),
        "score": round(float(found.score[i]), 6),
        "box": [round(float(v), 2) for v in found.xyxy[i]],
        **({} if found.track_id is None else {"track_id": int(found.track_id[i])}),
    }


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
        line = json.dumps(as_record(frame, found, *self._facts), ensure_ascii=False, separators=(",", ":"))
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
