"""Opens cameras with OpenCV, addresses and files with PyAV where it is installed, else with OpenCV, as live streams."""

from __future__ import annotations

import math
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from cvdetect import media
from cvdetect.core.arguments import arg
from cvdetect.core.cv import cv2
from cvdetect.core.errors import SourceError, SourceNotFound
from cvdetect.core.filetype import not_a_video
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.printable import is_utf8
from cvdetect.core.redact import redact_name
from cvdetect.media.completeness import missing_frames
from cvdetect.media.timing import live_rate
from cvdetect.sources.camera import OpenStream, Stream

if TYPE_CHECKING:
    from cvdetect.media.reader import AvReader

__all__ = ["cameras_that_open", "device_name", "device_opener", "url_opener", "why_unreachable"]


def device_name(number: int) -> str:
    """What a camera is called in messages and results."""
    return f"camera {number}"


def device_opener(number: int) -> OpenStream:
    """Opens camera `number`; SourceError names the cameras that open where it does not."""
    return partial(_open_device, number)


def url_opener(url: str, timeout_s: float) -> OpenStream:
    """Opens an address (rtsp, http, …) or a video file; SourceError says why where that fails."""
    return partial(_open_url, url, timeout_s)


def cameras_that_open() -> list[int]:
    """Numbers of the cameras that can be opened now."""
    if sys.platform.startswith("linux"):
        names = (path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
        numbers = sorted(int(name) for name in names if name.isdecimal())
    else:
        numbers = list(range(4))
    return [n for n in numbers if _opens(n)]


def _opens(number: int) -> bool:
    capture = _capture_device(number)
    opened = bool(capture.isOpened())
    capture.release()
    return opened


def _capture_device(number: int) -> Any:
    backend = cv2.CAP_ANY
    if cv2.CAP_V4L2 in cv2.videoio_registry.getCameraBackends():
        backend = cv2.CAP_V4L2  # the others only add log lines about cameras they do not have
    return cv2.VideoCapture(number, backend)


def _open_device(number: int) -> _OpenCVStream:
    capture = _capture_device(number)
    if capture.isOpened():
        return _OpenCVStream(capture, device_name(number), live=True)
    capture.release()
    others = ", ".join(str(n) for n in cameras_that_open())
    choice = f"these open: {others}" if others else f"no camera was found here; {arg('url')} takes a stream or a file"
    raise SourceError(f"{arg('device')} {number}: {_why_no_device(number)}; {choice}")


def _why_no_device(number: int) -> str:
    path = Path(f"/dev/video{number}")
    if not sys.platform.startswith("linux"):
        return "no such camera, or another program has it"
    if not path.exists():
        return "no such camera"
    try:
        path.open("rb").close()
    except PermissionError:
        return f"you may not read {path} (join the group that owns it, often video)"
    except OSError as error:
        return f"{path} cannot be opened: {error.strerror or error}"
    return f"{path} is there but gives no pictures (another program has it, or it is no camera)"


def _open_url(url: str, timeout_s: float) -> Stream:
    name = redact_name(url)
    remote = "://" in url and not url.startswith("file:")
    if url == "-" and sys.stdin is None:
        raise SourceError(
            f"-: standard input is closed; pipe a video into it, e.g. cvdetect webcam {arg('url', '-')} < in.mp4"
        )
    if not remote:
        url = url.removeprefix("file://")
        _check_file("/dev/stdin" if url == "-" else url, name)
    return _open_with_av(url, name, timeout_s) if media.available() else _open_with_opencv(url, name, timeout_s)


def _open_with_av(url: str, name: str, timeout_s: float) -> _AvStream:
    from cvdetect.media.reader import AvReader

    # A tenth of the time to open is left to find out why that fails.
    reader = AvReader(url, with_sound=False, timeouts=(timeout_s * 0.9, timeout_s))
    try:
        return _AvStream(reader.__enter__(), Path(url).is_file())
    except SourceError as error:
        could_not_open = "://" in url and error.__cause__ is not None
        why = why_unreachable(url) if could_not_open else str(error).removeprefix(f"{url}: ").replace(url, name)
        raise type(error)(f"{name}: {why}") from error


def _open_with_opencv(url: str, name: str, timeout_s: float) -> _OpenCVStream:
    remote = "://" in url
    url = "/dev/stdin" if url == "-" else url
    if not remote and ":" in url:
        url = f"file:{url}"
    limits = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(timeout_s * 900)),  # a tenth is left to find out why
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(timeout_s * 1000)),
    ]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        return _OpenCVStream(capture, name, live=False)
    capture.release()
    why = why_unreachable(url) if remote else "is not a video that OpenCV can read"
    raise SourceError(f"{name}: {why}")


