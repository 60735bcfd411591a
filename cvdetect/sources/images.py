"""Still images: files, patterns, lists of paths, and pipes."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.frame import MAX_PIXELS, Frame, Image
from cvdetect.core.printable import natural_key
from cvdetect.core.targets import check_regular, own_descriptor
from cvdetect.sources import Failed, Source
from cvdetect.sources.decode import DecodedImage, decode
from cvdetect.sources.kinds import HEAD, kind_of, suffix_says
from cvdetect.sources.lists import is_list_file, names_of, reading_list

__all__ = [
    "Images",
    "PipedImages",
    "check_inputs",
    "expand",
    "file_name",
    "is_image_file",
    "read_image",
    "read_image_file",
    "read_pipes",
    "several_possible",
]

_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
PipedImages = dict[str, "_Bytes | SourceError"]  # what came through each pipe, by the input's name

_MOST = 1 << 30  # bytes; no image that OpenCV decodes has more
_PIECE = 1 << 20  # bytes
# The suffix of each kind that OpenCV writes.
_SUFFIXES = {
    "jpeg": ".jpg", "bmp": ".bmp", "tiff": ".tif", "jp2": ".jp2", "gif": ".gif", "webp": ".webp", "avif": ".avif"
}  # fmt: skip


def read_image(path: str | Path) -> Image:
    """The image in a file as a viewer shows it: (H, W, 3) BGR uint8, upright.

    Grey, palette, deeper and transparent images become 8-bit BGR (transparent parts are put on white). The bytes are
    read first and then decoded: unlike ``cv2.imread`` this takes any Unicode path and refuses an image that is cut
    short.

    Raises:
        SourceNotFound: no such file.
        SourceError: it cannot be read, is not an image, or has more than 200 million pixels.
        UsageError: it is a named pipe, a socket or a device.
    """
    return read_image_file(path).image


def read_image_file(path: str | Path, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """As `read_image`, with the metadata that a copy keeps, and remarks."""
    path = Path(path)
    return decode(_bytes(path), str(path), max_pixels)


class Images(Source):
    """Image files one after another; `index` is the place of each among all names.

    Args:
        names: paths; for what comes through a pipe, the key it has in `piped`.
        piped: what was read from pipes (`read_pipes`).
        max_pixels: images with more are not decoded; they fail.
    """

    def __init__(
        self,
        names: Sequence[str],
        piped: Mapping[str, _Bytes | SourceError] = MappingProxyType({}),
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._names = names
        self.inputs = tuple(names)
        self._piped = piped
        self._max_pixels = max_pixels

    def items(self) -> Iterator[Frame | Failed]:
        """Each image as a frame, or as `Failed` where it cannot be read."""
        for index, name in enumerate(self._names):
            try:
                yield self._decoded(name).frame(name, index)
            except SourceError as error:
                yield Failed(name, error)

    def _decoded(self, name: str) -> DecodedImage:
        data = self._piped.get(name)
        if isinstance(data, SourceError):
            raise data
        if data is None:
            return read_image_file(name, self._max_pixels)
        return decode(data, _shown(name), self._max_pixels)


def expand(inputs: Sequence[str]) -> list[str]:
    """Inputs as typed → file names: a pattern that is no file's name becomes its matches in natural order.

    ``@FILE`` becomes the paths that the file lists, one a line or separated by NUL bytes; they are relative to the
    current folder, and none of them is a pattern.

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
    """Refuse, before any work, inputs that no image can be read from.

    Raises:
        UsageError: one is a named pipe, a socket, a device, or an address.
    """
    for name in names:
        if "://" in name and not os.path.lexists(name):
            raise UsageError(f"{name}: is an address, expected a file: curl -s ADDRESS | cvdetect image -")
        if own_descriptor(name) is None:
            check_regular(name, "an image file")


def is_image_file(path: Path) -> bool:
    """Whether a file is an image: by its suffix, or by its first bytes where the suffix does not decide."""
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


def read_pipes(names: Iterable[str]) -> PipedImages:
    """The bytes of every input that is standard input (``-``, ``/dev/stdin``) or opened by a shell (``<(…)``).

    A pipe can be read only once, so it is read whole before anything else is done. An error stands in place of what
    cannot be read.

    Raises:
        UsageError: one is a terminal.
    """
    found: PipedImages = {}
    for name in dict.fromkeys(name for name in names if _is_piped(name)):
        try:
            found[name] = _read(name)
        except SourceError as error:
            found[name] = error
        except OSError as error:
            found[name] = SourceError(f"{_shown(name)}: cannot be read: {error.strerror or error}")
    return found


def file_name(name: str, piped: PipedImages) -> str:
    """The name that outputs derive theirs from: for a pipe ``stdin`` or ``pipe63`` with the suffix of its content."""
    if name not in piped:
        return name
    number, data = own_descriptor(name), piped[name]
    kind = None if isinstance(data, SourceError) else kind_of(data[:HEAD].tobytes())
    suffix = _SUFFIXES.get(kind or "", ".png")
    return f"{'stdin' if number in (None, 0) else f'pipe{number}'}{suffix}"


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


def _is_piped(name: str) -> bool:
    """Whether the input is standard input or another open file of this process."""
    return name == "-" or own_descriptor(name) is not None


def _shown(name: str) -> str:
    """What an input is called in messages."""
    return "standard input" if name == "-" else name


def _read(name: str) -> _Bytes:
    descriptor = os.dup(own_descriptor(name) or 0)
    try:
        if os.isatty(descriptor):
            raise UsageError(f"{_shown(name)}: is a terminal; pipe an image into it: cat photo.jpg | cvdetect image -")
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise SourceError(f"{_shown(name)}: is a folder, expected an image")
        return np.frombuffer(_content(descriptor, _shown(name)), np.uint8)
    finally:
        os.close(descriptor)


def _content(descriptor: int, name: str) -> bytes:
    pieces, size = [], 0
    while piece := os.read(descriptor, _PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST:
            raise SourceError(f"{name}: is not an image: it has more than {_MOST >> 30} GiB")
    return b"".join(pieces)
