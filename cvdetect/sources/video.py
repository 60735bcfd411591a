"""Videos by their names: files, pipes, addresses, and numbered images."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cvdetect import media
from cvdetect.core.errors import SourceError, SourceNotFound, UsageError
from cvdetect.core.filetype import not_a_video
from cvdetect.core.frame import Frame, StreamInfo
from cvdetect.core.redact import redact_name
from cvdetect.media.inputs import TIMEOUTS, is_pipe
from cvdetect.sources import Failed, Source
from cvdetect.sources.addresses import is_address
from cvdetect.sources.kinds import VIDEO_SUFFIXES
from cvdetect.sources.sequence import ImageSequence, sequence_of, without_placeholders

if TYPE_CHECKING:
    from cvdetect.media.sound import Sound

__all__ = ["Video", "VideoReader", "every", "files_of", "usual_stem"]

_HEAD = 4096  # bytes of a file that show what it is
_MOST = 1 << 20  # characters of a playlist that are read
_URI = re.compile(r'URI="([^"]+)"')  # keys, first segments and other tracks (RFC 8216, section 4.3)


class VideoReader(Protocol):
    """A context manager whose frames are gone through once.

    Attributes:
        info: what the video states about itself.
        cut: after the last frame, why fewer came than there should be, to follow the name and a colon; None where all
            came.
        sound: the sound that was read so far; None where there is none or none is wanted.
        notes: what of the input is left out or assumed, each to follow the name and a colon.
    """

    info: StreamInfo
    cut: str | None

    @property
    def sound(self) -> Sound | None:
        """See above."""

    @property
    def notes(self) -> tuple[str, ...]:
        """See above."""

    def __enter__(self) -> VideoReader:
        """Open it and read its first frame."""

    def __exit__(self, *_: object) -> None:
        """Close it."""

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""


class Video(Source):
    """All frames of a video between two times, by PyAV where it is installed, else by OpenCV.

    What is missing at the end of one that is cut short, or was damaged, is a `Failed` behind its last frame.

    Args:
        name: a path, an address, "-" for standard input, or a pattern for numbered images (25 a second).
        start, end: seconds at which to start, and to end (not included); `end` None for all.
        with_sound: read the sound of the same part beside the frames, which PyAV alone does.
        timeouts: seconds to open an address, and to wait for each of its packets.

    Attributes:
        info, cut, sound, notes: as in `VideoReader`, once it is open.

    Raises (when made or entered):
        SourceNotFound: no such file.
        SourceError: it is not a video, or has no frame in that range.
        UsageError: the pattern matches videos.
    """

    info: StreamInfo

    def __init__(
        self,
        name: str,
        start: float = 0.0,
        end: float | None = None,
        *,
        with_sound: bool = False,
        timeouts: tuple[float, float] = TIMEOUTS,
    ) -> None:
        self.name = name
        images = sequence_of(name)
        self.inputs = tuple(images or [name])
        self._open = False
        self._reader = (
            ImageSequence(name, images, start, end) if images else _reader(name, start, end, with_sound, timeouts)
        )

    def __enter__(self) -> Video:
        try:
            self._reader.__enter__()
        except SourceError as error:
            if is_address(self.name) and (error.__cause__ is not None or not media.available()):
                from cvdetect.sources.addresses import why_unreachable

                raise SourceError(f"{redact_name(self.name)}: {why_unreachable(self.name)}") from error
            raise
        self.info = self._reader.info
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._reader.__exit__()

    @property
    def cut(self) -> str | None:
        """After the last frame, why fewer came than there should be; None where all came."""
        return self._reader.cut

    @property
    def sound(self) -> Sound | None:
        """The sound that was read so far; None where there is none or none is wanted."""
        return self._reader.sound

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the input is left out or assumed, each to follow its name and a colon."""
        return self._reader.notes

    def items(self) -> Iterator[Frame | Failed]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""
        if not self._open:
            raise UsageError(f"{redact_name(self.name)}: is not open: iterate over it inside its with block")
        yield from self._reader
        if self.cut:
            yield Failed(self.name, SourceError(f"{self.name}: {self.cut}"))


def every(items: Iterable[Frame | Failed], n: int) -> Iterator[Frame | Failed]:
    """The same items; only each nth frame, the first one included, is to go through the network."""
    place = 0
    for item in items:
        if isinstance(item, Failed):
            yield item
        else:
            yield replace(item, skipped=True) if place % n else item
            place += 1


def usual_stem(name: str) -> str:
    """What the output of an input that is no address is named after: its stem, or what kind of input it is."""
    if name == "-" or is_pipe(name):
        return "stream" if name != "-" else "stdin"
    stem = Path(name).stem
    return stem if Path(name).exists() else without_placeholders(stem) or "sequence"


def files_of(name: str) -> Iterator[str | Path]:
    """The files that are read where a video is named: its own, a sequence's images, a playlist's segments.

    Files that do not exist, and addresses, may be among them.
    """
    path = name.removeprefix("file://")
    yield path
    if _is_playlist(path):
        yield from _of_playlist(Path(path), depth=1)
    pattern = re.sub(r"%0?\d*d", "*", name)
    if glob.has_magic(pattern):
        yield from glob.iglob(pattern)  # noqa: PTH207 - names as they were typed


def _is_playlist(name: str) -> bool:
    return name.lower().endswith((".m3u8", ".m3u"))


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
            if depth and _is_playlist(uri):
                yield from _of_playlist(file, depth - 1)


def _reader(name: str, start: float, end: float | None, with_sound: bool, timeouts: tuple[float, float]) -> VideoReader:
    _check(name)
    if media.available():
        from cvdetect.media.reader import AvReader

        return AvReader(name, start, end, with_sound=with_sound, timeouts=timeouts)
    from cvdetect.sources.opencv import OpenCVReader

    return OpenCVReader(name, start, end, timeouts)


def _check(name: str) -> None:
    """Refuse what is certainly not a video, in better words than a decoder has."""
    if is_pipe(name) and not media.available():
        raise SourceError(f"{name}: a video from a pipe needs PyAV: {media.INSTALL}")
    if is_address(name) or is_pipe(name):
        return
    path = Path(name)
    if path.is_dir():
        raise SourceError(f"{name}: is a folder, expected a video; cvdetect annotate takes folders")
    if not path.exists():
        hint = "" if path.suffix.lower() in VIDEO_SUFFIXES else " (an address starts with http:// or rtsp://)"
        raise SourceNotFound(f"{name}: no such file{hint}")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
    if foreign := not_a_video(head, name):
        raise SourceError(f"{name}: {foreign}")