def _check_file(path: str, name: str) -> None:
    """Refuse what is certainly not a video, in better words than a decoder has."""
    if Path(path).is_dir():
        raise SourceError(f"{name}: is a folder, expected a video file or an address")
    if not Path(path).exists():
        raise SourceNotFound(f"{name}: no such file (an address starts with rtsp:// or http://)")
    if not is_utf8(path):  # OpenCV 4.14 crashes
        raise SourceError(f"{name}: its name is not UTF-8, and OpenCV cannot open it; rename it")
    if not Path(path).is_file():
        return  # a pipe: what it gives is seen once
    try:
        with Path(path).open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from error
    if foreign := not_a_video(head, path):
        raise SourceError(f"{name}: {foreign}")


class _AvStream:
    """A `Stream` of PyAV: upright, in square pixels, with the right colours, as `video` reads it.

    A file has an end, also where it does not say how many frames it has (raw H.264).
    """

    def __init__(self, reader: AvReader, is_file: bool) -> None:
        self._reader = reader
        self._frames: Iterator[Frame] = iter(reader)
        frames = reader.info.frames or (0 if is_file else None)
        self.info = replace(reader.info, rate=live_rate(reader.info.rate), frames=frames)

    @property
    def cut(self) -> str | None:
        """At the end of a file: what it lacks."""
        return self._reader.cut

    def read(self) -> tuple[Image, float] | None:
        """The next picture and its time in the stream."""
        frame = next(self._frames, None)
        return None if frame is None else (frame.image, frame.time_s or 0.0)

    def close(self) -> None:
        """Close the file or connection."""
        self._reader.__exit__()


class _OpenCVStream:
    """A `Stream` of ``cv2.VideoCapture``; it is upright, as OpenCV applies a container's rotation."""

    def __init__(self, capture: Any, name: str, live: bool) -> None:
        self._capture = capture
        self._name = name
        self._read = 0
        width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        claimed = -1.0 if live else capture.get(cv2.CAP_PROP_FRAME_COUNT)
        finite = math.isfinite(claimed) and claimed >= 1
        rate = live_rate(capture.get(cv2.CAP_PROP_FPS))
        self.info = StreamInfo((width, height), rate, frames=int(claimed) if finite else None)

    @property
    def cut(self) -> str | None:
        """At the end of a file: how many of the frames it claims are missing."""
        return missing_frames(self._read, self.info.frames) or None

    def read(self) -> tuple[Image, float] | None:
        """The next picture and its time in the stream."""
        try:
            done, image = self._capture.read()
        except cv2.error as error:
            raise SourceError(
                f"{self._name}: cannot be decoded: {' '.join(str(error.err or error).split())}"
            ) from error
        if not done:
            return None
        time_s = max(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0) or self._read / float(self.info.rate)
        self._read += 1
        return image, time_s

    def close(self) -> None:
        """Release the device or connection."""
        self._capture.release()


# Why an address gives no video: what OpenCV does not tell is asked of the server itself, in a second at most.

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}
_SECONDS = 0.5  # to connect, and to answer
_NO_VIDEO = "gives no video that OpenCV can read"


def why_unreachable(url: str) -> str:
    """The reason in words, to follow the address and a colon."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:  # its text may quote a part of the password
        return "is not an address: a password's / ? # and @ are written as %2F %3F %23 and %40"
    if not parts.hostname:
        return "is not an address that names a host"
    if port is None:
        return _NO_VIDEO
    try:
        return _ask(parts, port)
    except socket.gaierror:
        return f"no host is called {parts.hostname}"
    except ConnectionRefusedError:
        return f"connection refused: nothing listens on {parts.hostname} port {port}"
    except TimeoutError:
        return "does not answer"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"


def _ask(parts: SplitResult, port: int) -> str:
    """Ask for the video as a player would, and read the first lines of the answer."""
    host, scheme = parts.hostname or "", parts.scheme.lower()
    with socket.create_connection((host, port), timeout=_SECONDS) as connection:
        if scheme == "rtmp":
            return _NO_VIDEO
        stream = connection
        if scheme in ("https", "rtsps"):
            stream = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        stream.sendall(_request(parts, host, port))
        try:
            return _reading(stream.recv(4096).decode("latin-1"), bool(parts.username))
        except TimeoutError:
            return "accepts the connection, but sends nothing"


def _request(parts: SplitResult, host: str, port: int) -> bytes:
    if parts.scheme.lower().startswith("rtsp"):
        return f"DESCRIBE {parts.scheme}://{host}:{port}{parts.path} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()


def _reading(answer: str, named: bool) -> str:
    """What a status line (``HTTP/1.1 404 Not Found``) and headers mean for a person."""
    head = answer.split("\r\n\r\n", maxsplit=1)[0].splitlines()
    words = head[0].split(maxsplit=2) if head else []
    if len(words) < 2 or not words[1].isdecimal():
        return "accepts the connection, but sends nothing" if not answer else _NO_VIDEO
    status = " ".join(words[1:])
    if words[1] == "401":
        cure = "user or password is wrong" if named else "write user:password@ before the host"
        return f"asks for a password ({status}): {cure}"
    if int(words[1]) >= 400:
        return f"the server answers {status}"
    if any(line.lower().startswith("content-type: text/html") for line in head):
        return "is a web page, not a video; give the address of the stream itself"
    return _NO_VIDEO
