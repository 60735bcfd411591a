"""One open stream and the thread that empties it: whoever asks gets the newest picture, the others are dropped."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Image, StreamInfo
from cvdetect.core.progress import Controls

__all__ = ["ENDED", "Capture", "OpenStream", "Shot", "Stream"]

ENDED = "ended"
_HELD_BACK = 8  # pictures, at most, that a decoder keeps to itself
_GRACE_S = 1.0  # what a stream that minds its own time-out may need beyond it


class Stream(Protocol):
    """Something that gives one picture after another; used by one thread only.

    Attributes:
        info: what it says of itself; `frames` is None where it is live, that is, sets the pace itself.
    """

    info: StreamInfo

    @property
    def cut(self) -> str | None:
        """At the end of one that is not live: why fewer pictures came than there should be; None where all came."""

    def read(self) -> tuple[Image, float] | None:
        """The next picture and its time in the stream in seconds; None at the end, or where no more comes."""

    def close(self) -> None:
        """Let go of it."""


OpenStream = Callable[[], Stream]  # raises SourceError


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A captured picture.

    Attributes:
        number: how many the stream gave before it.
        stream_s: its time in the stream, seconds.
        captured: when it came, seconds of `time.monotonic`.
    """

    image: Image
    number: int
    stream_s: float
    captured: float


class Capture:
    """Opens a stream on a thread of its own and keeps its newest picture.

    A stream that hangs in the system's own code cannot be ended from outside; its thread is left behind and ends with
    the process, or as soon as it is let go.

    Args:
        open_stream: opens it.
        name: what to call it in messages.
        controls: a pause also holds a stream that has an end (a file); live ones go on.
        timeout_s: how long to wait for it to open, and for each picture.
    """

    def __init__(self, open_stream: OpenStream, name: str, controls: Controls, timeout_s: float) -> None:
        self._open_stream = open_stream
        self._name = name
        self._controls = controls
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._info: StreamInfo | None = None
        self._error: Exception | None = None
        self._newest: Shot | None = None
        self._ended: str | None = None
        self._heard = time.monotonic()
        self._wanted = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)
        self._thread.start()

    def opened(self) -> StreamInfo:
        """Wait until it has given its first picture; what it says of itself.

        Raises:
            SourceError: it could not be opened, or gives no picture.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._info or self._error, self._timeout_s + _GRACE_S)
        if self._error:
            raise self._error
        if self._info is None:
            self._left.set()
            raise SourceError(f"{self._name}: gives no picture within {self._timeout_s:g} s")
        return self._info

    def play(self) -> None:
        """From now on pictures are wanted: a file begins to play."""
        self._heard = time.monotonic()
        self._wanted.set()

    def take(self, timeout_s: float) -> Shot | None:
        """The newest picture, once; waits for one up to `timeout_s`. None: none has come."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended or self._error, timeout_s)
            shot, self._newest = self._newest, None
        return shot

    @property
    def ended(self) -> str | None:
        """Why no more pictures come; None while they do."""
        if self._error:
            return f"broke off: {self._error}"
        if self._ended is None and time.monotonic() - self._heard > self._timeout_s + _GRACE_S:
            self._ended = self._silence()
        return self._ended

    def close(self) -> None:
        """Let go of the stream, now or as soon as its thread comes back."""
        self._left.set()
        self._wanted.set()
        self._thread.join(timeout=_GRACE_S)

    def _silence(self) -> str:
        return f"gave no picture for {self._timeout_s:g} s"

    def _run(self) -> None:
        try:
            with closing(self._open_stream()) as stream:
                self._empty(stream)
        except Exception as error:  # raised again, or told, in the thread that asks
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _empty(self, stream: Stream) -> None:
        got, number, live = stream.read(), 0, stream.info.frames is None
        if got is None:
            raise SourceError(f"{self._name}: holds or gives no picture that can be decoded")
        height, width = got[0].shape[:2]
        self._tell_open(replace(stream.info, wh=(width, height)))
        if not live:
            self._wanted.wait()
        pace = _Pace(got[1])
        waits: deque[float] = deque(maxlen=_HELD_BACK)
        while got is not None and not self._left.is_set():
            if not live:
                self._wait_until_due(pace, got[1])
            self._keep(Shot(got[0], number, got[1], time.monotonic()))
            number += 1
            begin = time.monotonic()
            got = stream.read()
            waits.append(time.monotonic() - begin)
        # A decoder that gave up waiting first gives the pictures it held back, then says that it is at the end.
        silent = live and max(waits, default=0.0) >= 0.9 * self._timeout_s
        self._tell_end(self._silence() if silent else (not live and stream.cut) or ENDED)

    def _tell_open(self, info: StreamInfo) -> None:
        with self._changed:
            self._info = info
            self._heard = time.monotonic()
            self._changed.notify_all()

    def _keep(self, shot: Shot) -> None:
        with self._changed:
            self._newest = shot
            self._heard = shot.captured
            self._changed.notify_all()

    def _tell_end(self, reason: str) -> None:
        with self._changed:
            self._ended = reason
            self._changed.notify_all()

    def _wait_until_due(self, pace: _Pace, stream_s: float) -> None:
        """Hold a picture of a file back until its time has come; a pause moves that time."""
        while not self._left.is_set():
            now = self._heard = time.monotonic()
            if self._controls.paused:
                self._left.wait(0.02)
                pace.start += time.monotonic() - now
            elif (early := pace.start + stream_s - now) > 0:
                self._left.wait(min(early, 0.05))
            else:
                return


class _Pace:
    """When the time 0 of a stream is, in seconds of `time.monotonic`."""

    def __init__(self, first_s: float) -> None:
        self.start = time.monotonic() - first_s
