"""Plain CSV (RFC 4180): a row a detection, with a header.

An image without detections has one row in which only ``source``, ``width`` and ``height`` are filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvdetect.annotations.table import write_table
from cvdetect.annotations.types import Facts, ImageRecord, Records
from cvdetect.core.labels import LabelSet
from cvdetect.core.record import image_record

__all__ = ["write_csv"]

_HEADER = ("source", "width", "height", "class_id", "label", "category_id", "score", "x1", "y1", "x2", "y2")


def write_csv(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write ``detections.csv`` into `out`.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    rows = (row for record in records for row in _rows(record, labels))
    with facts.file(out / "detections.csv") as stream:
        write_table(stream, _HEADER, rows)


def _rows(record: ImageRecord, labels: LabelSet) -> Iterator[list[object]]:
    image = [record.name, *record.wh]
    detections = image_record(record.name, record.wh, record.found, "", {}, labels)["detections"]
    for one in detections:
        yield [*image, one["class_id"], one["label"], one.get("category_id", ""), one["score"], *one["box"]]
    if not detections:
        yield [*image, *[""] * (len(_HEADER) - len(image))]
