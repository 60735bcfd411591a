"""The outcome of one image, which an engine hands to the manifest, and the files written for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cvdetect.core.detections import Detections

__all__ = ["Outcome", "WrittenFile", "pack", "unpack"]

_ROW = np.dtype([("xyxy", "<f4", 4), ("score", "<f4"), ("class_id", "<i8")])  # of one detection, on any machine
_COUNT = np.dtype("<u4")
_GRID = np.dtype([("hw", "<u2", 2), ("xyxy", "<f4", 4)])  # of one mask: its height and width, and its box


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that a run has written or is about to write, and what proves it unchanged.

    Attributes:
        key: its kind ("out", "draw", "crops", "review"), a slash, and its path in that kind's folder.
        digest: SHA-256 of its content, hexadecimal; "" of a user's file that `overwrite` may replace while its size
            and stamp are these.
        md5: MD5 of its content, which some stores state without reading it; "" on disks.
        size, stamp: as in `State`; stamp is -1 where it is not known.
    """

    key: str
    digest: str
    md5: str = ""
    size: int = -1
    stamp: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The detections of one image, or the reason why there are none.

    Attributes:
        name: path relative to the inputs' root, with forward slashes.
        wh: the upright image's width and height in pixels.
        found: detections in its pixels, best first; None where it failed.
        reason: why it failed.
        files: the annotated copy, crops and thumbnail that were written for it.
        kept: keys (`WrittenFile.key`) of such files that were edited since an earlier run wrote them, and were kept.
        replaced: keys of a user's files that were replaced, as `overwrite` allows.
    """

    name: str
    wh: tuple[int, int] | None = None
    found: Detections | None = None
    reason: str | None = None
    files: tuple[WrittenFile, ...] = ()
    kept: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def pack(found: Detections | None) -> bytes | None:
    """Detections as bytes: their number, 28 bytes for each; if they have masks, 20 for each, then the masks' values."""
    if found is None:
        return None
    rows = np.empty(len(found), _ROW)
    rows["xyxy"], rows["score"], rows["class_id"] = found.xyxy, found.score, found.class_id
    parts = [np.array(len(found), _COUNT), rows]
    if found.masks is not None:
        grids = np.empty(len(found), _GRID)
        grids["hw"] = np.array([mask.shape for mask in found.masks]).reshape(-1, 2)
        grids["xyxy"] = found.mask_xyxy
        parts += [grids, *(mask.astype("<f4") for mask in found.masks)]
    return b"".join(part.tobytes() for part in parts)


def unpack(data: bytes) -> Detections:
    """The inverse of `pack`, bit for bit."""
    n = int(np.frombuffer(data, _COUNT, 1)[0])
    rows = np.frombuffer(data, _ROW, n, _COUNT.itemsize)
    found = Detections(rows["xyxy"], rows["class_id"], rows["score"])
    rest = data[_COUNT.itemsize + rows.nbytes :]
    if not rest:
        return found
    grids = np.frombuffer(rest, _GRID, n)
    values, sizes = np.frombuffer(rest, "<f4", offset=grids.nbytes), grids["hw"].astype(np.int64)  # (n, 2)
    each = np.split(values, np.cumsum(sizes.prod(axis=1))[:-1])
    masks = tuple(mask.reshape(hw) for mask, hw in zip(each, sizes, strict=True))
    return replace(found, masks=masks, mask_xyxy=grids["xyxy"])
