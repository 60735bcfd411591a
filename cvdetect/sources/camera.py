"""A camera, a network stream or a file played in real time: the newest frame, over every break of the connection."""

from __future__ import annotations

import time
from collections.abc import Iterator

from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Frame, StreamInfo
from cvdetect.core.progress import Controls, Progress, Silent
from cvdetect.sources.capture import ENDED, Capture, OpenStream, Shot
from cvdetect.sources.failed import Failed

__all__ = ["Camera", "pauses"]

_TICK_S = 0.1  # how soon a wish to stop is heard
_STEADY_S = 5.0  # a connection that held so long has earned all its tries again


def pauses(tries: int, first_s: float = 0.5, longest_s: float = 30.0) -> Iterator[float]:
    """Seconds to wait before each new try: 0.5, 1, 2, 4, … at most 30."""
    return (min(longest_s, first_s * 2.0**n) for n in range(tries))


class Camera:
    """Frames of a live stream, newest first come: what nobody asked for in time is dropped and counted.

    A context manager that is gone through once. `index` counts every picture that came, so it has gaps where some were
    dropped; it and `time_s` (seconds since the first frame; for a file, of the file) go on over a new connection.
    A live stream that breaks is opened again; a file that ends is over. One that stays away, and a file that is cut
    short, come as `Failed`.

    Args:
        open_stream: opens the camera, the address or the file.
        name: what to call it.
        controls: its wish to stop is heard within a tenth of a second.
        timeout_s: how long to wait for a connection, and for each picture.
        reconnect: how often to try again when a live stream breaks.
        max_frames: end after so many frames; None for no end.
        duration_s: end so many seconds after the first frame; None for no end.
        ends: the end of the stream is the end (a pipe), not a break after which it is opened again.

    Attributes:
        info: what the stream says of itself.
        handed: frames given out.
        dropped: pictures that came too late to be asked for.
        state: "live", or "reconnecting".

    Raises (when entered):
        SourceError: it cannot be opened, or gives no picture in time.
    """

    info: StreamInfo

    def __init__(
        self,
        open_stream: OpenStream,
        name: str,
        controls: Controls,
        progress: Progress = Silent(),  # noqa: B008 - stateless
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
        self._reconnect = reconnect
        self._max_frames = max_frames
        self._duration_s = duration_s
        self._tries = pauses(reconnect)
        self._since = 0.0  # of the connection, in seconds of time.monotonic
        self._next_index: int | None = None
        self._base = 0
        self._zero = 0.0  # where time_s is 0, in seconds of time.monotonic
        self._first = 0.0
        self.handed = 0
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

    def __iter__(self) -> Iterator[Frame | Failed]:
        self._capture.play()
        self._since = time.monotonic()
        while not self._is_over():
            shot = self._capture.take(_TICK_S)
            if shot is not None:
                yield self._frame(shot)
            elif reason := self._capture.ended:
                if self._ends and reason == ENDED:
                    return
                error = self._cut(reason) if self.info.frames is not None else self._mend(reason)
                if error:
                    yield Failed(self._name, error)
                if error or self.info.frames is not None:
                    return

    def _is_over(self) -> bool:
        enough = self._max_frames is not None and self.handed >= self._max_frames
        late = self._duration_s is not None and self.handed and time.monotonic() - self._first >= self._duration_s
        return bool(enough or late or self._controls.stopping)

    def _frame(self, shot: Shot) -> Frame:
        live = self.info.frames is None
        if self._next_index is None:
            self._first = shot.captured
            self._zero = shot.captured
            # A live stream gave pictures before any were wanted; in a file the first one is frame 0.
            self._base = -shot.number if live else 0
            self._next_index = 0
        index = self._base + shot.number
        self.dropped += index - self._next_index
        self._next_index = index + 1
        self.handed += 1
        if not live:
            self._zero = shot.captured - shot.stream_s
        return Frame(shot.image, self._name, index, shot.captured - self._zero)

    def _cut(self, reason: str) -> SourceError | None:
        """What a file lacks at its end."""
        return None if reason == ENDED else SourceError(f"{self._name}: {reason}")

    def _mend(self, reason: str) -> SourceError | None:
        """Connect again, with growing pauses; what went wrong where all tries were in vain."""
        self.state = "reconnecting"
        if time.monotonic() - self._since > _STEADY_S:
            self._tries = pauses(self._reconnect)
        self._capture.close()
        last = f"{self._name}: {reason}"
        for pause in self._tries:
            self._progress.warn(f"{last}; trying again in {pause:g} s")
            if not self._rest(pause):
                return None
            try:
                self._renew()
            except SourceError as error:
                last = str(error)
            else:
                self._progress.note(f"{self._name}: connected again")
                self.state = "live"
                return None
        after = f" after {self._reconnect} tries" if self._reconnect else ""
        return SourceError(f"{last}; given up{after}")

    def _renew(self) -> None:
        capture = self._connect()
        try:
            capture.opened()
        except SourceError:
            capture.close()
            raise
        self._capture = capture
        capture.play()
        self._base = self._next_index or 0
        self._since = time.monotonic()

    def _connect(self) -> Capture:
        return Capture(self._open_stream, self._name, self._controls, self._timeout_s)

    def _rest(self, seconds: float) -> bool:
        """Wait; False where the end was asked for meanwhile."""
        until = time.monotonic() + seconds
        while not self._controls.stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_S))
        return not self._controls.stopping
