"""Small images, and a model that needs no weights: what it finds is a function of the image alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.core.detections import Detections
from cvdetect.core.labels import BUILT_IN
from cvdetect.jobs.annotate import run as run_module
from cvdetect.jobs.annotate.job import AnnotateJob, AnnotateReport
from cvdetect.jobs.annotate.run import annotate
from cvdetect.runtime import Ran
from tests.conftest import make_detections

Tree = dict[str, bytes]


class FakeDetector:
    """Finds boxes whose number, class and size follow from the image's mean colour."""

    name = "fake"
    labels = BUILT_IN["coco80"](0)
    ran = Ran("fake", "fake", "cpu", "none", "fp32")

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seen = 0

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        time.sleep(self.seconds * len(images))
        self.seen += len(images)
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        grey = round(float(image.mean()))
        height, width = image.shape[:2]
        boxes = [[i, 0, width - 1 - i, height / (i + 1)] for i in range(grey % 4)]
        return make_detections(
            boxes, [(grey + i) % 80 for i in range(len(boxes))], [0.9 - i / 10 for i in range(len(boxes))]
        )


def install(monkeypatch: Any, detectors: Sequence[FakeDetector]) -> None:
    monkeypatch.setattr(run_module, "load_detectors", lambda *_, **__: list(detectors))
    monkeypatch.setattr(run_module, "model_digests", lambda *_: {"weights fake": (1, 1, "0" * 64)})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDetector:
    """Detectors that share one count of what they have seen."""
    detector = FakeDetector()
    install(monkeypatch, [detector])
    return detector


def make_images(folder: Path, names: Sequence[str]) -> Path:
    """A folder of images of different sizes and colours."""
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(path.suffix, np.full((20 + i % 7, 30 + i % 5, 3), 3 + i, np.uint8))
        assert done
        path.write_bytes(data.tobytes())
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_images(tmp_path / "photos", ["img1.png", "img10.png", "img2.png", "sub/img3.jpg", "sub/deep/x.png"])


def tree(folder: Path) -> Tree:
    """Every file below a folder with its content, the manifest's folder apart."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".cvdetect" not in path.relative_to(folder).parts
    }


Annotate = Callable[..., AnnotateReport]


@pytest.fixture
def run(fake: FakeDetector, photos: Path, tmp_path: Path) -> Annotate:
    """Annotates ``photos`` into ``out`` with the fake model."""

    def call(**changes: Any) -> AnnotateReport:
        return annotate(AnnotateJob(**{"images": str(photos), "out": tmp_path / "out", **changes}))

    return call


def touch_later(path: Path) -> None:
    """Another modification time, whatever the file system's resolution."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 2_000_000_000))
