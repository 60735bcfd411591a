"""The newest frame of a camera, a stream or a file played in real time; a connection that breaks is opened again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.printable import counted
from cvdetect.core.progress import Controls, NullProgress, Progress
from cvdetect.sources import Failed, Source

__all__ = ["Camera", "OpenStream", "Stream", "backoff"]

_TICK_S = 0.1  # how soon a wish to stop is met
_STEADY_S = 5.0  # a connection that held so long has all its attempts again
_ENDED = "ended"
_HELD_BACK = 8  # frames, at most, that a decoder keeps to itself
_GRACE_S = 1.0  # what a stream with a time-out of its own may need beyond it


class Stream(Protocol):
    """What gives one image after another; used by one thread only.

    Attributes:
        info: what it states about itself; `frames` is None where it is live, that is, sets the pace itself.
    """

    info: StreamInfo

    @property
    def cut(self) -> str | None:
        """At the end of one that is not live: why fewer frames came than there should be; None where all came."""

    def read(self) -> tuple[Image, float] | None:
        """The next image and its time in the stream, seconds; None at the end, or where no more come."""

    def close(self) -> None:
        """Close it."""


OpenStream = Callable[[], Stream]  # raises SourceError


class Camera(Source):
    """Always the newest frame: those that nobody asked for in time are dropped and counted.

    `index` counts every frame that came, so it has gaps where some were dropped. It and `time_s` (seconds since the
    first frame; for a file, its own time) go on over a new connection. A live stream that breaks is opened again; a
    file that ends is over. A stream that does not come back, and a file that is cut short, end in a `Failed`.

    Args:
        open_stream: opens the camera, the address or the file.
        name: what to call it in messages and results.
        controls: its `stop` is obeyed within a tenth of a second.
        timeout_s: seconds to wait for a connection, and for each frame.
        reconnect: how many attempts to connect again are made when a live stream breaks.
        max_frames: end after so many frames; None for no end.
        duration_s: end so many seconds after the first frame; None for no end.
        ends: the end of the stream is its end (a pipe), not a break after which it is opened again.

    Attributes:
        info: what the stream states about itself.
        delivered: how many frames were given out.
        dropped: how many frames came and were replaced by newer ones before they were asked for.
        state: "live", or "reconnecting".

    Raises (when entered):
        SourceError: it cannot be opened, or gives no frame in time.
    """

    info: StreamInfo

    def __init__(
        self,
        open_stream: OpenStream,
        name: str,
        controls: Controls,
        progress: Progress = NullProgress(),
        *,
        timeout_s: float = 10.0,
        reconnect: int = 10,
        max_frames: int | None = None,
        duration_s: float | None = None,
        ends: bool = False,
    ) -> None:
        self._ends = ends
        self._open_stream = open_stream
        self._name = name
        self._controls = controls
        self._progress = progress
        self._timeout_s = timeout_s
        self._attempts = reconnect
        self._max_frames = max_frames
        self._duration_s = duration_s
        self._waits = backoff(reconnect)
        self._connected = 0.0  # since when, in seconds of time.monotonic
        self._next_index: int | None = None
        self._base = 0
        self._zero = 0.0  # where time_s is 0, in seconds of time.monotonic
        self._first = 0.0
        self.delivered = 0
        self.dropped = 0
        self.state = "live"

    def __enter__(self) -> Camera:
        self._capture = self._connect()
        self.info = self._capture.opened()
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.close()

    def age_s(self, frame: Frame) -> float:
        """How long ago a frame was captured, in seconds."""
        return time.monotonic() - self._zero - (frame.time_s or 0.0)

    def items(self) -> Iterator[Frame | Failed]:
        """The newest frame whenever one is asked for; last a `Failed` where the stream broke or is cut short."""
        self._capture.play()
        self._connected = time.monotonic()
        while not self._is_over():
            captured = self._capture.take(_TICK_S)
            if captured is not None:
                yield self._frame(captured)
            elif reason := self._capture.ended:
                live = self.info.frames is None
                if reason == _ENDED and (self._ends or not live):
                    return
                error = self._reconnect(reason) if live else SourceError(f"{self._name}: {reason}")
                if error:
                    yield Failed(self._name, error)
                    return

    def _is_over(self) -> bool:
        enough = self._max_frames is not None and self.delivered >= self._max_frames
        late = self._duration_s is not None and self.delivered and time.monotonic() - self._first >= self._duration_s
        return bool(enough or late or self._controls.stopping)

    def _frame(self, captured: _CapturedFrame) -> Frame:
        live = self.info.frames is None
        if self._next_index is None:
            self._first = captured.moment
            self._zero = captured.moment
            # A live stream gave frames before any were wanted; in a file the first one is frame 0.
            self._base = -captured.number if live else 0
            self._next_index = 0
        index = self._base + captured.number
        self.dropped += index - self._next_index
        self._next_index = index + 1
        self.delivered += 1
        if not live:
            self._zero = captured.moment - captured.stream_s
        return Frame(captured.image, self._name, index, captured.moment - self._zero)

    def _reconnect(self, reason: str) -> SourceError | None:
        """Connect again, with growing waits between attempts → what went wrong where all of them failed."""
        self.state = "reconnecting"
        if time.monotonic() - self._connected > _STEADY_S:
            self._waits = backoff(self._attempts)
        self._capture.close()
        last = f"{self._name}: {reason}"
        for wait_s in self._waits:
            self._progress.warn(f"{last}; trying again in {wait_s:g} s")
            if not self._wait(wait_s):
                return None
            try:
                self._connect_again()
            except SourceError as error:
                last = str(error)
            else:
                self._progress.note(f"{self._name}: reconnected")
                self.state = "live"
                return None
        after = f" after {counted(self._attempts, 'attempt')}" if self._attempts else ""
        return SourceError(f"{last}; given up{after}")

    def _connect_again(self) -> None:
        capture = self._connect()
        try:
            capture.opened()
        except SourceError:
            capture.close()
            raise
        self._capture = capture
        capture.play()
        self._base = self._next_index or 0
        self._connected = time.monotonic()

    def _connect(self) -> _Capture:
        return _Capture(self._open_stream, self._name, self._controls, self._timeout_s)

    def _wait(self, seconds: float) -> bool:
        """Wait; False where the end was asked for meanwhile."""
        until = time.monotonic() + seconds
        while not self._controls.stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_S))
        return not self._controls.stopping


def backoff(attempts: int) -> Iterator[float]:
    """Seconds to wait before each new attempt: 0.5, 1, 2, 4, … at most 30."""
    return (min(30.0, 0.5 * 2.0**n) for n in range(attempts))


@dataclass(frozen=True, slots=True, eq=False)
class _CapturedFrame:
    """An image that came.

    Attributes:
        number: how many the stream gave before it.
        stream_s: its time in the stream, seconds.
        moment: when it came, seconds of `time.monotonic`.
    """

    image: Image
    number: int
    stream_s: float
    moment: float


class _Capture:
    """Opens a stream on a thread of its own, which empties it and keeps its newest frame.

    A stream that hangs in the system's own code cannot be ended from outside: its thread is left behind, and ends with
    the process or as soon as that call returns.

    Args:
        open_stream: opens it.
        name: what to call it in messages.
        controls: a pause also holds a stream that has an end (a file); live ones go on.
        timeout_s: seconds to wait for it to open, and for each frame.
    """

    def __init__(self, open_stream: OpenStream, name: str, controls: Controls, timeout_s: float) -> None:
        self._open_stream = open_stream
        self._name = name
        self._controls = controls
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._info: StreamInfo | None = None
        self._error: Exception | None = None
        self._newest: _CapturedFrame | None = None
        self._ended: str | None = None
        self._last_sign = time.monotonic()
        self._wanted = threading.Event()
        self._left = threading.Event()
        self._zero = 0.0  # the moment (seconds of time.monotonic) at which time 0 of a file is shown
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)
        self._thread.start()

    def opened(self) -> StreamInfo:
        """Wait until it has given its first frame → what it states about itself.

        Raises:
            SourceError: it could not be opened, or gives no frame.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._info or self._error, self._timeout_s + _GRACE_S)
        if self._error:
            raise self._error
        if self._info is None:
            self._left.set()
            raise SourceError(f"{self._name}: gives no frame within {self._timeout_s:g} s")
        return self._info

    def play(self) -> None:
        """From now on frames are wanted: a file begins to play."""
        self._last_sign = time.monotonic()
        self._wanted.set()

    def take(self, timeout_s: float) -> _CapturedFrame | None:
        """The newest frame, once; waits for one up to `timeout_s`. None: none has come."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended or self._error, timeout_s)
            newest, self._newest = self._newest, None
        return newest

    @property
    def ended(self) -> str | None:
        """Why no more frames come; None while they do."""
        if self._error:
            return f"broke off: {self._error}"
        if self._ended is None and time.monotonic() - self._last_sign > self._timeout_s + _GRACE_S:
            self._ended = self._silence()
        return self._ended

    def close(self) -> None:
        """Close the stream, now or as soon as its thread comes back."""
        self._left.set()
        self._wanted.set()
        self._thread.join(timeout=_GRACE_S)

    def _silence(self) -> str:
        return f"gave no frame for {self._timeout_s:g} s"

    def _run(self) -> None:
        try:
            with closing(self._open_stream()) as stream:
                self._empty(stream)
        except Exception as error:  # raised again, or reported, in the thread that asks
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _empty(self, stream: Stream) -> None:
        got, number, live = stream.read(), 0, stream.info.frames is None
        if got is None:
            raise SourceError(f"{self._name}: gives no frame that can be decoded")
        height, width = got[0].shape[:2]
        self._set_open(replace(stream.info, wh=(width, height)))
        if not live:
            self._wanted.wait()
        self._zero = time.monotonic() - got[1]
        waits: deque[float] = deque(maxlen=_HELD_BACK)
        while got is not None and not self._left.is_set():
            if not live:
                self._wait_until_due(got[1])
            self._keep(_CapturedFrame(got[0], number, got[1], time.monotonic()))
            number += 1
            begin = time.monotonic()
            got = stream.read()
            waits.append(time.monotonic() - begin)
        # A decoder that gave up waiting first gives the frames it held back, then reports the end.
        silent = live and max(waits, default=0.0) >= 0.9 * self._timeout_s
        self._set_ended(self._silence() if silent else (not live and stream.cut) or _ENDED)

    def _set_open(self, info: StreamInfo) -> None:
        with self._changed:
            self._info = info
            self._last_sign = time.monotonic()
            self._changed.notify_all()

    def _keep(self, frame: _CapturedFrame) -> None:
        with self._changed:
            self._newest = frame
            self._last_sign = frame.moment
            self._changed.notify_all()

    def _set_ended(self, reason: str) -> None:
        with self._changed:
            self._ended = reason
            self._changed.notify_all()

    def _wait_until_due(self, stream_s: float) -> None:
        """Hold a frame of a file back until its time has come; a pause moves that time."""
        while not self._left.is_set():
            now = self._last_sign = time.monotonic()
            if self._controls.paused:
                self._left.wait(0.02)
                self._zero += time.monotonic() - now
            elif (early := self._zero + stream_s - now) > 0:
                self._left.wait(min(early, 0.05))
            else:
                return
