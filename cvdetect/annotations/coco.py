"""COCO JSON: ``instances.json`` (images, annotations, categories) and ``results.json`` (a list of detections).

Format: https://cocodataset.org/#format-data and #format-results. ``bbox`` is x, y, width, height in pixels from 0, with
two decimals; ``area`` is the box's. Detections with masks have a ``segmentation`` and the mask's area: in the results
compressed RLE, in the instances polygons along the pixels' edges, or RLE for masks with holes, which polygons cannot
express. In the instances every annotation has a ``segmentation``, because importers refuse one without; where there is
no mask it is an empty list, as the box's polygon would be taken for a mask.
"""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cvdetect.annotations.parsing import (
    Box,
    GroundTruthObject,
    Notes,
    Wh,
    as_float,
    as_int,
    format_error,
    read_json,
    truth_image,
)
from cvdetect.annotations.types import (
    AnnotationFormat,
    ExportInfo,
    GroundTruth,
    GroundTruthReader,
    ImageRecord,
    Match,
    Records,
    Results,
)
from cvdetect.annotations.writing import Classes, spool
from cvdetect.core.labels import LabelSet
from cvdetect.core.record import as_line

if TYPE_CHECKING:
    from cvdetect.core.masks import Region

__all__ = ["COCO", "image_ids", "polygons", "read_coco", "read_results"]

_LARGEST_ID = 2**63 - 1  # what other tools' integers hold
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: each a turn to the right of the one before

Corner = tuple[int, int]  # x, y


def write_coco(out: Path, records: Records, labels: LabelSet, info: ExportInfo) -> None:
    """Write ``instances.json`` and ``results.json`` into `out`, in one pass over the records.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    from cvdetect.core.masks import encode_rle, regions

    classes = Classes(labels)
    with (
        info.file(out / "instances.json") as instances,
        info.file(out / "results.json") as results,
        spool(out) as annotations,
    ):
        instances.write('{"info":' + as_line({"description": f"Detections of {info.model}"}) + ',"licenses":[],\n')
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
    from cvdetect.core.boxes import xyxy_to_xywh

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


def read_coco(path: Path) -> GroundTruth:
    """Ground truth from a COCO annotation file; ``bbox`` (x, y, width, height) becomes edges.

    Raises:
        SourceError: it is not such a file; the message names the entry and what is wrong with it.
    """
    images, annotations, categories = _parts(path, read_json(path))
    labels = _categories(path, categories)
    sizes = _images(path, images)
    index = {category_id: i for i, category_id in enumerate(labels)}
    objects: dict[int, list[GroundTruthObject]] = {image_id: [] for image_id in sizes}
    notes = Notes()
    for i, entry in enumerate(annotations):
        where = _where("annotation", i, entry)
        image_id = _known(path, where, entry, "image_id", objects, "images")
        category_id = _known(path, where, entry, "category_id", index, "categories")
        one = _object(path, where, entry, index[category_id])
        if not notes.skips(one.box, f"{path}: {where}"):
            objects[image_id].append(one)
    return GroundTruth(
        tuple(labels.values()),
        tuple(labels),
        tuple(truth_image(name, wh, objects[i], i) for i, (name, wh) in sizes.items()),
        notes.messages(),
    )


def _parts(path: Path, data: Any) -> tuple[list[Any], list[Any], list[Any]]:
    if isinstance(data, list):
        raise format_error(
            path, "", "is a list, as COCO results are; ground truth is an object with images and annotations"
        )
    if not isinstance(data, dict):
        raise format_error(path, "", "is not a COCO annotation file: expected an object with images and annotations")
    parts = [data.get(key) for key in ("images", "annotations", "categories")]
    for key, part in zip(("images", "annotations", "categories"), parts, strict=True):
        if not isinstance(part, list):
            raise format_error(path, "", f"is not a COCO annotation file: it has no list {key!r}")
        for i, entry in enumerate(part):
            if not isinstance(entry, dict):
                raise format_error(path, f"{key}[{i}]", "is not an object")
    return parts[0] or [], parts[1] or [], parts[2] or []


def _categories(path: Path, entries: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Category id → name, in the file's order."""
    labels: dict[int, str] = {}
    for i, entry in enumerate(entries):
        category_id = _own_id(path, f"categories[{i}]", entry, labels)
        name = entry.get("name")
        if not isinstance(name, str):
            raise format_error(path, f"categories[{i}]", f"name is not text: {name!r}")
        labels[category_id] = name
    return labels


def _images(path: Path, entries: Sequence[dict[str, Any]]) -> dict[int, tuple[str, Wh | None]]:
    """Image id → file name and size, in the file's order."""
    images: dict[int, tuple[str, Wh | None]] = {}
    for i, entry in enumerate(entries):
        where = f"images[{i}]"
        image_id = _own_id(path, where, entry, images)
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            raise format_error(path, f"{where} (id {image_id})", f"file_name is not text: {name!r}")
        images[image_id] = (name, _size(path, f"{where} (id {image_id})", entry))
    return images


def _size(path: Path, where: str, entry: dict[str, Any]) -> Wh | None:
    if entry.get("width") is None or entry.get("height") is None:
        return None
    width, height = as_int(entry["width"]), as_int(entry["height"])
    if width is None or height is None or width < 1 or height < 1:
        raise format_error(
            path, where, f"width and height are {entry['width']!r} and {entry['height']!r}, not whole pixels"
        )
    return width, height


def _own_id(path: Path, where: str, entry: dict[str, Any], taken: dict[int, Any]) -> int:
    number = as_int(entry.get("id"))
    if number is None:
        raise format_error(path, where, f"id is not a whole number: {entry.get('id')!r}")
    if number in taken:
        raise format_error(path, where, f"id {number} appears twice")
    return number


