"""Video files and stream addresses."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cvdetect import media
from cvdetect.core.arguments import arg
from cvdetect.core.cv import cv2
from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.filetype import not_a_video
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.printable import is_utf8, natural_key
from cvdetect.media.completeness import missing_frames
from cvdetect.media.inputs import is_pipe
from cvdetect.media.timing import RATE, file_rate, first_frame
from cvdetect.sources import Failed
from cvdetect.sources.images import read_image
from cvdetect.sources.kinds import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from cvdetect.media.sound import Sound

__all__ = [
    "ImageSequence",
    "VideoSource",
    "every",
    "files_of",
    "open_video",
    "sequence_of",
    "usual_stem",
    "with_end",
]


class VideoSource(Protocol):
    """A context manager whose frames are gone through once.

    Attributes:
        info: what the video says of itself.
        cut: after the last frame: why fewer came than there should be, None where all came.
        sound: the sound that was read so far; None where there is none or none is wanted.
        remarks: lines for the user, known when it is open.
    """

    info: StreamInfo
    cut: str | None
    sound: Sound | None
    remarks: list[str]

    def __enter__(self) -> VideoSource:
        """Open it and read its first frame."""

    def __exit__(self, *_: object) -> None:
        """Close it."""

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""


def open_video(name: str, start: float = 0.0, end: float | None = None, *, with_sound: bool = False) -> VideoSource:
    """The frames of a file or address between two times (seconds), by PyAV where it is installed, else by OpenCV.

    The sound of the same part is read beside them where it is asked for and PyAV is there.

    Raises (when entered):
        SourceNotFound: no such file.
        SourceError: it is not a video, or has no frame in that range.
    """
    pattern = sequence_of(name)
    if pattern:
        return ImageSequence(name, pattern, start, end)
    _check(name)
    if media.available():
        from cvdetect.media.reader import AvReader

        return AvReader(name, start, end, with_sound=with_sound)
    return _OpenCVVideo(name, start, end)


def usual_stem(name: str) -> str:
    """What the output of an input that is no address is called: its file name without suffix, or what it is."""
    if name == "-" or is_pipe(name):
        return "stream" if name != "-" else "stdin"
    stem = Path(name).stem
    if not Path(name).exists():  # a pattern: what is left without its placeholders
        stem = re.sub(r"%\d*d|[*?]|\[[^]]*\]", "", stem).strip("_-. ") or "sequence"
    return stem


def _check(name: str) -> None:
    """Refuse what is certainly not a video file, with a better word than a decoder has."""
    if "://" in name or (media.available() and is_pipe(name)):
        return
    path = Path(name)
    if is_pipe(name):
        raise SourceError(f"{name}: a video from a pipe needs PyAV: {media.CURE}")
    if path.is_dir():
        raise SourceError(f"{name}: is a folder, expected a video; cvdetect annotate takes folders")
    if not path.exists():
        raise SourceNotFound(f"{name}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
    if foreign := not_a_video(head, name):
        raise SourceError(f"{name}: {foreign}")


class _OpenCVVideo:
    """OpenCV's own reader; its times are those of a constant rate, and it does not hear sound."""

    def __init__(self, name: str, start: float, end: float | None) -> None:
        self._name = name
        self._start, self._end = start, end
        self.cut: str | None = None
        self.sound: Sound | None = None
        self.remarks: list[str] = []

    def __enter__(self) -> _OpenCVVideo:
        if not is_utf8(self._name):  # OpenCV 4.14 crashes
            raise SourceError(f"{self._name}: its name is not UTF-8, and OpenCV cannot open it; rename it")
        self._capture: Any = cv2.VideoCapture(
            f"file:{self._name}" if ":" in self._name and "://" not in self._name else self._name
        )
        if not self._capture.isOpened():
            raise SourceError(f"{self._name}: is not a video that OpenCV can read")
        self._rate = file_rate(self._capture.get(cv2.CAP_PROP_FPS))
        claimed = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._index = self._skip(first_frame(self._start, self._rate))
        done, self._image = self._capture.read()
        if not done:
            raise SourceError(f"{self._name}: holds no frame that can be decoded in that range")
        wh = self._image.shape[1], self._image.shape[0]
        self.info = StreamInfo(wh, self._rate, None, claimed if claimed > 0 else None)
        return self

    def _skip(self, frames: int) -> int:
        """Pass over so many frames; how many there really were."""
        return next((i for i in range(frames) if not self._capture.grab()), frames)

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        done, image = True, self._image
        while done and not self._is_over():
            yield Frame(image, self._name, self._index, float(self._index / self._rate))
            self._index += 1
            done, image = self._capture.read()
        if self._end is None:
            self.cut = missing_frames(self._index, self.info.frames) or None

    def _is_over(self) -> bool:
        return self._end is not None and self._index >= first_frame(self._end, self._rate)


def every(frames: Iterable[Frame], n: int) -> Iterator[Frame]:
    """The same frames, of which only each nth (the first, too) is to be looked at."""
    for place, frame in enumerate(frames):
        yield replace(frame, held=True) if place % n else frame


def with_end(frames: Iterable[Frame], source: VideoSource, name: str) -> Iterator[Frame | Failed]:
    """The same frames, and what was cut off or damaged as a failure at the end."""
    yield from frames
    if source.cut:
        yield Failed(name, SourceError(f"{name}: {source.cut}; what could be read is done"))


# Numbered images as a video: ``frame%05d.jpg``, ``'frames/*.jpg'``.

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
            raise SourceError(f"{self._name}: has no frames between {arg('start')} and {arg('end')}")
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


# Which files are read where a video is named: its own, the images of a sequence, the segments of a playlist.

_MOST = 1 << 20  # characters of a playlist that are looked at
_URI = re.compile(r'URI="([^"]+)"')  # keys, first segments and other tracks (RFC 8216, section 4.3)


def files_of(name: str) -> Iterator[str | Path]:
    """The files of a video as it was typed; what is not there, and addresses, may be among them."""
    path = name.removeprefix("file://")
    yield path
    if path.lower().endswith((".m3u8", ".m3u")):
        yield from _of_playlist(Path(path), depth=1)
    pattern = re.sub(r"%0?\d*d", "*", name)
    if glob.has_magic(pattern):
        yield from glob.iglob(pattern)  # noqa: PTH207 - names as they were typed


def _of_playlist(playlist: Path, depth: int) -> Iterator[Path]:
    """What a playlist names; a master playlist names others, which name the segments."""
    try:
        with playlist.open(encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read(_MOST).splitlines()
    except (OSError, ValueError):
        return
    for line in map(str.strip, lines):
        for uri in _URI.findall(line) if line.startswith("#") else [line] * bool(line):
            file = playlist.parent / uri.removeprefix("file://")
            yield file
            if depth and uri.lower().endswith((".m3u8", ".m3u")):
                yield from _of_playlist(file, depth - 1)
