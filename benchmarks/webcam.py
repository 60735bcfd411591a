"""How old the shown frames of `cvdetect webcam` are, where the network is slower than the camera.

python benchmarks/webcam.py [--frames 60] [--size 608]

The camera is the sample clip as 1280x720, 30 frames a second, live: it waits for nobody. The age of a frame is the time
from its capture until it is handed to window, page and files with its detections; the goal is that none is ever older
than two passes of the network. The last line shows the delay where every frame is read in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from fractions import Fraction

import cv2
from timing import DOG

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame, Image, StreamInfo
from cvdetect.core.options import ModelChoice
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.inference.detector import Detector
from cvdetect.inference.pipeline import PipelineOptions, run
from cvdetect.sources.camera import Camera

RATE = 30
CLIP = DOG.with_name("street.mp4")


class Clip:
    """A `Stream`: the sample's frames, larger, one each 1/30 s."""

    info = StreamInfo((1280, 720), Fraction(RATE))

    def __init__(self) -> None:
        capture = cv2.VideoCapture(str(CLIP))
        self._images = [cv2.resize(capture.read()[1], self.info.wh) for _ in range(RATE)]
        self._given = 0
        self._next = time.monotonic()

    def read(self) -> tuple[Image, float]:
        self._next += 1 / RATE
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._given += 1
        return self._images[self._given % RATE], self._given / RATE

    def close(self) -> None:
        pass


class Timed:
    """A detector that remembers how long its passes took."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.seconds: list[float] = []

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        begin = time.monotonic()
        found = self._detector.detect_batch(images)
        self.seconds.append(time.monotonic() - begin)
        return found


class Ages:
    """A sink that records how old each frame is."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self.seconds: list[float] = []

    def __enter__(self) -> Ages:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, _found: Detections) -> None:
        self.seconds.append(self._camera.age_s(frame))


def told(name: str, seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=20)
    figures = {"median": statistics.median(seconds), "95 %": cuts[-1], "most": max(seconds)}
    return f"{name:<14}" + "".join(f"{key} {value * 1e3:5.0f} ms   " for key, value in figures.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=60, help="frames to show (%(default)s)")
    parser.add_argument("--size", type=int, default=608, help="of the network's input, yolov3-tiny (%(default)s)")
    options = parser.parse_args()
    detector = Detector.load(ModelChoice(size=(options.size, options.size)))
    controls = Controls()
    with Camera(Clip, "clip", controls, max_frames=options.frames) as camera:
        timed, ages = Timed(detector), Ages(camera)
        detector.detect(Clip.read(Clip())[0])
        run(camera.items(), [timed], [ages], NullProgress(), options=PipelineOptions(live=True), controls=controls)
        dropped = camera.dropped
    one_pass = statistics.median(timed.seconds)
    print(told("one pass", timed.seconds))
    print(told("age", ages.seconds))
    print(f"the oldest frame is {max(ages.seconds) / one_pass:.2f} passes old (goal: 2); {dropped} dropped")
    behind = max(0.0, 1 - 1 / (one_pass * RATE))
    print(f"reading every frame in turn falls {behind:.2f} s behind with each second")


if __name__ == "__main__":
    main()
