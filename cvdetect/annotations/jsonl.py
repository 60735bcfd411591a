"""JSON Lines: an object an image, in the shape of ``--json``."""

from __future__ import annotations

from pathlib import Path

from cvdetect.annotations.types import Facts, Records
from cvdetect.core.labels import LabelSet
from cvdetect.core.record import as_line, image_record

__all__ = ["write_jsonl"]


def write_jsonl(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write ``detections.jsonl`` into `out`; an image without detections has a line too.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    with facts.file(out / "detections.jsonl") as stream:
        for record in records:
            line = image_record(record.name, record.wh, record.found, facts.model, facts.ran, labels)
            stream.write(as_line(line) + "\n")
