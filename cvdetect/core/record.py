"""Results as JSON: one object for each image or frame, in JSON Lines and annotation files alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cvdetect.core.detections import Detections
from cvdetect.core.labels import LabelSet
from cvdetect.core.masks import encode_rle, regions

__all__ = ["as_line", "image_record"]

SCHEMA = 1


def image_record(
    source: str,
    wh: tuple[int, int],
    found: Detections,
    model: str,
    ran: Mapping[str, str],
    labels: LabelSet,
    moment: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One image's JSON object: see the README for its keys. `moment` holds the keys that only a video's frame has."""
    width, height = wh
    masks = [encode_rle(region, wh) for region in regions(found, wh)]
    record: dict[str, Any] = {"schema": SCHEMA, "source": source, "width": width, "height": height, "model": model}
    detections = [_detection(found, i, labels, masks) for i in range(len(found))]
    return {**record, **(moment or {}), "ran": dict(ran), "detections": detections}


def _detection(found: Detections, i: int, labels: LabelSet, masks: list[dict[str, Any]]) -> dict[str, Any]:
    class_id = int(found.class_id[i])
    category_id = labels.category_id(class_id)
    return {
        "class_id": class_id,
        "label": labels.label(class_id),
        **({} if category_id is None else {"category_id": category_id}),
        "score": round(float(found.score[i]), 6),
        "box": [round(float(v), 2) for v in found.xyxy[i]],
        **({} if (number := found.number(i)) is None else {"track_id": number}),
        **({"mask": masks[i]} if masks else {}),
    }


def as_line(record: Mapping[str, Any] | list[Any]) -> str:
    r"""Compact JSON on one line, without the newline.

    A file name that is not UTF-8 gets the escapes ``\udc80`` … ``\udcff``, from which Python reads the same name.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return line.encode("utf-8", "backslashreplace").decode("utf-8")
