"""Truth and detections of all images as flat arrays, which is what every metric here works on.

A label is an index into the truth's own class names, an image an index into the truth's own list of images. A box is
xyxy, float64, pixels, edges: a box over a whole image of 640x480 is 0, 0, 640, 480 and 640 pixels wide. No metric here
adds the 1 of VOC's devkit, whose boxes count inclusive pixels from 1 (1, 1, 640, 480 for the same box): the widths, and
so the IoU, are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.annotations.types import GroundTruth, TruthImage
from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.frame import MAX_PIXELS
from cvdetect.core.printable import natural_key
from cvdetect.core.progress import Progress
from cvdetect.sources.images import is_image_file, read_picture_file

__all__ = ["Flags", "Floats", "Found", "Ints", "Objects", "PictureFolder", "examples", "flatten", "pair_pictures"]


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The M objects that are there.

    Attributes:
        image, label: int64 (M,).
        xyxy: float64 (M, 4).
        area: float64 (M,), square pixels: the segment's where the truth has one, else the box's.
        crowd: bool (M,): a region with many objects of the class; see `matching`.
        difficult: bool (M,): neither to be found nor wrong when found.
    """

    image: Ints
    label: Ints
    xyxy: Floats
    area: Floats
    crowd: Flags
    difficult: Flags

    @property
    def counted(self) -> Flags:
        """Which objects are to be found, (M,)."""
        return ~(self.crowd | self.difficult)

    def positives(self, label_count: int) -> Ints:
        """How many objects of each label are to be found, (label_count,)."""
        return np.bincount(self.label[self.counted], minlength=label_count).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The N detections, in any order: image and label int64 (N,), xyxy float64 (N, 4), score float64 (N,)."""

    image: Ints
    label: Ints
    xyxy: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: Flags | Ints) -> Found:
        return Found(self.image[index], self.label[index], self.xyxy[index], self.score[index])


def flatten(truth: GroundTruth, images: Sequence[int]) -> Objects:
    """The objects of those images of `truth` whose positions are given."""
    rows = [(index, truth.images[index]) for index in images]
    return Objects(
        image=_joined([np.full(len(row.label), index) for index, row in rows], np.int64),
        label=_joined([row.label for _, row in rows], np.int64),
        xyxy=_joined([row.xyxy.ravel() for _, row in rows], np.float64).reshape(-1, 4),  # (M, 4)
        area=_joined([row.area for _, row in rows], np.float64),
        crowd=_joined([row.crowd for _, row in rows], np.bool_),
        difficult=_joined([row.difficult for _, row in rows], np.bool_),
    )


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


# The pictures that belong to a truth's images.


class PictureFolder:
    """All pictures under a folder, found by what a truth calls them.

    A name is tried as a path relative to the folder, as such a path without suffix, as a bare file name in any
    sub-folder, and as a bare stem, in this order.

    Raises:
        SourceError: the folder is not there, cannot be read, or holds no picture.
    """

    def __init__(self, folder: Path, max_pixels: int = MAX_PIXELS) -> None:
        if not folder.exists():
            raise SourceNotFound(f"{folder}: no such folder")
        if not folder.is_dir():
            raise SourceError(f"{folder}: is a file; --images takes the folder that the pictures are in")
        self._max_pixels = max_pixels
        found = [path for path in folder.rglob("*") if is_image_file(path) and path.is_file()]
        if not found:
            raise SourceError(f"{folder}: holds no pictures")
        self.paths = sorted(found, key=lambda path: natural_key(path.as_posix()))
        self._levels: list[dict[str, list[Path]]] = [defaultdict(list) for _ in range(4)]
        for path in self.paths:
            relative = path.relative_to(folder)
            keys = relative.as_posix(), relative.with_suffix("").as_posix(), path.name, path.stem
            for level, key in zip(self._levels, keys, strict=True):
                level[key].append(path)

    def find(self, name: str) -> Path | None:
        """The picture of that name, or None.

        Raises:
            SourceError: the name fits several.
        """
        given = PurePosixPath(name.replace("\\", "/"))
        bare = given.with_suffix("")
        for level, keys in zip(
            self._levels, ((given,), (given, bare), (given.name,), (given.name, bare.name)), strict=True
        ):
            for key in keys:
                fits = level.get(str(key), [])
                if len(fits) > 1:
                    raise SourceError(f"the truth's image {name} fits {fits[0]} and {fits[1]}: which is meant?")
                if fits:
                    return fits[0]
        return None

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of the picture of that name; (1, 1) where there is none that can be read.

        Boxes that are shares of such an image get no useful pixels, but it is left out of every metric anyway.
        """
        path = self.find(name)
        try:
            height, width = read_picture_file(path, self._max_pixels).image.shape[:2] if path else (1, 1)
        except SourceError:
            return 1, 1  # told when it is its turn to be looked at
        return width, height


def pair_pictures(images: Sequence[TruthImage], folder: PictureFolder, progress: Progress) -> dict[int, Path]:
    """Position in the truth → its picture; what has no counterpart on either side is told.

    Raises:
        SourceError: no image of the truth has a picture, or two have the same.
    """
    paths = {index: path for index, image in enumerate(images) if (path := folder.find(image.name)) is not None}
    if not paths:
        first = images[0].name if images else "nothing"
        raise SourceError(f"no image of the truth has a picture in --images: the truth names {first}, "
                          f"the folder holds {folder.paths[0]}")  # fmt: skip
    owner: dict[Path, int] = {}
    for index, path in paths.items():
        if path in owner:
            both = f"{images[owner[path]].name} and {images[index].name}"
            raise SourceError(f"{path}: two images of the truth fit it, {both}")
        owner[path] = index
    missing = [image.name for index, image in enumerate(images) if index not in paths]
    if missing:
        count = f"{len(missing)} of {len(images)}"
        progress.warn(f"{count} images of the truth have no picture and are left out: {examples(missing)}")
    strangers = [str(path) for path in folder.paths if path not in owner]
    if strangers:
        progress.warn(f"{len(strangers)} pictures have no truth and are left out: {examples(strangers)}")
    return paths


def examples(names: Sequence[str], most: int = 5) -> str:
    """``a, b, c, d, e, …``."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
