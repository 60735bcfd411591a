"""Still pictures: files and globs."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cvdetect.errors import SourceError, SourceNotFound, UsageError
from cvdetect.frame import MAX_PIXELS, Frame, Image
from cvdetect.natural_order import natural_key
from cvdetect.sources.decode import Picture, decode
from cvdetect.sources.failed import Failed
from cvdetect.sources.kinds import HEAD, kind_of, suffix_says

__all__ = ["expand", "is_image_file", "natural_key", "read_image", "read_images", "read_picture_file"]

_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


def read_image(path: str | Path) -> Image:
    """The picture in a file as a viewer shows it: (H, W, 3) BGR uint8, upright.

    Grey, palette, deeper and transparent pictures become 8-bit BGR (white shows through what is transparent). The bytes
    are read first and then decoded: unlike ``cv2.imread`` this takes any Unicode path and refuses a picture that is cut
    short.

    Raises:
        SourceNotFound: no such file.
        SourceError: it cannot be read, or is not a picture.
    """
    return read_picture_file(path).image


def read_picture_file(path: str | Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """As `read_image`, with what a copy of the picture keeps and what a person should know of it."""
    path = Path(path)
    return decode(_bytes(path), str(path), max_pixels)


def _bytes(path: Path) -> _Bytes:
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; cvdetect annotate takes folders, cvdetect image takes '{path}/*.jpg'")
    try:
        return np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise SourceNotFound(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


def is_image_file(path: Path) -> bool:
    """Whether a file is an image, by its suffix, or where that tells nothing by its first bytes."""
    says = suffix_says(path.name)
    if says != "unknown":
        return says == "image"
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return kind_of(stream.read(HEAD)) is not None
    except OSError:
        return False


def expand(inputs: Sequence[str]) -> list[str]:
    """Inputs as typed → file names: a pattern that names no file itself becomes its matches in natural order.

    Raises:
        UsageError: nothing was given.
    """
    if not inputs:
        raise UsageError("no input given")
    return [name for text in inputs for name in _matches(text)]


def _matches(text: str) -> list[str]:
    if Path(text).exists() or not glob.has_magic(text):
        return [text]
    found = glob.glob(text, recursive=True)  # noqa: PTH207 - names stay as they were typed
    return sorted(found, key=natural_key) or [text]


def read_images(names: Sequence[str]) -> Iterator[Frame | Failed]:
    """Each file as a frame, or as `Failed` where it cannot be read."""
    for index, name in enumerate(names):
        try:
            yield read_picture_file(name).frame(name, index)
        except SourceError as error:
            yield Failed(name, error)
