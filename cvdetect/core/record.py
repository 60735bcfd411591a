"""Results as JSON: one object for each image or frame, in JSON Lines and annotation files alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cvdetect.core.labels import LabelSet

if TYPE_CHECKING:
    from cvdetect.core.detections import Detections

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
    record: dict[str, Any] = {"schema": SCHEMA, "source": source, "width": width, "height": height, "model": model}
    detections = replace(found, labels=labels, image_wh=wh).to_dicts()
    return {**record, **(moment or {}), "ran": dict(ran), "detections": detections}


def as_line(record: Mapping[str, Any] | list[Any]) -> str:
    r"""Compact JSON on one line, without the newline.

    A file name that is not UTF-8 gets the escapes ``\udc80`` … ``\udcff``, from which Python reads the same name.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return line.encode("utf-8", "backslashreplace").decode("utf-8")
