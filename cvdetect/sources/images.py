"""Still images: files, patterns, lists of paths, and pipes."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.frame import MAX_PIXELS, Frame, Image
from cvdetect.core.printable import natural_key
from cvdetect.core.targets import check_regular, own_descriptor
from cvdetect.sources import Failed
from cvdetect.sources.decode import Picture, decode
from cvdetect.sources.kinds import HEAD, is_list_file, kind_of, names_of, reading_list, suffix_says

__all__ = [
    "Piped",
    "check_inputs",
    "check_max_pixels",
    "expand",
    "file_name",
    "is_image_file",
    "is_piped",
    "natural_key",
    "read_image",
    "read_images",
    "read_picture_file",
    "read_pipes",
    "several_possible",
    "shown",
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
        raise UsageError(f"{arg('max_pixels')} {max_pixels}: at least 1 is needed")


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


# Images that come through a pipe: standard input (``-``, ``/dev/stdin``) and what a shell opens (``<(…)``).
#
# A pipe can be read only once, so it is read whole before anything else is done.

Piped = dict[str, "NDArray[np.uint8] | SourceError"]

_MOST = 1 << 30  # bytes; no image that OpenCV decodes has more
_PIECE = 1 << 20
# The suffix of each kind that OpenCV writes.
_SUFFIXES = {
    "jpeg": ".jpg", "bmp": ".bmp", "tiff": ".tif", "jp2": ".jp2", "gif": ".gif", "webp": ".webp", "avif": ".avif"
}  # fmt: skip


def is_piped(name: str) -> bool:
    """Whether the input is standard input or another open file of this process."""
    return name == "-" or own_descriptor(name) is not None


def read_pipes(names: Iterable[str]) -> Piped:
    """The bytes of every piped input of `names`; an error in the place of those that cannot be read.

    Raises:
        UsageError: it is a terminal.
    """
    found: Piped = {}
    for name in dict.fromkeys(name for name in names if is_piped(name)):
        try:
            found[name] = _read(name)
        except SourceError as error:
            found[name] = error
        except OSError as error:
            found[name] = SourceError(f"{shown(name)}: cannot be read: {error.strerror or error}")
    return found


def shown(name: str) -> str:
    """What the input is called in messages."""
    return "standard input" if name == "-" else name


def file_name(name: str, piped: Piped) -> str:
    """What outputs are named after: for a pipe ``stdin`` or ``pipe63``, with the suffix of what came through it."""
    if name not in piped:
        return name
    number, data = own_descriptor(name), piped[name]
    kind = None if isinstance(data, SourceError) else kind_of(data[:HEAD].tobytes())
    suffix = _SUFFIXES.get(kind or "", ".png")
    return f"{'stdin' if number in (None, 0) else f'pipe{number}'}{suffix}"


def _read(name: str) -> NDArray[np.uint8]:
    descriptor = os.dup(own_descriptor(name) or 0)
    try:
        if os.isatty(descriptor):
            raise UsageError(f"{shown(name)}: is a terminal; pipe an image into it: cat photo.jpg | cvdetect image -")
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise SourceError(f"{shown(name)}: is a folder, expected an image")
        return np.frombuffer(_content(descriptor, shown(name)), np.uint8)
    finally:
        os.close(descriptor)


def _content(descriptor: int, name: str) -> bytes:
    pieces, size = [], 0
    while piece := os.read(descriptor, _PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST:
            raise SourceError(f"{name}: more than {_MOST >> 30} GiB came: it is no image")
    return b"".join(pieces)
