"""Streams and files are watched as `video` reads them: colours, pixel shape, mirroring, times, and what is missing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from cvdetect import media
from cvdetect.core.frame import Image
from cvdetect.media.inputs import _transport
from cvdetect.sources.live import url_opener
from tests.media.test_conversion import RGB, assert_colour, coded, make


def first(url: str) -> tuple[Image, Fraction]:
    with closing(url_opener(url, 5)()) as stream:
        got = stream.read()
        assert got is not None
        return got[0], stream.info.look.pixel_shape if stream.info.look else Fraction(0)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder's address; the server has no ranges, so that what it gives looks endless."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(2)


def test_hd_has_the_colours_of_bt709_from_a_file_and_over_http(tmp_path: Path) -> None:
    clip = make(tmp_path / "hd.ts", coded(RGB, 1, False), (1280, 720))
    assert_colour(first(str(clip))[0], RGB)
    with served(tmp_path) as address:
        assert_colour(first(f"{address}/hd.ts")[0], RGB)


def test_pixels_become_square_and_the_shape_is_known_for_what_is_written(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", coded(RGB, 5, False), (64, 48), shape=Fraction(2))
    image, shape = first(str(clip))
    assert image.shape == (48, 128, 3) and shape == 2


def test_a_file_that_does_not_say_how_long_it_is_has_an_end(tmp_path: Path) -> None:
    clip = make(tmp_path / "raw.h264", coded(RGB, 5, False))
    with closing(url_opener(str(clip), 5)()) as stream:
        assert stream.info.frames is not None
        pictures = list(iter(stream.read, None))
    assert len(pictures) == 3 and stream.cut is None


def test_a_file_whose_sound_is_longer_is_whole_and_one_that_lacks_bytes_is_not(tmp_path: Path) -> None:
    clip = tmp_path / "long.mkv"
    with av.open(str(clip), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height = 64, 48
        sound = container.add_stream("pcm_s16le", rate=8000)
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")
            frame.pts = number
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        for second in range(10):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
            silence.rate, silence.pts = 8000, second * 8000
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    for path, is_cut in ((clip, False), (tmp_path / "cut.mkv", True)):
        if is_cut:
            path.write_bytes(clip.read_bytes()[:-40_000])
        with closing(url_opener(str(path), 5)()) as stream:
            assert len(list(iter(stream.read, None))) == 30
            assert ("cut short" in (stream.cut or "")) is is_cut


def test_without_pyav_opencv_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make(tmp_path / "a:b.mp4", coded(RGB, 5, False))
    monkeypatch.setattr(media, "available", lambda: False)
    with closing(url_opener(str(clip), 5)()) as stream:
        assert stream.info.look is None
        assert len(list(iter(stream.read, None))) == 3 and stream.cut is None


def test_rtsp_goes_over_tcp_unless_the_environment_asks_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)
    assert _transport("rtsp://camera/1") == {"rtsp_transport": "tcp"}
    assert _transport("http://camera/1") == {}
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp|max_delay;500000")
    assert _transport("rtsp://camera/1") == {"rtsp_transport": "udp", "max_delay": "500000"}
