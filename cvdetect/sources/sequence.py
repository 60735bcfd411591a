"""Numbered images as a video: ``frame%05d.jpg``, ``'frames/*.jpg'``."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.printable import counted, natural_key
from cvdetect.media.completeness import no_frames
from cvdetect.media.timing import RATE, first_frame
from cvdetect.sources.images import read_image
from cvdetect.sources.kinds import VIDEO_SUFFIXES

__all__ = ["ImageSequence", "is_numbered", "sequence_of", "without_placeholders"]

_NUMBER = re.compile(r"%(0?)(\d*)d")


def sequence_of(name: str) -> list[str] | None:
    """The images that a pattern stands for, in order; None where it is no pattern but a file or an address.

    ``%d`` and ``%05d`` stand for a number; ``*``, ``?`` and ``[…]`` mean what they mean to a shell, and their matches
    are put into natural order (9 before 10).

    Raises:
        SourceNotFound: nothing matches.
        UsageError: videos match, not images.
    """
    if "://" in name or Path(name).exists():
        return None
    if is_numbered(name):
        found = _numbered(Path(name))
    elif glob.has_magic(name):
        found = sorted(glob.glob(name, recursive=True), key=natural_key)  # noqa: PTH207 - names stay as they were typed
    else:
        return None
    if not found:
        raise SourceNotFound(f"{name}: no file matches")
    if videos := [file for file in found if Path(file).suffix.lower() in VIDEO_SUFFIXES]:
        matches = counted(len(videos), "video")
        raise UsageError(f"{name}: matches {matches}, not images; give one by its own name, e.g. '{videos[0]}'")
    return found


def is_numbered(name: str) -> bool:
    """Whether a name is a pattern for numbered images (``frame%05d.jpg``), unless a file has it."""
    return bool(_NUMBER.search(Path(name).name))


def without_placeholders(stem: str) -> str:
    """What is left of a pattern's file name without its placeholders; may be empty."""
    return re.sub(r"%\d*d|[*?]|\[[^]]*\]", "", stem).strip("_-. ")


class ImageSequence:
    """A `VideoReader` of images, 25 a second. One that cannot be read keeps its number and is reported at the end.

    Args:
        name: the pattern, as the user typed it.
        files: the images in order.
        start, end: seconds, as for a video.
    """

    sound = None

    def __init__(self, name: str, files: list[str], start: float, end: float | None) -> None:
        self._name, self._files = name, files
        self._start, self._end = start, end
        first = first_frame(start, RATE)
        last = len(files) if end is None else min(len(files), first_frame(end, RATE))
        self._places = range(first, last)
        self._unread: list[SourceError] = []
        self.cut: str | None = None
        self.notes = (f"{len(files)} images are read as a video of {RATE} frames a second",)

    def __enter__(self) -> ImageSequence:
        if not self._places:
            raise SourceError(f"{self._name}: {no_frames(self._start, self._end)}")
        self._images = self._read()
        self._pending = next(self._images, None)
        if self._pending is None:
            raise self._unread[0]
        height, width = self._pending[1].shape[:2]
        self.info = StreamInfo((width, height), RATE, None, len(self._files))
        return self

    def __exit__(self, *_: object) -> None: ...

    def _read(self) -> Iterator[tuple[int, Image]]:
        for place in self._places:
            try:
                yield place, read_image(self._files[place])
            except SourceError as error:
                self._unread.append(error)

    def __iter__(self) -> Iterator[Frame]:
        """Image after image; `index` counts from the first of all."""
        assert self._pending is not None
        for place, image in chain([self._pending], self._images):
            yield Frame(image, self._name, place, float(place / RATE))
        if self._unread:
            self.cut = f"{len(self._unread)} of {len(self._places)} images could not be read, first: {self._unread[0]}"


def _numbered(pattern: Path) -> list[str]:
    """Files whose name is the pattern with a number in it, by that number."""
    before, after = _NUMBER.split(pattern.name, maxsplit=1)[0], _NUMBER.split(pattern.name, maxsplit=1)[-1]
    zero, width = _NUMBER.findall(pattern.name)[0]
    digits = rf"\d{{{width},}}" if zero and width else r"\d+"
    name = re.compile(re.escape(before) + f"({digits})" + re.escape(after))
    try:
        matches = [(name.fullmatch(path.name), path) for path in pattern.parent.iterdir()]
    except OSError:
        return []
    return [str(path) for _, path in sorted((int(match[1]), path) for match, path in matches if match)]
