"""Cameras, and streams or files that are watched in real time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Frame, Image
from cvdetect.core.progress import Controls, Progress
from cvdetect.core.redact import redact_name
from cvdetect.media.inputs import is_pipe
from cvdetect.media.timing import live_rate
from cvdetect.sources import Failed
from cvdetect.sources.camera import Camera, OpenStream, Stream
from cvdetect.sources.opencv import open_device
from cvdetect.sources.video import Video

__all__ = ["cameras_that_open", "device_opener", "live_name", "open_live", "url_opener"]


def open_live(
    source: int | str,
    controls: Controls,
    progress: Progress,
    *,
    timeout_s: float,
    reconnect: int,
    max_frames: int | None = None,
    duration_s: float | None = None,
) -> Camera:
    """The newest frames of a camera's number, an address (rtsp, http, …), a pipe, or a file played in real time.

    Arguments and errors are those of `Camera`.
    """
    return Camera(
        device_opener(source) if isinstance(source, int) else url_opener(source, timeout_s),
        live_name(source),
        controls,
        progress,
        timeout_s=timeout_s,
        reconnect=reconnect,
        max_frames=max_frames,
        duration_s=duration_s,
        ends=isinstance(source, str) and is_pipe(source),
    )


def live_name(source: int | str) -> str:
    """What a source is called in messages and results; an address without its secrets."""
    return f"camera {source}" if isinstance(source, int) else redact_name(source)


def device_opener(number: int) -> OpenStream:
    """Opens camera `number`; its SourceError names the cameras that open where it does not."""
    return partial(_open_device, number)


def url_opener(url: str, timeout_s: float) -> OpenStream:
    """Opens an address or a video file; its SourceError states the reason where that fails."""
    return partial(_VideoStream, url, timeout_s)


def cameras_that_open() -> list[int]:
    """Numbers of the cameras that can be opened now."""
    if sys.platform.startswith("linux"):
        names = (path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
        numbers = sorted(int(name) for name in names if name.isdecimal())
    else:
        numbers = list(range(4))
    return [number for number in numbers if _opens(number)]


def _is_file(url: str) -> bool:
    try:
        return Path(url.removeprefix("file://")).is_file()
    except OSError:  # a name that is too long for one
        return False


def _opens(number: int) -> bool:
    stream = open_device(number)
    if stream is None:
        return False
    stream.close()
    return True


def _open_device(number: int) -> Stream:
    stream = open_device(number)
    if stream is not None:
        return stream
    others = ", ".join(map(str, cameras_that_open()))
    choice = f"these open: {others}" if others else "none was found here; a stream's address or a file can be given"
    raise SourceError(f"{live_name(number)}: {_why_no_device(number)}; {choice}")


def _why_no_device(number: int) -> str:
    path = Path(f"/dev/video{number}")
    if not sys.platform.startswith("linux"):
        return "no such camera, or another program uses it"
    if not path.exists():
        return "no such camera"
    try:
        path.open("rb").close()
    except PermissionError:
        return f"no permission to read {path} (join the group that owns it, often video)"
    except OSError as error:
        return f"{path} cannot be opened: {error.strerror or error}"
    return f"{path} exists but gives no images (another program uses it, or it is not a camera)"


class _VideoStream:
    """A `Stream` of a video's frames.

    A file has an end, also where it does not state how many frames it has (raw H.264).
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        # A tenth of the time to open is left to find out why that fails.
        video = Video(url.removeprefix("file://"), timeouts=(timeout_s * 0.9, timeout_s))
        self._video = video.__enter__()
        self._items: Iterator[Frame | Failed] = video.items()
        frames = video.info.frames or (0 if _is_file(url) else None)
        self.info = replace(video.info, rate=live_rate(video.info.rate), frames=frames)

    @property
    def cut(self) -> str | None:
        """At the end of a file: why fewer frames came than there should be; None where all came."""
        return self._video.cut

    def read(self) -> tuple[Image, float] | None:
        """The next image and its time in the stream, seconds; None at the end."""
        item = next(self._items, None)
        return (item.image, item.time_s or 0.0) if isinstance(item, Frame) else None

    def close(self) -> None:
        """Close the file or connection."""
        self._video.__exit__()
