"""Formats for tables and scripts: plain CSV, Open Images' box CSV, and JSON Lines."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from cvdetect.annotations.types import AnnotationFormat, ExportInfo, ImageRecord, Records
from cvdetect.annotations.writing import fixed
from cvdetect.core.labels import LabelSet
from cvdetect.core.record import as_line, image_record

__all__ = ["CSV", "JSONL", "OPENIMAGES"]

_CSV_HEADER = ("source", "width", "height", "class_id", "label", "category_id", "score", "x1", "y1", "x2", "y2")


def write_csv(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write ``detections.csv`` into `out`: a header, and a row for each detection.

    An image without detections has one row in which only ``source``, ``width`` and ``height`` are filled.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    rows = (row for record in records for row in _csv_rows(record, labels))
    with info.file(out / "detections.csv") as stream:
        _write_table(stream, _CSV_HEADER, rows)


def _csv_rows(record: ImageRecord, labels: LabelSet) -> Iterator[list[object]]:
    image = [record.name, *record.wh]
    detections = image_record(record.name, record.wh, record.found, "", {}, labels)["detections"]
    for one in detections:
        yield [*image, one["class_id"], one["label"], one.get("category_id", ""), one["score"], *one["box"]]
    if not detections:
        yield [*image, *[""] * (len(_CSV_HEADER) - len(image))]


# Open Images: https://storage.googleapis.com/openimages/web/factsfigures_v7.html#boxes
_OPENIMAGES_HEADER = (
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsOccluded", "IsTruncated",
    "IsGroupOf", "IsDepiction", "IsInside",
)  # fmt: skip
# A detection is one object, so not a group; whether it is occluded, cut off, drawn or seen from inside: not known, -1.
_FLAGS = (-1, -1, 0, -1, -1)


def write_openimages(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write ``openimages.csv`` into `out`: a row for each detection, normalized coordinates.

    ``ImageID`` is the image's path in its folder, ``LabelName`` the label's text. An image without detections has no
    row.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    rows = (row for record in records for row in _openimages_rows(record, labels))
    with info.file(out / "openimages.csv") as stream:
        _write_table(stream, _OPENIMAGES_HEADER, rows)


def _openimages_rows(record: ImageRecord, labels: LabelSet) -> Iterator[list[object]]:
    width, height = record.wh
    found = record.found
    normalized = found.xyxy.astype("float64") / (width, height, width, height)  # (N, 4)
    for (x1, y1, x2, y2), class_id, score in zip(normalized.tolist(), found.class_id, found.score, strict=True):
        numbers = [fixed(v, 6) for v in (float(score), x1, x2, y1, y2)]
        yield [record.name, "machine", labels.label(int(class_id)), *numbers, *_FLAGS]


def write_jsonl(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write ``detections.jsonl`` into `out`: a line for each image, with the keys of ``--json``.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    with info.file(out / "detections.jsonl") as stream:
        for record in records:
            line = image_record(record.name, record.wh, record.found, info.model, info.ran, labels)
            stream.write(as_line(line) + "\n")


def _write_table(stream: IO[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows as CSV (RFC 4180), one at a time."""
    table = csv.writer(stream)
    table.writerow(header)
    table.writerows(rows)


CSV = AnnotationFormat(name="csv", write=write_csv)
JSONL = AnnotationFormat(name="jsonl", write=write_jsonl)
OPENIMAGES = AnnotationFormat(name="openimages", write=write_openimages)
