"""The newest frame always, over slow networks, pauses and broken connections; and no wait without an end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cvdetect.core.detections import Detections
from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Frame, StreamInfo
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.inference.pipeline import PipelineOptions, run
from cvdetect.sources import Failed, live
from cvdetect.sources import camera as capture
from cvdetect.sources.addresses import why_unreachable
from cvdetect.sources.camera import Camera, backoff
from cvdetect.sources.live import device_opener, url_opener

IMAGE = np.zeros((4, 6, 3), np.uint8)


class Fake:
    """A stream that gives an image every 1/rate seconds, up to `count`, then ends or hangs."""

    def __init__(self, rate: float, count: int = 10**9, *, claims: int | None = None, hangs: float = 0.0) -> None:
        self.info = StreamInfo((6, 4), Fraction(rate).limit_denominator(1000), frames=claims)
        self.cut: str | None = None
        self.rate, self.count, self.hangs = rate, count, hangs
        self.given = 0
        self.closed = threading.Event()
        self._next = time.monotonic()

    def read(self) -> tuple[np.ndarray, float] | None:
        if self.given == self.count:
            if self.hangs:
                time.sleep(self.hangs)
            return None
        if self.info.frames is None:  # live: it sets the pace
            self._next += 1 / self.rate
            time.sleep(max(0.0, self._next - time.monotonic()))
        self.given += 1
        return IMAGE, (self.given - 1) / self.rate

    def close(self) -> None:
        self.closed.set()


class Tells(NullProgress):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)

    warn = note


def opening(*streams: Fake | SourceError) -> Callable[[], Fake]:
    """An opener that gives these one after another, then refuses."""
    left = list(streams)

    def open_next() -> Fake:
        stream = left.pop(0) if left else SourceError("cam: connection refused")
        if isinstance(stream, SourceError):
            raise stream
        return stream

    return open_next


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses and grace of milliseconds."""
    monkeypatch.setattr(
        "cvdetect.sources.camera.backoff", lambda attempts: iter([0.01 * (n + 1) for n in range(attempts)])
    )
    monkeypatch.setattr(capture, "_GRACE_S", 0.1)


def split(items: Sequence[Frame | Failed]) -> tuple[list[Frame], list[Failed]]:
    return [i for i in items if isinstance(i, Frame)], [i for i in items if isinstance(i, Failed)]


def test_shown_frames_are_never_older_than_two_passes_of_a_slow_network() -> None:
    pass_s = 0.15
    ages: list[float] = []
    controls = Controls()

    class Slow:
        def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
            time.sleep(pass_s)
            return [Detections.empty() for _ in images]

    class Shows:
        def __enter__(self) -> Shows:
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, frame: Frame, _found: Detections) -> None:
            ages.append(camera.age_s(frame))

    with Camera(opening(Fake(30)), "cam", controls, max_frames=12) as camera:
        summary = run(
            camera.items(), [Slow()], [Shows()], NullProgress(), options=PipelineOptions(live=True), controls=controls
        )
    assert summary.done == 12
    assert max(ages) <= 2 * pass_s
    assert min(ages) >= pass_s, "the age counts from the capture"
    assert camera.dropped >= 25, "a 30 fps camera and a network of 6 fps"


def test_late_images_are_dropped_and_counted_and_the_index_counts_them() -> None:
    with Camera(opening(Fake(200)), "cam", Controls(), max_frames=5) as camera:
        time.sleep(0.05)  # before any are wanted, nothing counts
        frames = []
        for frame in camera.items():
            frames.append(frame)
            time.sleep(0.04)
    good, failed = split(frames)
    assert not failed and good[0].index == 0 and good[0].time_s == 0
    assert camera.delivered == 5
    assert camera.dropped == good[-1].index + 1 - 5
    assert all(b.index - a.index >= 4 for a, b in pairwise(good))


