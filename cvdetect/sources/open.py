"""One way to open any source of frames: images, a video, a sequence, a camera, a stream."""

from __future__ import annotations

import glob
import math
import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import UsageError
from cvdetect.core.frame import MAX_PIXELS
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.sources import Source
from cvdetect.sources.addresses import is_address, is_live
from cvdetect.sources.images import Images, check_inputs, expand, is_image_file, read_pipes
from cvdetect.sources.kinds import VIDEO_SUFFIXES, suffix_says
from cvdetect.sources.lists import is_list_file
from cvdetect.sources.sequence import is_numbered

__all__ = ["open_source"]


def open_source(
    source: int | str | Path | Sequence[str | Path],
    *,
    start: float = 0.0,
    end: float | None = None,
    max_pixels: int = MAX_PIXELS,
    timeout: float = 10.0,
    reconnect: int = 10,
    controls: Controls | None = None,
    progress: Progress = LoggingProgress(),
) -> Source:
    """Open whatever gives frames; use it in a ``with`` block and iterate over it.

    Args:
        source: what it is decides what comes:

            - a number: the newest frames of that camera;
            - an address of a live stream (``rtsp://…``, or ``http://…`` without a video's suffix): its newest frames;
            - another address, a video file, a pipe or "-" (standard input): all frames of that video;
            - a numbered pattern (``frames/%05d.jpg``): its images as a video of 25 frames a second;
            - an image file, a pattern (``photos/*.jpg``), ``@FILE`` for a list of paths, or a sequence of all these:
              still images.
        start, end: of a video, seconds at which to start, and to end (not included); `end` None for all.
        max_pixels: still images with more are not decoded; they fail.
        timeout: of a camera or address, seconds to wait for a connection, and for each frame.
        reconnect: how many attempts to connect again are made when a live stream breaks.
        controls: stops a live source, and pauses a file that is played in real time.
        progress: gets what happens to the connection of a live source.

    Raises:
        UsageError: nothing was given, it is none of these, or it cannot be read as images.
        SourceNotFound: no such file, or nothing matches.
        SourceError: it cannot be read; also when entered, and while it is gone through.
    """
    _check_source(source)
    start, end = _seconds("start", start), None if end is None else _seconds("end", end)
    if isinstance(source, str | Path) and not is_live(str(source)) and not _are_images(str(source)):
        from cvdetect.sources.video import Video

        return Video(str(source), start, end, timeouts=(timeout, timeout))
    if start or end is not None:
        raise UsageError(f"{arg('start')} and {arg('end')}: only a video has a part between two times")
    if isinstance(source, numbers.Integral):
        source = int(source)  # also one of numpy's
    if isinstance(source, int) or (isinstance(source, str) and is_live(source)):
        from cvdetect.sources.live import open_live

        return open_live(source, controls or Controls(), progress, timeout_s=timeout, reconnect=reconnect)
    given = [str(source)] if isinstance(source, str | Path) else [str(name) for name in source]
    names = expand(given)
    check_inputs(names)
    images = Images(names, read_pipes(names), max_pixels)
    images.inputs += tuple(name[1:] for name in given if is_list_file(name))
    return images


def _check_source(source: object) -> None:
    """Raise UsageError for what is none."""
    several = isinstance(source, Iterable) and not isinstance(source, bytes) and not hasattr(source, "dtype")
    if isinstance(source, bool) or not (isinstance(source, numbers.Integral | str | Path) or several):
        got = type(source).__name__
        raise UsageError(f"source: expected a camera's number, a path, an address or several paths, got {got}")


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
        raise UsageError(f"{arg(name)} {value!r}: expected seconds, 0 or more")
    return float(value)


def _are_images(name: str) -> bool:
    """Whether a name means still images rather than a video."""
    if is_list_file(name):
        return True
    if name == "-" or is_address(name):
        return False
    path = Path(name)
    if path.exists():
        return is_image_file(path)
    if glob.has_magic(name):
        return path.suffix.lower() not in VIDEO_SUFFIXES
    return not is_numbered(name) and suffix_says(path.name) == "image"
