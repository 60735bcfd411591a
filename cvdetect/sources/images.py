"""Still pictures: files and globs."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cvdetect.cv import cv2
from cvdetect.errors import SourceError, SourceNotFound, UsageError
from cvdetect.frame import Frame, Image
from cvdetect.natural_order import natural_key
from cvdetect.sniff import describe_foreign
from cvdetect.sources.failed import Failed

__all__ = ["PICTURE_SUFFIXES", "decode_image", "expand", "natural_key", "read_image", "read_images"]

# What OpenCV's decoders are for. Whether a file really is a picture is found out when it is decoded.
PICTURE_SUFFIXES = frozenset(
    (
        ".avif .bmp .dib .gif .hdr .jp2 .jpe .jpeg .jpg .pbm .pfm .pgm "
        ".pic .png .pnm .ppm .pxm .ras .sr .tif .tiff .webp"
    ).split()
)
_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
VIDEO_SUFFIXES = frozenset(".avi .mp4 .mkv .mov .webm .m4v .mpg .mpeg .wmv .flv .ts .3gp".split())


def read_image(path: str | Path) -> Image:
    """The picture in a file as a viewer shows it: (H, W, 3) BGR uint8, EXIF rotation applied.

    Grey, palette, 16-bit and transparent pictures become 8-bit BGR. The bytes are read first and then decoded: unlike
    ``cv2.imread`` this takes any Unicode path and refuses a picture that is cut short.

    Raises:
        SourceNotFound: no such file.
        SourceError: it cannot be read, or is not a picture.
    """
    path = Path(path)
    return decode_image(_bytes(path), str(path))


def decode_image(data: _Bytes, name: str) -> Image:
    """The bytes of a picture file → the picture, as `read_image`; `name` is told in errors.

    Raises:
        SourceError: it is no picture, or damaged.
    """
    if not data.size:
        raise SourceError(f"{name}: is empty")
    try:
        image: Image | None = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:  # e.g. more pixels than OpenCV's limit
        raise SourceError(f"{name}: cannot be decoded: {' '.join(str(error.err or error).split())}") from error
    if image is None:
        raise SourceError(f"{name}: {_why_undecodable(name, data[:512].tobytes())}")
    return image


def _bytes(path: Path) -> _Bytes:
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; cvdetect annotate takes folders, cvdetect image takes '{path}/*.jpg'")
    try:
        return np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise SourceNotFound(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _why_undecodable(name: str, head: bytes) -> str:
    if Path(name).suffix.lower() in VIDEO_SUFFIXES:
        return f"is a video; run cvdetect video '{name}'"
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        return "is cut short or damaged: the picture cannot be decoded"
    foreign = describe_foreign(head)
    return f"is {foreign}, not a picture" if foreign else "is not a picture that OpenCV can decode"


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
            yield Frame(read_image(name), name, index)
        except SourceError as error:
            yield Failed(name, error)