def test_after_a_break_index_and_time_go_on_and_each_attempt_is_reported() -> None:
    streams = [Fake(100, 5), SourceError("cam: connection refused"), Fake(100, 5), Fake(100)]
    told = Tells()
    with Camera(opening(*streams), "cam", Controls(), told, max_frames=14, reconnect=3) as camera:
        frames, failed = split(list(camera.items()))
    assert not failed and len(frames) == 14
    assert [f.index for f in frames] == sorted({f.index for f in frames})
    assert all(b.time_s > a.time_s for a, b in pairwise(frames))  # type: ignore[operator]
    assert frames[-1].index == 13 + camera.dropped
    assert [t.split(": ", 1)[1] for t in told.told] == [
        "ended; trying again in 0.01 s",
        "connection refused; trying again in 0.02 s",
        "reconnected",
        "ended; trying again in 0.03 s",
        "reconnected",
    ]
    assert all(s.closed.is_set() for s in streams if isinstance(s, Fake))


def test_a_stream_that_stays_away_fails_after_so_many_tries() -> None:
    with Camera(opening(Fake(100, 3)), "cam", Controls(), reconnect=2) as camera:
        frames, failed = split(list(camera.items()))
    assert frames
    assert str(failed[0].error) == "cam: connection refused; given up after 2 attempts"
    with Camera(opening(Fake(100, 3), Fake(100)), "cam", Controls(), reconnect=0) as camera:
        _, failed = split(list(camera.items()))
    assert str(failed[0].error) == "cam: ended; given up"


def test_a_read_that_hangs_is_left_behind_and_the_stream_opened_again() -> None:
    hanging = Fake(100, 2, hangs=1.0)
    told = Tells()
    begin = time.monotonic()
    with Camera(opening(hanging, Fake(100)), "cam", Controls(), told, timeout_s=0.2, max_frames=6) as camera:
        frames, failed = split(list(camera.items()))
    assert not failed and len(frames) == 6
    assert told.told[0] == "cam: gave no frame for 0.2 s; trying again in 0.01 s"
    assert time.monotonic() - begin < 0.95, "before the hanging read came back"
    assert hanging.closed.wait(2), "it is closed when it does"


def test_an_opening_that_hangs_is_an_error_in_time() -> None:
    let_go = threading.Event()

    def hangs() -> Fake:
        let_go.wait(5)
        raise SourceError("late")

    begin = time.monotonic()
    with pytest.raises(SourceError, match=r"cam: gives no frame within 0\.2 s"):
        Camera(hangs, "cam", Controls(), timeout_s=0.2).__enter__()
    assert time.monotonic() - begin < 1
    let_go.set()


def test_the_end_is_heard_while_nothing_comes_and_while_the_connection_is_away() -> None:
    for streams in ([Fake(100, 1, hangs=0.5)], [Fake(100, 1)]):
        controls = Controls()
        threading.Timer(0.15, controls.stop).start()
        begin = time.monotonic()
        with Camera(opening(*streams), "cam", controls, reconnect=10_000) as camera:
            _, failed = split(list(camera.items()))
        assert not failed
        assert time.monotonic() - begin < 1.2


def test_a_duration_ends_it() -> None:
    begin = time.monotonic()
    with Camera(opening(Fake(100)), "cam", Controls(), duration_s=0.3) as camera:
        frames = list(camera.items())
    assert 0.3 <= time.monotonic() - begin < 3
    assert 2 <= len(frames) < 60


def test_a_file_plays_at_its_own_rate_and_its_end_is_the_end() -> None:
    with Camera(opening(Fake(40, 20, claims=20), Fake(40)), "clip", Controls()) as camera:
        time.sleep(0.1)  # nothing is lost while a model is loaded
        begin = time.monotonic()
        frames, failed = split(list(camera.items()))
    assert not failed
    assert 19 / 40 <= time.monotonic() - begin < 1.5
    assert [f.index for f in frames if f.index in (0, 19)] == [0, 19]
    assert len(frames) + camera.dropped == 20
    assert [f.time_s for f in frames] == pytest.approx([f.index / 40 for f in frames], abs=1e-6)


