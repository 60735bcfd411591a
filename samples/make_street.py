"""Makes street.mp4 from dog.jpg, person.jpg and horses.jpg: a camera that pans and zooms over each image.

Usage: python samples/make_street.py [OUT.mp4]     (default: street.mp4 beside this file)

Needs OpenCV, NumPy and the ffmpeg command with libx264. The frames and the sound are the same on every run;
so are the bytes of the file, with the same version of ffmpeg and libx264.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 640, 480
FPS = Fraction(30000, 1001)
AUDIO_RATE = 44100


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture seen by a moving camera.

    `first` and `last` are the views of the first and last frame: left, top, width, in the picture's pixels.
    The view's height follows from its width, at the video's aspect ratio.
    """

    picture: str
    frames: int
    first: tuple[float, float, float]
    last: tuple[float, float, float]


SHOTS = (
    Shot("dog.jpg", 42, (0.0, 0.0, 768.0), (88.0, 64.0, 620.0)),
    Shot("person.jpg", 38, (0.0, 2.0, 560.0), (75.0, 4.0, 560.0)),
    Shot("horses.jpg", 40, (0.0, 0.0, 682.0), (0.0, 90.0, 540.0)),
)

# A minor, F, C, G: one chord a second, as frequencies in Hz.
CHORDS = ((220.0, 261.63, 329.63), (174.61, 220.0, 261.63), (261.63, 329.63, 392.0), (196.0, 246.94, 293.66))


def view_at(shot: Shot, frame: int) -> NDArray[np.float64]:
    """Left, top and width of the view in frame number `frame` of the shot; the camera moves at a steady speed."""
    part = frame / (shot.frames - 1)
    return (1 - part) * np.array(shot.first) + part * np.array(shot.last)


def shot_frames(shot: Shot) -> Iterator[NDArray[np.uint8]]:
    """The frames of one shot, BGR (HEIGHT, WIDTH, 3)."""
    picture = cv2.imread(str(HERE / shot.picture))
    if picture is None:
        raise SystemExit(f"{HERE / shot.picture}: cannot be read as a picture")
    for frame in range(shot.frames):
        left, top, width = view_at(shot, frame)
        scale = width / WIDTH
        # Output pixel centre u + 0.5 lies over picture coordinate left + (u + 0.5) * scale.
        inverse = np.array([[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(picture, inverse, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(seen, dtype=np.uint8)


def sound(seconds: float) -> NDArray[np.int16]:
    """A plucked chord a second, mono, AUDIO_RATE samples a second."""
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    since_pluck = time % 1.0
    envelope = np.minimum(since_pluck / 0.01, 1.0) * np.exp(-3.0 * since_pluck)
    chord = np.array(CHORDS)[time.astype(int) % len(CHORDS)]  # (samples, 3)
    tones = np.sin(2 * np.pi * chord * time[:, None]).mean(axis=1)
    return np.asarray(np.round(tones * envelope * 0.6 * 32767), dtype=np.int16)


def write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    """Writes mono 16-bit samples as a WAV file."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(AUDIO_RATE)
        out.writeframes(samples.astype("<i2").tobytes())


def ffmpeg_command(audio: Path, out: Path) -> list[str]:
    """BGR frames on standard input and a WAV file → H.264 and AAC in MP4, its index before its data (faststart)."""
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "-"]
    colour = ["-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m"]
    video = ["-c:v", "libx264", "-preset", "slow", "-crf", "23", "-threads", "1", "-g", "30", "-pix_fmt", "yuv420p"]
    sounds = ["-c:a", "aac", "-b:a", "64k"]
    plain = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    start = ["ffmpeg", "-nostdin", "-v", "error", "-y", *raw, "-i", str(audio)]
    return [*start, "-vf", "scale=out_color_matrix=bt601", *video, *colour, *sounds, *plain, "-movflags", "+faststart",
            "-f", "mp4", str(out)]  # fmt: skip


def main() -> None:
    """Writes the video under a temporary name and renames it when it is whole."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "street.mp4"
    with tempfile.TemporaryDirectory(dir=out.resolve().parent) as folder:
        audio, video = Path(folder, "sound.wav"), Path(folder, "street.mp4")
        write_wav(audio, sound(sum(s.frames for s in SHOTS) / float(FPS)))
        frames = b"".join(frame.tobytes() for shot in SHOTS for frame in shot_frames(shot))
        try:
            subprocess.run(ffmpeg_command(audio, video), input=frames, check=True)
        except FileNotFoundError:
            raise SystemExit("the ffmpeg command is not installed (Debian: apt install ffmpeg)") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"ffmpeg could not write {out} (exit {error.returncode})") from None
        video.replace(out)


if __name__ == "__main__":
    main()
