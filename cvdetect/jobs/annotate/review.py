"""The review page: one HTML file to look through the results, with thumbnails beside it; no server, no network.

The data lie in the page as JSON, one image a line, and the page's own script shows 60 images at a time, so that a page
of a hundred thousand images opens too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from cvdetect.annotations.types import ImageRecord, Records
from cvdetect.core.files import whole_file
from cvdetect.jobs.annotate.job import ModelInfo
from cvdetect.sinks.draw import class_colour

__all__ = ["thumbnail_path", "write_review"]


def thumbnail_path(name: str) -> str:
    """An image's thumbnail, relative to the review page's folder."""
    return f"thumbs/{name}.jpg"


def write_review(path: Path, records: Records, model: ModelInfo) -> None:
    """Write the page of all `records`; their thumbnails lie where `thumbnail_path` says, relative to the page.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    template = (files("cvdetect.jobs.annotate") / "page.html").read_text(encoding="utf-8")
    before, after = template.replace("{{model}}", escape(model.model)).split("{{data}}")
    for part in ("page.css", "page.js"):
        text = (files("cvdetect.jobs.annotate") / part).read_text(encoding="utf-8")
        before, after = before.replace(f"{{{{{part}}}}}", text), after.replace(f"{{{{{part}}}}}", text)
    with whole_file(path) as stream:
        stream.write(before)
        stream.writelines(_data(records, model))
        stream.write(after)


def _data(records: Records, model: ModelInfo) -> Iterator[str]:
    """``images``: lists of name, thumbnail, width, height, and a flat list of class, score, x1, y1, x2, y2 of all
    detections; ``classes``: label and colour of each class, numbered as they appear.
    """
    classes: dict[int, int] = {}
    yield '{"images":['
    for number, record in enumerate(records):
        yield (",\n" if number else "\n") + _json(_image(record, classes))
    yield '\n],"classes":' + _json([[model.labels.label(class_id), _css(class_id)] for class_id in classes]) + "}"


def _image(record: ImageRecord, classes: dict[int, int]) -> list[object]:
    found = record.found
    flat: list[float] = []
    for box, class_id, score in zip(found.xyxy, found.class_id, found.score, strict=True):
        number = classes.setdefault(int(class_id), len(classes))
        flat += [number, round(float(score), 4), *(round(float(v), 1) for v in box)]
    shown = record.name.encode("utf-8", "backslashreplace").decode("utf-8")  # a name may not be UTF-8
    return [shown, quote(thumbnail_path(record.name), errors="surrogateescape"), *record.wh, flat]


def _json(value: object) -> str:
    """JSON without ``<``, so that nothing in a name can end the script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _css(class_id: int) -> str:
    blue, green, red = class_colour(class_id)
    return f"#{red:02x}{green:02x}{blue:02x}"
