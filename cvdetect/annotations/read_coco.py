"""COCO's JSON files: ground truth (images, annotations, categories) and results (a list of detections)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvdetect.annotations.parsing import Box, Notes, Thing, Wh, finite, read_json, truth_image, whole, wrong
from cvdetect.annotations.types import Results, Truth

__all__ = ["read_coco", "read_results"]


def read_coco(path: Path) -> Truth:
    """Ground truth from a COCO annotation file; ``bbox`` (x, y, width, height) becomes edges.

    Raises:
        SourceError: it is not such a file; the message names the entry and what is wrong with it.
    """
    images, annotations, categories = _parts(path, read_json(path))
    labels = _categories(path, categories)
    sizes = _images(path, images)
    index = {category_id: i for i, category_id in enumerate(labels)}
    things: dict[int, list[Thing]] = {image_id: [] for image_id in sizes}
    notes = Notes()
    for i, entry in enumerate(annotations):
        where = _where("annotation", i, entry)
        image_id = _known(path, where, entry, "image_id", things, "images")
        category_id = _known(path, where, entry, "category_id", index, "categories")
        thing = _thing(path, where, entry, index[category_id])
        if not notes.left_out(thing.box, f"{path}: {where}"):
            things[image_id].append(thing)
    return Truth(
        tuple(labels.values()),
        tuple(labels),
        tuple(truth_image(name, wh, things[i], i) for i, (name, wh) in sizes.items()),
        notes.told(),
    )


def _parts(path: Path, data: Any) -> tuple[list[Any], list[Any], list[Any]]:
    if isinstance(data, list):
        raise wrong(path, "", "is a list, as COCO results are; ground truth is an object with images and annotations")
    if not isinstance(data, dict):
        raise wrong(path, "", "is not a COCO annotation file: expected an object with images and annotations")
    parts = [data.get(key) for key in ("images", "annotations", "categories")]
    for key, part in zip(("images", "annotations", "categories"), parts, strict=True):
        if not isinstance(part, list):
            raise wrong(path, "", f"is not a COCO annotation file: it has no list {key!r}")
        for i, entry in enumerate(part):
            if not isinstance(entry, dict):
                raise wrong(path, f"{key}[{i}]", "is not an object")
    return parts[0] or [], parts[1] or [], parts[2] or []


def _categories(path: Path, entries: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Category id → name, in the file's order."""
    labels: dict[int, str] = {}
    for i, entry in enumerate(entries):
        category_id = _own_id(path, f"categories[{i}]", entry, labels)
        name = entry.get("name")
        if not isinstance(name, str):
            raise wrong(path, f"categories[{i}]", f"name is no text: {name!r}")
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
            raise wrong(path, f"{where} (id {image_id})", f"file_name is no text: {name!r}")
        images[image_id] = (name, _size(path, f"{where} (id {image_id})", entry))
    return images


def _size(path: Path, where: str, entry: dict[str, Any]) -> Wh | None:
    if entry.get("width") is None or entry.get("height") is None:
        return None
    width, height = whole(entry["width"]), whole(entry["height"])
    if width is None or height is None or width < 1 or height < 1:
        raise wrong(path, where, f"width and height are {entry['width']!r} and {entry['height']!r}, not whole pixels")
    return width, height


def _own_id(path: Path, where: str, entry: dict[str, Any], taken: dict[int, Any]) -> int:
    number = whole(entry.get("id"))
    if number is None:
        raise wrong(path, where, f"id is not a whole number: {entry.get('id')!r}")
    if number in taken:
        raise wrong(path, where, f"id {number} is there twice")
    return number


def _where(kind: str, i: int, entry: dict[str, Any]) -> str:
    return f"{kind}s[{i}]" + (f" (id {entry['id']})" if "id" in entry else "")


def _known(path: Path, where: str, entry: dict[str, Any], key: str, known: dict[int, Any], among: str) -> int:
    number = whole(entry.get(key))
    if number is None or number not in known:
        raise wrong(path, where, f"{key} {entry.get(key)!r} is not among the {among}")
    return number


def _thing(path: Path, where: str, entry: dict[str, Any], label: int) -> Thing:
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise wrong(path, where, f"iscrowd is {crowd!r}, expected 0 or 1")
    area = None if entry.get("area") is None else finite(entry["area"])
    if entry.get("area") is not None and (area is None or area < 0):
        raise wrong(path, where, f"area is not a number from 0: {entry['area']!r}")
    return Thing(_box(path, where, entry), label, crowd=bool(crowd), area=area)


def _box(path: Path, where: str, entry: dict[str, Any]) -> Box:
    """``bbox`` as edges."""
    bbox = entry.get("bbox")
    numbers = [v for v in map(finite, bbox) if v is not None] if isinstance(bbox, list) else []
    if len(numbers) != 4 or len(bbox or []) != 4:
        raise wrong(path, where, f"bbox is not four finite numbers (x, y, width, height): {bbox!r}")
    x, y, width, height = numbers
    return x, y, x + width, y + height


def read_results(path: Path) -> Results:
    """Detections from a COCO results file: a list, which may be empty, of image_id, category_id, bbox and score.

    Raises:
        SourceError: it is not such a file; the message names the entry and what is wrong with it.
    """
    data = read_json(path)
    if not isinstance(data, list):
        what = "a COCO annotation file" if isinstance(data, dict) and "annotations" in data else "no list"
        raise wrong(path, "", f"is {what}; COCO results are a list of image_id, category_id, bbox and score")
    rows = [_result(path, f"[{i}]", entry) for i, entry in enumerate(data)]
    return Results(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
    )


def _result(path: Path, where: str, entry: Any) -> tuple[int, int, Box, float]:
    if not isinstance(entry, dict):
        raise wrong(path, where, "is not an object")
    image_id, category_id = _number(path, where, entry, "image_id"), _number(path, where, entry, "category_id")
    box = _box(path, where, entry)
    if box[2] < box[0] or box[3] < box[1]:
        raise wrong(path, where, f"bbox has a negative size: {entry['bbox']!r}")
    score = finite(entry.get("score"))
    if score is None:
        raise wrong(path, where, f"score is not a finite number: {entry.get('score')!r}")
    return image_id, category_id, box, score


def _number(path: Path, where: str, entry: dict[str, Any], key: str) -> int:
    number = whole(entry.get(key))
    if number is None:
        raise wrong(path, where, f"{key} is not a whole number: {entry.get(key)!r}")
    return number
