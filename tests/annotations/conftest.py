"""Records to write, and images of their sizes for readers that look."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from cvdetect.annotations.types import ExportInfo, ImageRecord
from cvdetect.core.detections import Detections
from cvdetect.core.labels import BUILT_IN, LabelSet
from tests.conftest import make_detections

COCO80 = BUILT_IN["coco80"](0)
FACTS = ExportInfo(model="tiny", ran={"runtime": "opencv"})

# What file systems allow and formats trip over.
NASTY = (
    "a,b.png", 'quo"te\'s.png', "line\nbreak.png", "carriage\rreturn.png", "tab\there.png", "<&>amp;.png",
    "Ünï ☂ 😀.png", " space .png", "semi;colon.png", "50%.png", "- dash: #x.png", "back\\slash.png", "=1+1.png",
)  # fmt: skip


class Listed:
    """Records that lie in memory."""

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        self.records = records

    def names(self) -> Iterator[str]:
        return (record.name for record in self.records)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.records)


def record(
    name: str,
    boxes: Sequence[Sequence[float]] = (),
    classes: Sequence[int] | None = None,
    scores: Sequence[float] | None = None,
    wh: tuple[int, int] = (64, 48),
) -> ImageRecord:
    return ImageRecord(name, wh, make_detections(boxes, classes, scores))


def some() -> Listed:
    """A few images of different sizes, one of them without detections."""
    return Listed(
        [
            record("a.png", [[1.25, 2.5, 30.75, 40.1], [0, 0, 64, 48]], [16, 2], [0.9, 0.5]),
            record("b.png", wh=(33, 77)),
            record("c.png", [[3.3, 60.6, 20.9, 77]], [0], [0.123456], wh=(33, 77)),
        ]
    )


def save_images(folder: Path, records: Listed) -> Path:
    """A black image for each record, as readers want to know sizes or to find files."""
    for one in records:
        path = folder / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        black = np.zeros((one.wh[1], one.wh[0], 3), np.uint8)
        path.write_bytes(cv2.imencode(path.suffix, black)[1].tobytes())
    return folder


@pytest.fixture(scope="session")
def coco_mini(shared: Path) -> tuple[Listed, LabelSet]:
    """Darknet's own detections (score over 0.1) on COCO-mini: 79 images, several hundred boxes."""
    truth = json.loads((shared / "data/coco-mini/instances.json").read_text())
    found = json.loads((shared / "data/reference/darknet-yolov3-tiny-coco-mini.json").read_text())
    index = {COCO80.category_id(i): i for i in COCO80.class_ids()}
    records = []
    for image in sorted(truth["images"], key=lambda entry: str(entry["file_name"])):
        rows = [r for r in found if r["image_id"] == image["id"] and r["score"] > 0.1]
        wh = image["width"], image["height"]
        xywh = np.array([r["bbox"] for r in rows], np.float32).reshape(-1, 4)
        xyxy = np.clip(np.c_[xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 0, [*wh, *wh])
        detections = Detections(xyxy, [index[r["category_id"]] for r in rows], [r["score"] for r in rows])
        records.append(ImageRecord(image["file_name"], wh, detections.sort_by_score()))
    return Listed(records), COCO80
