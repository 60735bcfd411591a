"""Plain CSV (RFC 4180): a row a detection, with a header.

An image without detections has one row in which only ``source``, ``width`` and ``height`` are filled.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from cvdetect.annotations.types import ExportInfo, ImageRecord, Records, fixed
from cvdetect.core.labels import LabelSet
from cvdetect.core.record import as_line, image_record

__all__ = ["write_csv", "write_jsonl", "write_openimages", "write_table"]


_CSV_HEADER = ("source", "width", "height", "class_id", "label", "category_id", "score", "x1", "y1", "x2", "y2")


def write_csv(out: Path, records: Records, labels: LabelSet, facts: ExportInfo) -> None:
    """Write ``detections.csv`` into `out`.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    rows = (row for record in records for row in _csv_rows(record, labels))
    with facts.file(out / "detections.csv") as stream:
        write_table(stream, _CSV_HEADER, rows)


def _csv_rows(record: ImageRecord, labels: LabelSet) -> Iterator[list[object]]:
    image = [record.name, *record.wh]
    detections = image_record(record.name, record.wh, record.found, "", {}, labels)["detections"]
    for one in detections:
        yield [*image, one["class_id"], one["label"], one.get("category_id", ""), one["score"], *one["box"]]
    if not detections:
        yield [*image, *[""] * (len(_CSV_HEADER) - len(image))]


# Open Images' box CSV: a row a detection, coordinates as shares of the image.
#
# Format: https://storage.googleapis.com/openimages/web/factsfigures_v7.html#boxes. ``ImageID`` is the image's path in
# its folder, ``LabelName`` the label's text. -1 stands for "not known". An image without detections has no row.

_OPENIMAGES_HEADER = (
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsOccluded", "IsTruncated",
    "IsGroupOf", "IsDepiction", "IsInside",
)  # fmt: skip
# A detection is one object, so no group; whether it is occluded, cut off, drawn or seen from inside, is not known.
_FLAGS = (-1, -1, 0, -1, -1)


def write_openimages(out: Path, records: Records, labels: LabelSet, facts: ExportInfo) -> None:
    """Write ``openimages.csv`` into `out`.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    rows = (row for record in records for row in _openimages_rows(record, labels))
    with facts.file(out / "openimages.csv") as stream:
        write_table(stream, _OPENIMAGES_HEADER, rows)


def _openimages_rows(record: ImageRecord, labels: LabelSet) -> Iterator[list[object]]:
    width, height = record.wh
    found = record.found
    shares = found.xyxy.astype("float64") / (width, height, width, height)  # (N, 4)
    for (x1, y1, x2, y2), class_id, score in zip(shares.tolist(), found.class_id, found.score, strict=True):
        numbers = [fixed(v, 6) for v in (float(score), x1, x2, y1, y2)]
        yield [record.name, "machine", labels.label(int(class_id)), *numbers, *_FLAGS]


# JSON Lines: an object an image, as `image` and `video` write them.


def write_jsonl(out: Path, records: Records, labels: LabelSet, facts: ExportInfo) -> None:
    """Write ``detections.jsonl`` into `out`; an image without detections has a line too.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    with facts.file(out / "detections.jsonl") as stream:
        for record in records:
            line = image_record(record.name, record.wh, record.found, facts.model, facts.ran, labels)
            stream.write(as_line(line) + "\n")


# Writes a table as CSV (RFC 4180).


def write_table(stream: IO[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows, one at a time."""
    table = csv.writer(stream)
    table.writerow(header)
    table.writerows(rows)