def test_a_pause_holds_a_file() -> None:
    controls = Controls()
    with Camera(opening(Fake(100, 30, claims=30)), "clip", controls) as camera:
        frames = camera.items()
        first = next(frames)
        controls.toggle_pause()
        time.sleep(0.3)
        controls.toggle_pause()
        rest, _ = split(list(frames))
    assert isinstance(first, Frame)
    assert len(rest) >= 20, "the file was held, not played on"


def test_a_file_that_is_cut_short_is_reported_after_what_could_be_read() -> None:
    short = Fake(500, 10, claims=50)
    short.cut = "is cut short: 10 of 50 frames could be read"
    with Camera(opening(short), "clip", Controls()) as camera:
        frames, failed = split(list(camera.items()))
    assert frames
    assert str(failed[0].error) == "clip: is cut short: 10 of 50 frames could be read"


def test_a_stream_without_an_image_is_an_error() -> None:
    for stream in (Fake(30, 0), Fake(30, 0, claims=5)):
        with pytest.raises(SourceError, match="clip: gives no frame"):
            Camera(opening(stream), "clip", Controls()).__enter__()


def test_waits_grow_up_to_half_a_minute() -> None:
    assert list(backoff(8)) == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert list(backoff(0)) == []


@contextmanager
def server(answer: bytes | None) -> Iterator[int]:
    """A port that answers every connection with these bytes; None: with nothing, for as long as it stands."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(4096)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_RDWR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(2)
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "url", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "http://127.0.0.1:{}/x", "the server answers 404 Not Found"),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "http://127.0.0.1:{}/", "write user:password@ before the host"),
        (b"RTSP/1.0 401 Unauthorized\r\n\r\n", "rtsp://u:p@127.0.0.1:{}/x", "user or password is wrong"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>", "http://127.0.0.1:{}/", "is a web page"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", "http://127.0.0.1:{}/", "gives no video"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "http://127.0.0.1:{}/", "gives no video"),
        (None, "http://127.0.0.1:{}/", "accepts the connection, but sends nothing"),
    ],
)
def test_why_an_address_gives_no_video(answer: bytes | None, url: str, why: str) -> None:
    with server(answer) as port, pytest.raises(SourceError, match=r"127\.0\.0\.1") as error:
        url_opener(url.format(port), 0.5)()
    assert why in str(error.value)
    assert "u:p@" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:99999/", "is not a valid address: in a password"),
        ("http:///x", "names no host"),
        ("http://nosuchhost.invalid/", "there is no host nosuchhost.invalid"),
        ("udp://127.0.0.1", "gives no video"),
    ],
)
def test_why_an_address_leads_nowhere(url: str, why: str) -> None:
    assert why in why_unreachable(url)


def test_a_refused_connection_names_host_and_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert why_unreachable(f"rtsp://127.0.0.1:{port}/") == (
        f"connection refused: nothing listens on 127.0.0.1 port {port}"
    )


def test_a_camera_that_is_not_there_names_those_that_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "cameras_that_open", lambda: [0, 2])
    with pytest.raises(SourceError, match=r"camera 99: .*these open: 0, 2"):
        device_opener(99)()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"Dear reader,\n" * 30, "plain text"),
        (b"", "an empty file"),
        (b"\0\0\0\x20ftypisom" + bytes(500), "not a video that"),
    ],
)
def test_a_file_that_is_no_video(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"clip\.mp4: .*" + why):
        url_opener(str(path), 1)()


def test_a_real_file_states_its_rate_and_frames(samples: Path) -> None:
    stream = url_opener(str(samples / "street.mp4"), 5)()
    assert (stream.info.wh, stream.info.rate, stream.info.frames) == ((640, 480), Fraction(30000, 1001), 120)
    times = [got[1] for got in (stream.read(), stream.read()) if got]
    stream.close()
    assert times == pytest.approx([0, 1001 / 30000], abs=1e-4)
