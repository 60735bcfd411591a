"""YOLO text files: a line an object, ``class centre-x centre-y width height``, shares of the image, six decimals.

Tools that train on them (https://docs.ultralytics.com/datasets/detect) look for the labels of ``…/images/x.jpg`` in
``…/labels/x.txt``. ``data.yaml`` has ``train`` and ``val`` only where that holds of the images in its own folder, and
neither ``path``, which would tie the set to a place, nor ``nc``, which CVAT takes for a subset.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

from cvdetect.annotations.classes import Classes
from cvdetect.annotations.naming import fixed, one_line, output_stems
from cvdetect.annotations.types import Facts, ImageRecord, Records
from cvdetect.core.boxes import xyxy_to_cxcywh
from cvdetect.core.files import place
from cvdetect.core.labels import LabelSet

__all__ = ["write_yolo", "yolo_lines"]

_ELSEWHERE = """\
# No "train:": from where the images lie, their labels are not found. --link-images or --copy-images put them here.
"""
_TRAIN_AND_VAL = """\
# "val:" is the same images, because training tools ask for both: set some apart before its figures are trusted.
train: images
val: images
"""


def write_yolo(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write ``labels/`` in the tree of the images, ``classes.txt`` and ``data.yaml`` into `out`.

    An image without detections has an empty file.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    classes = Classes(labels)
    stems = output_stems(records.names())
    folder = out / "labels"
    for record in records:
        with facts.file_of(record.name, place(folder, stems[record.name] + ".txt")) as stream:
            stream.writelines(line + "\n" for line in yolo_lines(record, classes, facts.yolo_conf))
    names = classes.names()
    with facts.file(out / "classes.txt") as stream:
        stream.writelines(one_line(name) + "\n" for name in names)
    with facts.file(out / "data.yaml") as stream:
        stream.write(_TRAIN_AND_VAL if _labels_are_found(stems, facts) else _ELSEWHERE)
        stream.writelines(line + "\n" for line in _names_as_yaml(names))


def yolo_lines(record: ImageRecord, classes: Classes, with_score: bool = False) -> Iterator[str]:
    """The lines of one image's label file, best first; with the score each has a sixth number."""
    width, height = record.wh
    boxes = xyxy_to_cxcywh(record.found.xyxy.astype("float64")) / (width, height, width, height)  # (N, 4)
    for box, class_id, score in zip(boxes, record.found.class_id, record.found.score, strict=True):
        numbers = [*box, score] if with_score else box
        yield " ".join([str(classes.index(int(class_id))), *(fixed(float(v), 6) for v in numbers)])


def _labels_are_found(stems: Mapping[str, str], facts: Facts) -> bool:
    """Whether every label file is where readers look for it: one that is not would be taken for an empty image."""
    if facts.images == "there":
        return all(stem == posixpath.splitext(name)[0] for name, stem in stems.items())
    return facts.images == "placed"


def _names_as_yaml(names: list[str]) -> Iterator[str]:
    """``names:`` as a mapping, every name in quotes: which of "yes", "y", "1e3" and "null" are text differs by parser.

    In ASCII, as readers open the file in whatever encoding their system has.
    """
    import yaml

    yield "names:" if names else "names: {}"
    for number, name in enumerate(names):
        yield f"  {number}: " + yaml.safe_dump(name, default_style='"', width=float("inf")).rstrip("\n")
