"""Reading with OpenCV: cameras, and videos where PyAV is not installed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from cvdetect.core.cv import cv2
from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.printable import is_utf8
from cvdetect.media.completeness import missing_frames, no_frames
from cvdetect.media.timing import file_rate, first_frame, live_rate

__all__ = ["DeviceStream", "OpenCVReader", "open_device"]


class OpenCVReader:
    """A `VideoReader` for files and addresses. Its times are those of a constant rate, and it reads no sound.

    Args:
        name: path or URL.
        start, end: seconds at which to start, and to end (not included); `end` None for all.
        timeouts: seconds to open an address, and to wait for each of its frames.
    """

    sound = None
    notes = ()

    def __init__(self, name: str, start: float, end: float | None, timeouts: tuple[float, float]) -> None:
        self._name = name
        self._start, self._end = start, end
        self._timeouts = timeouts
        self.cut: str | None = None

    def __enter__(self) -> OpenCVReader:
        self._capture = self._open()
        if not self._capture.isOpened():
            raise SourceError(f"{self._name}: is not a video that OpenCV can read")
        self._rate = file_rate(self._capture.get(cv2.CAP_PROP_FPS))
        stated = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._index = self._skip(first_frame(self._start, self._rate))
        done, self._image = self._read()
        if not done:
            self._capture.release()
            raise SourceError(f"{self._name}: {no_frames(self._start, self._end)}")
        wh = self._image.shape[1], self._image.shape[0]
        self.info = StreamInfo(wh, self._rate, None, int(stated) if 1 <= stated < math.inf else None)
        return self

    def _open(self) -> Any:
        if not is_utf8(self._name):  # OpenCV 4.14 crashes
            raise SourceError(f"{self._name}: its name is not UTF-8, and OpenCV cannot open it; rename it")
        name = self._name
        if "://" not in name:
            return cv2.VideoCapture(f"file:{name}" if ":" in name else name)
        to_open, to_read = (round(seconds * 1000) for seconds in self._timeouts)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, to_open, cv2.CAP_PROP_READ_TIMEOUT_MSEC, to_read]
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG, limits)

    def _skip(self, frames: int) -> int:
        """Pass over so many frames → how many there really were."""
        return next((i for i in range(frames) if not self._capture.grab()), frames)

    def _read(self) -> tuple[bool, Image]:
        try:
            done, image = self._capture.read()
        except cv2.error as error:
            reason = " ".join(str(error.err or error).split())
            raise SourceError(f"{self._name}: cannot be decoded: {reason}") from error
        return done, image

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; `index` and `time_s` are those of the whole video."""
        done, image = True, self._image
        while done and not self._is_over():
            yield Frame(image, self._name, self._index, float(self._index / self._rate))
            self._index += 1
            done, image = self._read()
        if self._end is None:
            self.cut = missing_frames(self._index, self.info.frames) or None

    def _is_over(self) -> bool:
        return self._end is not None and self._index >= first_frame(self._end, self._rate)


class DeviceStream:
    """A `Stream` of a camera."""

    cut = None

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._frames = 0
        width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.info = StreamInfo((width, height), live_rate(capture.get(cv2.CAP_PROP_FPS)))

    def read(self) -> tuple[Image, float] | None:
        """The next image and its time in seconds by the camera's rate; None where no more comes."""
        done, image = self._capture.read()
        if not done:
            return None
        self._frames += 1
        return image, (self._frames - 1) / float(self.info.rate)

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def open_device(number: int) -> DeviceStream | None:
    """The camera of that number; None where it does not open."""
    backend = cv2.CAP_ANY
    if cv2.CAP_V4L2 in cv2.videoio_registry.getCameraBackends():
        backend = cv2.CAP_V4L2  # the others only add log lines about cameras they do not have
    capture = cv2.VideoCapture(number, backend)
    if capture.isOpened():
        return DeviceStream(capture)
    capture.release()
    return None
