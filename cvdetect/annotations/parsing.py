"""What the readers of ground truth share: checks of files and values, notes on boxes, and objects as arrays."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cvdetect.annotations.types import TruthImage
from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.printable import counted, natural_key
from cvdetect.core.targets import check_regular

__all__ = [
    "Box",
    "GroundTruthObject",
    "Notes",
    "Wh",
    "as_float",
    "as_int",
    "format_error",
    "holds_files",
    "label_files",
    "parse_float",
    "read_bytes",
    "read_json",
    "read_text",
    "truth_image",
]

Box = tuple[float, float, float, float]
Wh = tuple[int, int]
_INT64 = 2**63


class GroundTruthObject(NamedTuple):
    """One object of an image; `box` is x1, y1, x2, y2 in pixels, edges."""

    box: Box
    label: int
    crowd: bool = False
    difficult: bool = False
    area: float | None = None


class Notes:
    """Counts what a reader repairs or leaves out, and remembers where each kind occurred first."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[int, str]] = {}

    def add(self, what: str, where: str) -> None:
        """`what` fits after "5 boxes "; `where` names a file and a place in it."""
        count, first = self._met.get(what, (0, where))
        self._met[what] = (count + 1, first)

    def skips(self, box: Box, where: str) -> bool:
        """Whether a box has no pixel inside; it is counted then."""
        empty = box[2] <= box[0] or box[3] <= box[1]
        if empty:
            self.add("of zero or negative size left out", where)
        return empty

    def messages(self) -> tuple[str, ...]:
        """One sentence for each kind."""
        return tuple(
            f"{counted(count, 'box', 'boxes')} {what} (first: {first})" for what, (count, first) in self._met.items()
        )


def format_error(path: Path, where: str, why: str) -> SourceError:
    """The error about `where` in a file, which may be empty."""
    return SourceError(": ".join(part for part in (str(path), where, why) if part))


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        SourceError: it does not exist or cannot be read.
        UsageError: it is a pipe, a socket or a device.
    """
    check_regular(path, "an annotation file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SourceNotFound(f"{path}: no such file") from None
    except OSError as error:
        raise format_error(path, "", f"cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """A file as UTF-8 text, with or without a byte order mark.

    Raises:
        SourceError: it does not exist, cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise format_error(path, "", f"is not UTF-8 text (byte {error.start})") from error


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        SourceError: as `read_text`, or it is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise format_error(path, f"line {error.lineno}, column {error.colno}", f"is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise format_error(path, "", f"cannot be read as JSON: {error}") from error


def label_files(folder: Path, suffix: str) -> list[tuple[str, Path]]:
    """(relative path without suffix, path) of all files with `suffix` under a folder, in natural order.

    Hidden files and folders do not count.

    Raises:
        SourceError: a folder cannot be read.
    """
    found = {path.relative_to(folder).as_posix()[: -len(suffix)]: path for path in _walk(folder, suffix)}
    return sorted(found.items(), key=lambda item: (natural_key(item[0]), item[0]))


def holds_files(folder: Path, suffix: str) -> bool:
    """Whether `label_files` finds any."""
    return next(_walk(folder, suffix), None) is not None


def _walk(folder: Path, suffix: str) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in files if name.lower().endswith(suffix) and not name.startswith("."))


def _unreadable(error: OSError) -> None:
    raise SourceError(f"{error.filename}: cannot be read: {error.strerror or error}") from error


def as_int(value: object) -> int | None:
    """The value as a whole number that fits 64 bits, or None where it is not one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_INT64 <= value < _INT64 else None


def as_float(value: object) -> float | None:
    """The value as a finite number, or None; text, true and false are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def parse_float(text: str | None) -> float | None:
    """Text as a finite number, or None where it is not one."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def truth_image(name: str, wh: Wh | None, objects: Sequence[GroundTruthObject], image_id: int) -> TruthImage:
    """The objects of one image as arrays; an area that is not given is the box's."""
    import numpy as np

    xyxy = np.array([one.box for one in objects], np.float64).reshape(-1, 4)  # (N, 4)
    areas = [_box_area(one.box) if one.area is None else one.area for one in objects]
    return TruthImage(
        name,
        wh,
        xyxy,
        np.array([one.label for one in objects], np.int64),
        np.array([one.crowd for one in objects], np.bool_),
        np.array([one.difficult for one in objects], np.bool_),
        np.array(areas, np.float64),
        image_id,
    )


def _box_area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
