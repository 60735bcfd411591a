"""Darknet's own layout, which CVAT calls YOLO 1.1: label files beside the images, and lists that name all of them.

Formats: https://docs.cvat.ai/docs/manual/advanced/formats/format-yolo and https://pjreddie.com/darknet/yolo (training).
The label files are those of ``yolo``. Paths are relative to the folder, in which Darknet is to be run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cvdetect.annotations.classes import Classes
from cvdetect.annotations.naming import one_line, output_stems, placed_name
from cvdetect.annotations.types import Facts, Records
from cvdetect.annotations.yolo import yolo_lines
from cvdetect.core.files import place
from cvdetect.core.labels import LabelSet

__all__ = ["DARKNET_IMAGES", "write_yolo_darknet"]

DARKNET_IMAGES = "obj_train_data"


def write_yolo_darknet(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write ``obj_train_data/`` in the tree of the images, ``train.txt``, ``obj.names`` and ``obj.data`` into `out`.

    An image without detections has an empty file. There is never a score: Darknet would read it as the next class.

    Raises:
        SinkError: the folder or disk does not take it, or an image's name leads out of `out`.
    """
    classes = Classes(labels)
    stems = output_stems(records.names())
    folder = out / DARKNET_IMAGES
    for record in records:
        with facts.file_of(record.name, place(folder, stems[record.name] + ".txt")) as stream:
            stream.writelines(line + "\n" for line in yolo_lines(record, classes))
    names = classes.names()
    lists = {"train.txt": _images(stems), "obj.names": map(one_line, names), "obj.data": _data(len(names))}
    for name, lines in lists.items():
        with facts.file(out / name) as stream:
            stream.writelines(line + "\n" for line in lines)


def _images(stems: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{DARKNET_IMAGES}/{one_line(placed_name(name, stem))}" for name, stem in stems.items())


def _data(classes: int) -> Iterator[str]:
    """No ``valid``: CVAT would import its images a second time."""
    yield f"classes = {classes}"
    yield "train = train.txt"
    yield "names = obj.names"
    yield "backup = ."  # Darknet makes no folder for the weights that it trains
