"""Reading the images of a run: from a disk, or from a store with several requests in flight."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np

from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.frame import Frame
from cvdetect.jobs.annotate.prefetch import prefetch
from cvdetect.sources import Failed
from cvdetect.sources.decode import DecodedImage, decode
from cvdetect.sources.headers import check_wh, stated_wh
from cvdetect.sources.images import read_image_file
from cvdetect.storage import Folder, LocalFolder

__all__ = ["read_image", "read_images", "reason_of"]

_BYTES_A_PIXEL = 8  # of the largest kind there is, 16 bits in four channels, without compression


def read_images(root: Folder, names: Iterable[str], max_pixels: int) -> Iterator[Frame | Failed]:
    """Each image below `root` as a frame of that name, or as `Failed` where it cannot be read."""

    def fetch(name: str) -> tuple[str, bytes | SourceError | None]:
        try:
            return name, _fetch(root, name, max_pixels)
        except SourceError as error:
            return name, error

    fetched = prefetch(fetch, names) if root.remote else ((name, None) for name in names)
    for index, (name, data) in enumerate(fetched):
        try:
            if isinstance(data, SourceError):
                raise data
            yield read_image(root, name, max_pixels, data).frame(name, index)
        except SourceError as error:
            yield Failed(name, error)


def read_image(root: Folder, name: str, max_pixels: int, data: bytes | None = None) -> DecodedImage:
    """An image, unless it has more than `max_pixels`: then it is not decoded. `data`: its bytes, if already fetched.

    Raises:
        SourceError: it cannot be read, is not an image, or is too large.
    """
    shown = root.shown(name)
    if isinstance(root, LocalFolder):
        path = root.path / name
        size, wh = _stat(path)
        check_wh(shown, wh, max_pixels)
        _check_size(shown, size, max_pixels)
        return read_image_file(path, max_pixels)
    data = _fetch(root, name, max_pixels) if data is None else data
    return decode(np.frombuffer(data, np.uint8), shown, max_pixels)


def reason_of(item: Failed, root: Folder) -> str:
    """Why an image failed, without the folder in which the images happen to lie."""
    shown = root.shown(item.name)
    return str(item.error).removeprefix(f"{shown}: ").replace(shown, item.name)


def _fetch(root: Folder, name: str, max_pixels: int) -> bytes:
    """An image's bytes, unless there are more than an image can have."""
    data, size = root.start(name)
    _check_size(root.shown(name), size, max_pixels)
    if size == len(data):
        return data
    check_wh(root.shown(name), stated_wh(BytesIO(data)), max_pixels)
    return root.read(name)


def _check_size(shown: str, size: int, max_pixels: int) -> None:
    if size > max_pixels * _BYTES_A_PIXEL + (1 << 20):
        raise SourceError(f"{shown}: has {size:,} bytes, more than an image of {max_pixels:,} pixels can have")


def _stat(path: Path) -> tuple[int, tuple[int, int] | None]:
    """A file's size in bytes, and the width and height that its header states."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            with path.open("rb") as stream:
                return status.st_size, stated_wh(stream)
    except FileNotFoundError:
        raise SourceNotFound(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in a listed name
        raise SourceError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    raise SourceError(f"{path}: is {'a folder' if stat.S_ISDIR(status.st_mode) else 'not a regular file'}")
