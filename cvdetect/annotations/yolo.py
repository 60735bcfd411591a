"""YOLO text files: a line an object, ``class centre-x centre-y width height``, shares of the image, six decimals.

Tools that train on them (https://docs.ultralytics.com/datasets/detect) look for the labels of ``…/images/x.jpg`` in
``…/labels/x.txt``: name the folder of images "images" and write to the folder that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvdetect.annotations.classes import Classes
from cvdetect.annotations.naming import fixed, output_stems, quote_yaml
from cvdetect.annotations.record import Facts, ImageRecord, Records
from cvdetect.boxes import xyxy_to_cxcywh
from cvdetect.files import place, whole_file
from cvdetect.labels import LabelSet

__all__ = ["write_yolo"]


def write_yolo(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write ``labels/`` in the tree of the images, ``classes.txt`` and ``data.yaml`` into `out`.

    An image without detections has an empty file.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    classes = Classes(labels)
    stems = output_stems(records.names())
    for record in records:
        with facts.file_of(record.name, place(out / "labels", stems[record.name] + ".txt")) as stream:
            stream.writelines(line + "\n" for line in _lines(record, classes, facts.yolo_conf))
    names = classes.names()
    with whole_file(out / "classes.txt", facts.scratch) as stream:
        stream.writelines(" ".join(name.splitlines()) + "\n" for name in names)
    with whole_file(out / "data.yaml", facts.scratch) as stream:
        stream.writelines(line + "\n" for line in _data_yaml(names, facts.images))


def _lines(record: ImageRecord, classes: Classes, with_score: bool) -> Iterator[str]:
    width, height = record.wh
    boxes = xyxy_to_cxcywh(record.found.xyxy.astype("float64")) / (width, height, width, height)  # (N, 4)
    for box, class_id, score in zip(boxes, record.found.class_id, record.found.score, strict=True):
        numbers = [*box, score] if with_score else box
        yield " ".join([str(classes.index(int(class_id))), *(fixed(float(v), 6) for v in numbers)])


def _data_yaml(names: list[str], images: str) -> Iterator[str]:
    yield f"path: {quote_yaml(images)}"
    yield "train: ."
    yield "val: ."
    yield f"nc: {len(names)}"
    yield "names:" if names else "names: []"
    for name in names:
        yield f"  - {quote_yaml(name)}"