def _where(kind: str, i: int, entry: dict[str, Any]) -> str:
    return f"{kind}s[{i}]" + (f" (id {entry['id']})" if "id" in entry else "")


def _known(path: Path, where: str, entry: dict[str, Any], key: str, known: dict[int, Any], among: str) -> int:
    number = as_int(entry.get(key))
    if number is None or number not in known:
        raise format_error(path, where, f"{key} {entry.get(key)!r} is not among the {among}")
    return number


def _object(path: Path, where: str, entry: dict[str, Any], label: int) -> GroundTruthObject:
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise format_error(path, where, f"iscrowd is {crowd!r}, expected 0 or 1")
    area = None if entry.get("area") is None else as_float(entry["area"])
    if entry.get("area") is not None and (area is None or area < 0):
        raise format_error(path, where, f"area is not a number from 0: {entry['area']!r}")
    return GroundTruthObject(_box(path, where, entry), label, crowd=bool(crowd), area=area)


def _box(path: Path, where: str, entry: dict[str, Any]) -> Box:
    """``bbox`` as edges."""
    bbox = entry.get("bbox")
    numbers = [v for v in map(as_float, bbox) if v is not None] if isinstance(bbox, list) else []
    if len(numbers) != 4 or len(bbox or []) != 4:
        raise format_error(path, where, f"bbox is not four finite numbers (x, y, width, height): {bbox!r}")
    x, y, width, height = numbers
    return x, y, x + width, y + height


def read_results(path: Path) -> Results:
    """Detections from a COCO results file: a list, which may be empty, of image_id, category_id, bbox and score.

    Raises:
        SourceError: it is not such a file; the message names the entry and what is wrong with it.
    """
    import numpy as np

    data = read_json(path)
    if not isinstance(data, list):
        what = "a COCO annotation file" if isinstance(data, dict) and "annotations" in data else "no list"
        raise format_error(path, "", f"is {what}; COCO results are a list of image_id, category_id, bbox and score")
    rows = [_result(path, f"[{i}]", entry) for i, entry in enumerate(data)]
    return Results(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
    )


def _result(path: Path, where: str, entry: Any) -> tuple[int, int, Box, float]:
    if not isinstance(entry, dict):
        raise format_error(path, where, "is not an object")
    image_id, category_id = _number(path, where, entry, "image_id"), _number(path, where, entry, "category_id")
    box = _box(path, where, entry)
    if box[2] < box[0] or box[3] < box[1]:
        raise format_error(path, where, f"bbox has a negative size: {entry['bbox']!r}")
    score = as_float(entry.get("score"))
    if score is None:
        raise format_error(path, where, f"score is not a finite number: {entry.get('score')!r}")
    return image_id, category_id, box, score


def _number(path: Path, where: str, entry: dict[str, Any], key: str) -> int:
    number = as_int(entry.get(key))
    if number is None:
        raise format_error(path, where, f"{key} is not a whole number: {entry.get(key)!r}")
    return number


def polygons(found: Region) -> list[list[int]] | None:
    """The outlines of a region, one for each part that hangs together by edges: x1, y1, x2, y2, … in image pixels.

    They enclose exactly the region's pixels, pixel (x, y) being the square from x, y to x + 1, y + 1. None where
    polygons cannot express the region: where it has a hole, or no pixel.
    """
    outlines = list(_outlines(found))
    if not outlines or any(_is_hole(corners) for corners in outlines):
        return None
    return [[v for x, y in corners for v in (x + found.x, y + found.y)] for corners in outlines]


def _outlines(found: Region) -> Iterator[list[Corner]]:
    """Every closed line between inside and outside, its corners in order, with the inside on its right."""
    edges = _edges(found)
    for start in sorted(edges[0]):  # every closed line goes right somewhere
        if start in edges[0]:  # that is not followed yet
            yield _follow(edges, start)


def _edges(found: Region) -> list[set[Corner]]:
    """For each direction of _STEPS the pixel edges to follow, by where they begin."""
    import numpy as np

    around = np.pad(found.inside, 1)
    inside = around[1:-1, 1:-1]
    outside = ~around[:-2, 1:-1], ~around[1:-1, 2:], ~around[2:, 1:-1], ~around[1:-1, :-2]  # above, right, below, left
    begins = (0, 0), (1, 0), (1, 1), (0, 1)  # of the edge towards that neighbour, from the pixel's corner
    return [
        {(x + dx, y + dy) for y, x in np.argwhere(inside & free).tolist()}
        for free, (dx, dy) in zip(outside, begins, strict=True)
    ]


def _follow(edges: list[set[Corner]], start: Corner) -> list[Corner]:
    """The corners of the closed line that goes right from `start`; its edges are taken out of `edges`."""
    corners: list[Corner] = []
    (x, y), heading = start, 0
    while not corners or (x, y, heading) != (*start, 0):
        x, y = x + _STEPS[heading][0], y + _STEPS[heading][1]
        # Right first: where two pixels touch at a corner only, the line stays with its own.
        onward = next(t % 4 for t in (heading + 1, heading, heading - 1) if (x, y) in edges[t % 4])
        if onward != heading:
            corners.append((x, y))
        heading = onward
        edges[heading].remove((x, y))
    return corners


def _is_hole(corners: list[Corner]) -> bool:
    """Whether a closed line goes round against the clock, as seen on the image."""
    following = [*corners[1:], corners[0]]
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, following, strict=True)) < 0


COCO = AnnotationFormat(
    name="coco",
    write=write_coco,
    reader=GroundTruthReader(
        reads="a COCO JSON file",
        match=lambda path: Match.NONE if path.is_dir() else Match.POSSIBLE,
        files=lambda path: [path],
        read=lambda path, _: read_coco(path),
    ),
)
