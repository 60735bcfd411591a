"""Numbered images as a video: ``frame%05d.jpg``, ``'frames/*.jpg'``."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.natural_order import natural_key
from cvdetect.sources.images import read_image
from cvdetect.sources.kinds import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from cvdetect.media.sound import Sound

__all__ = ["RATE", "ImageSequence", "first_frame", "sequence_of"]

RATE = Fraction(25)  # frames a second, FFmpeg's for images
_NEAR = Fraction(1, 2000)  # seconds
_NUMBER = re.compile(r"%(0?)(\d*)d")


def sequence_of(name: str) -> list[str] | None:
    """The images that a pattern stands for, in order; None where it is no pattern but a file or an address.

    ``%d`` and ``%05d`` stand for a number, ``*``, ``?`` and ``[…]`` for what the shell has them for; the latter are
    put into natural order (9 before 10).

    Raises:
        SourceNotFound: nothing is called so.
        UsageError: the pattern stands for several videos.
    """
    if "://" in name or Path(name).exists():
        return None
    if _NUMBER.search(Path(name).name):
        found = _numbered(Path(name))
    elif glob.has_magic(name):
        found = sorted(glob.glob(name, recursive=True), key=natural_key)  # noqa: PTH207 - names stay as they were typed
    else:
        return None
    if not found:
        raise SourceNotFound(f"{name}: no file is called so")
    if videos := [file for file in found if Path(file).suffix.lower() in VIDEO_SUFFIXES]:
        raise UsageError(f"{name}: stands for {len(videos)} videos; give one by its own name, e.g. '{videos[0]}'")
    return found


def first_frame(time_s: float, rate: Fraction) -> int:
    """The first of frames 0, 1 / rate, 2 / rate, … that does not lie before a time.

    A time typed in thousandths means the frame there: 0.2 s is frame 5 of 25 a second, though the nearest number that
    a computer has for it is a little more.
    """
    return max(0, math.ceil((Fraction(time_s) - _NEAR) * rate))


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


class ImageSequence:
    """A `VideoSource` of images, 25 a second. One that cannot be read keeps its number, and is reported at the end.

    Args:
        name: the pattern, as the user typed it.
        files: the images in order.
        start, end: seconds, as for a video.
    """

    def __init__(self, name: str, files: list[str], start: float, end: float | None) -> None:
        self._name, self._files = name, files
        first = first_frame(start, RATE)
        last = len(files) if end is None else min(len(files), first_frame(end, RATE))
        self._places = range(first, last)
        self._unread: list[SourceError] = []
        self.cut: str | None = None
        self.sound: Sound | None = None
        self.remarks = [f"{name}: {len(files)} images are taken for a video of {RATE} frames a second"]

    def __enter__(self) -> ImageSequence:
        if not self._places:
            raise SourceError(f"{self._name}: has no frames between --start and --end")
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
