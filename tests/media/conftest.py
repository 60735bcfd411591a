"""Clips with a flash and a beep at a known time, and a way through reader and writer without a network."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame, Image
from cvdetect.sinks.video import VideoFile
from cvdetect.sources import Failed
from cvdetect.sources.video import Video
from tests.conftest import Told

av = pytest.importorskip("av")

PICTURE = "color=black:s=96x64:r=25:d=3,drawbox=c=white:t=fill:enable='between(t,1.99,2.19)'"
SOUND = "aevalsrc='if(between(t,2,2.2),0.7*sin(2*PI*1000*t),0)':s=44100:d=3"
Make = Callable[..., Path]


def ffmpeg(*args: object) -> None:
    """Run ffmpeg; skips where it is not installed or lacks a codec."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, args)], capture_output=True, text=True, check=False)
    if "Unknown encoder" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


@pytest.fixture
def clip(tmp_path: Path) -> Make:
    """Makes three seconds of black with a flash and a beep from second 2.0 to 2.2: (name, ffmpeg's options)."""

    def make(name: str, *options: object) -> Path:
        ffmpeg("-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", SOUND, *options, tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def remux(tmp_path: Path) -> Make:
    """Runs ffmpeg with options into a new file: (name, options)."""

    def make(name: str, *options: object) -> Path:
        ffmpeg(*options, tmp_path / name)
        return tmp_path / name

    return make


class Plain:
    """A renderer that draws nothing."""

    def drawn(self, frame: Frame, _found: Detections) -> Image:
        return frame.image


@dataclass
class Passed:
    """What came through: (number, time) of each frame, why it was cut, and what was reported."""

    out: Path
    frames: list[tuple[int, float]] = field(default_factory=list)
    cut: str | None = None
    told: list[str] = field(default_factory=list)


def through(source: Path | str, out: Path, start: float = 0.0, end: float | None = None, **options: Any) -> Passed:
    """Read a video and write it, picture and sound, as `detect_video` does."""
    told, passed = Told(), Passed(out)
    with Video(str(source), start, end, with_sound=True) as video:
        info = video.info
        renderer: Any = Plain()
        with VideoFile(
            out, renderer, info.rate, time_base=info.time_base, steady_rate=info.steady_rate, sound=video.sound,
            start=start, end=end, progress=told, **options,
        ) as file:  # fmt: skip
            for frame in video.items():
                if isinstance(frame, Failed):
                    break
                passed.frames.append((frame.index, frame.time_s or 0.0))
                file.write(frame, Detections.empty())
        passed.cut = video.cut
    passed.told = told.notes + told.warnings
    return passed


def decoded(path: Path, kind: str, track: int = 0) -> list[Any]:
    """All frames of a track, with damage passed over."""
    frames = []
    with av.open(f"file:{path}") as container:
        stream = getattr(container.streams, kind)[track]
        for packet in container.demux(stream):
            try:
                frames += packet.decode()
            except av.error.FFmpegError:
                continue
    return frames


def flashes(path: Path) -> list[float]:
    """Times at which the picture turns white."""
    white = [(f.time, f.to_ndarray(format="gray").mean() > 120) for f in decoded(path, "video")]
    return [time for (time, is_white), before in zip(white, [(0, False), *white], strict=False) if is_white > before[1]]


def beeps(path: Path, track: int = 0) -> list[float]:
    """Times at which the sound begins after half a second of silence."""
    found: list[float] = []
    last = -1.0
    for frame in decoded(path, "audio", track):
        samples = _loudness(frame)
        for place in np.nonzero(samples > 0.12)[0]:
            time = frame.pts * float(frame.time_base) + place / frame.sample_rate
            if time - last > 0.5:
                found.append(time)
            last = time
    return found


def _loudness(frame: Any) -> Any:
    data, kind = frame.to_ndarray().astype(float), frame.format.name
    data = data - 128 if kind.startswith("u8") else data
    data = data / {"u8": 128, "s1": 2**15, "s3": 2**31}.get(kind[:2], 1)
    return np.abs(data[0] if kind.endswith("p") else data.reshape(-1, frame.layout.nb_channels)[:, 0])


def offsets(path: Path) -> list[float]:
    """Seconds from the first flash to the first beep of each audio track."""
    with av.open(f"file:{path}") as container:
        tracks = len(container.streams.audio)
    return [beeps(path, track)[0] - flashes(path)[0] for track in range(tracks)]
