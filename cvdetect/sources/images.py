"""Still images: files, patterns, lists of paths, and pipes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.frame import MAX_PIXELS, Frame, Image
from cvdetect.core.natural_order import natural_key
from cvdetect.core.targets import check_regular, own_descriptor
from cvdetect.sources.decode import Picture, decode
from cvdetect.sources.failed import Failed
from cvdetect.sources.kinds import HEAD, kind_of, suffix_says
from cvdetect.sources.lists import is_list_file, names_of, reading_list
from cvdetect.sources.pipes import shown

__all__ = [
    "check_inputs",
    "check_max_pixels",
    "expand",
    "is_image_file",
    "natural_key",
    "read_image",
    "read_images",
    "read_picture_file",
    "several_possible",
]

_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


def read_image(path: str | Path) -> Image:
    """The picture in a file as a viewer shows it: (H, W, 3) BGR uint8, upright.

    Grey, palette, deeper and transparent pictures become 8-bit BGR (white shows through what is transparent). The bytes
    are read first and then decoded: unlike ``cv2.imread`` this takes any Unicode path and refuses a picture that is cut
    short.

    Raises:
        SourceNotFound: no such file.
        SourceError: it cannot be read, is not a picture, or has more than 200 million pixels.
        UsageError: it is a named pipe, a socket or a device.
    """
    return read_picture_file(path).image


def read_picture_file(path: str | Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """As `read_image`, with what a copy of the picture keeps and what a person should know of it."""
    path = Path(path)
    return decode(_bytes(path), str(path), max_pixels)


def _bytes(path: Path) -> _Bytes:
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; cvdetect annotate takes folders, cvdetect image takes '{path}/*.jpg'")
    if own_descriptor(path) is None:
        check_regular(path, "an image file")
    try:
        return np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise SourceNotFound(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


def check_max_pixels(max_pixels: int) -> None:
    """Raise UsageError where no picture could be so small."""
    if max_pixels < 1:
        raise UsageError(f"--max-pixels {max_pixels}: at least 1 is needed")


def is_image_file(path: Path) -> bool:
    """Whether a file is an image, by its suffix, or where that decides nothing by its first bytes."""
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

    ``@FILE`` becomes the paths that the file lists, one a line or parted by NUL bytes; they are relative to the current
    folder, and none of them is a pattern.

    Raises:
        UsageError: nothing was given, or a list is a named pipe or a device.
        SourceError, SourceNotFound: a list cannot be read.
    """
    if not inputs:
        raise UsageError("no input given")
    return [name for text in inputs for name in (_listed(text[1:]) if is_list_file(text) else _matches(text))]


def several_possible(inputs: Sequence[str]) -> bool:
    """Whether these inputs can be several images, however many they are now: then an output is a folder."""
    return len(inputs) != 1 or is_list_file(inputs[0]) or _is_pattern(inputs[0]) or Path(inputs[0]).is_dir()


def check_inputs(names: Sequence[str]) -> None:
    """Refuse before any work what no image is read from.

    Raises:
        UsageError: a named pipe, a socket, a device, or an address.
    """
    for name in names:
        if "://" in name and not os.path.lexists(name):
            raise UsageError(f"{name}: is an address, and image reads files: curl -s ADDRESS | cvdetect image -")
        if own_descriptor(name) is None:
            check_regular(name, "an image file")


def _listed(path: str) -> list[str]:
    if own_descriptor(path) is None:
        check_regular(path, "a list of images")
    with reading_list(path), open(path, "rb") as stream:  # noqa: PTH123 - a name as it was typed
        names = [os.fsdecode(name) for name in names_of(stream, path)]
    if not names:
        raise SourceError(f"{path}: no images: the list is empty")
    return names


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def _matches(text: str) -> list[str]:
    if not _is_pattern(text):
        return [text]
    found = glob.glob(text, recursive=True)  # noqa: PTH207 - names stay as they were typed
    return sorted(found, key=natural_key) or [text]


def read_images(
    names: Sequence[str],
    piped: Mapping[str, _Bytes | SourceError] = MappingProxyType({}),
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Frame | Failed]:
    """Each file as a frame, or as `Failed` where it cannot be read; `piped` holds what came through pipes."""
    for index, name in enumerate(names):
        try:
            came = piped.get(name)
            if isinstance(came, SourceError):
                raise came
            picture = read_picture_file(name, max_pixels) if came is None else decode(came, shown(name), max_pixels)
            yield picture.frame(name, index)
        except SourceError as error:
            yield Failed(name, error)
