"""Open Images' box CSV: a row a detection, coordinates as shares of the image.

Format: https://storage.googleapis.com/openimages/web/factsfigures_v7.html#boxes. ``ImageID`` is the image's path in
its folder, ``LabelName`` the label's text. -1 stands for "not known". An image without detections has no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvdetect.annotations.naming import fixed
from cvdetect.annotations.table import write_table
from cvdetect.annotations.types import Facts, ImageRecord, Records
from cvdetect.core.labels import LabelSet

__all__ = ["write_openimages"]

_HEADER = (
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsOccluded", "IsTruncated",
    "IsGroupOf", "IsDepiction", "IsInside",
)  # fmt: skip
# A detection is one object, so no group; whether it is occluded, cut off, drawn or seen from inside, is not known.
_FLAGS = (-1, -1, 0, -1, -1)


def write_openimages(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write ``openimages.csv`` into `out`.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    rows = (row for record in records for row in _rows(record, labels))
    with facts.file(out / "openimages.csv") as stream:
        write_table(stream, _HEADER, rows)


def _rows(record: ImageRecord, labels: LabelSet) -> Iterator[list[object]]:
    width, height = record.wh
    found = record.found
    shares = found.xyxy.astype("float64") / (width, height, width, height)  # (N, 4)
    for (x1, y1, x2, y2), class_id, score in zip(shares.tolist(), found.class_id, found.score, strict=True):
        numbers = [fixed(v, 6) for v in (float(score), x1, x2, y1, y2)]
        yield [record.name, "machine", labels.label(int(class_id)), *numbers, *_FLAGS]
