"""COCO JSON: ``instances.json`` (images, annotations, categories) and ``results.json`` (the list of detections).

Format: https://cocodataset.org/#format-data and #format-results. ``bbox`` is x, y, width, height in pixels from 0, with
two decimals; ``area`` is the box's. Detections with masks have a ``segmentation`` and the mask's area: in the results
compressed RLE, in the instances polygons along the pixels' edges, or RLE where polygons cannot say it (holes). In the
instances every annotation has a ``segmentation``, because importers refuse one without; where there is no mask it is an
empty list, as the box's polygon would be taken for a mask.
"""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

from cvdetect.annotations.classes import Classes
from cvdetect.annotations.polygons import polygons
from cvdetect.annotations.spool import spool
from cvdetect.annotations.types import Facts, ImageRecord, Records
from cvdetect.core.boxes import xyxy_to_xywh
from cvdetect.core.labels import LabelSet
from cvdetect.core.masks import Region, encode_rle, regions
from cvdetect.core.record import as_line

__all__ = ["image_ids", "write_coco"]

_LARGEST_ID = 2**63 - 1  # what other tools' integers hold


def write_coco(out: Path, records: Records, labels: LabelSet, facts: Facts) -> None:
    """Write ``instances.json`` and ``results.json`` into `out`, in one pass over the records.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    classes = Classes(labels)
    with (
        facts.file(out / "instances.json") as instances,
        facts.file(out / "results.json") as results,
        spool(out) as annotations,
    ):
        instances.write('{"info":' + as_line({"description": f"Detections of {facts.model}"}) + ',"licenses":[],\n')
        images = _List(instances, '"images":[')
        annotated = _List(annotations, '"annotations":[')
        detected = _List(results, "[")
        for image_id, record in zip(image_ids(records.names()), records, strict=True):
            images.add(_image(image_id, record))
            masks = regions(record.found, record.wh)
            for result, mask in zip_longest(_results(image_id, record, classes), masks):
                rle = {} if mask is None else {"segmentation": encode_rle(mask, record.wh)}
                detected.add(result | rle)
                annotated.add(_annotation(annotated.count + 1, result | rle, mask))
        images.end(",\n")
        annotated.end(",\n")
        detected.end("\n")
        annotations.seek(0)
        shutil.copyfileobj(annotations, instances)
        categories = _List(instances, '"categories":[')
        for category_id, name in classes.categories():
            categories.add({"id": category_id, "name": name, "supercategory": ""})
        categories.end("}\n")


class _List:
    """A JSON list written item by item, one a line."""

    def __init__(self, stream: IO[str], opening: str) -> None:
        self._stream = stream
        self.count = 0
        stream.write(opening)

    def add(self, item: dict[str, Any]) -> None:
        self._stream.write((",\n" if self.count else "\n") + as_line(item))
        self.count += 1

    def end(self, after: str) -> None:
        self._stream.write(("\n]" if self.count else "]") + after)


def image_ids(names: Iterable[str]) -> list[int]:
    """The stems' numbers where every stem is a number and all differ, else 1, 2, … in the order given."""
    stems = [posixpath.splitext(posixpath.basename(name))[0] for name in names]
    if all(stem.isascii() and stem.isdecimal() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers) and max(numbers, default=0) <= _LARGEST_ID:
            return numbers
    return list(range(1, len(stems) + 1))


def _image(image_id: int, record: ImageRecord) -> dict[str, Any]:
    return {"id": image_id, "file_name": record.name, "width": record.wh[0], "height": record.wh[1]}


def _results(image_id: int, record: ImageRecord, classes: Classes) -> Iterator[dict[str, Any]]:
    boxes = xyxy_to_xywh(record.found.xyxy.astype("float64"))  # (N, 4)
    for bbox, class_id, score in zip(boxes, record.found.class_id, record.found.score, strict=True):
        yield {
            "image_id": image_id,
            "category_id": classes.category_id(int(class_id)),
            "bbox": [round(float(v), 2) for v in bbox],
            "score": round(float(score), 6),
        }


def _annotation(number: int, result: dict[str, Any], mask: Region | None) -> dict[str, Any]:
    """A detection as an annotation. Numbers start at 1: to COCO's evaluation, annotation 0 is none."""
    if mask is not None:
        outlines = {"segmentation": polygons(mask) or result["segmentation"]}
        return {"id": number, **result, **outlines, "area": mask.area, "iscrowd": 0}
    area = round(result["bbox"][2] * result["bbox"][3], 4)
    return {"id": number, **result, "segmentation": [], "area": area, "iscrowd": 0}
