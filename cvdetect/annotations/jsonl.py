"""JSON Lines: an object an image, in the shape of ``--json``."""

from __future__ import annotations

from pathlib import Path

from cvdetect.annotations.record import Facts, Records
from cvdetect.json_records import as_line, image_record
from cvdetect.labels import LabelSet

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
