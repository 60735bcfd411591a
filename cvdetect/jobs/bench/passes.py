"""What is timed: one configuration's turn, from loading to detections, in this process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvdetect.core.frame import Image
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.inference.detector import Detector
from cvdetect.jobs.bench.machine import peak_memory_mb
from cvdetect.runtime import Ran
from cvdetect.sources.images import read_image

__all__ = ["STAGES", "Configuration", "Turn", "picture", "take_turn", "timed_pass"]

# Of every pass; "end_to_end" also holds what lies between and after them (boxes back to the image, tiles joined).
STAGES = ("preprocess", "forward", "decode", "suppress", "end_to_end")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One line of a benchmark: a model in one size, what runs it, and how many images go through it at once."""

    model: ModelChoice
    detect: DetectOptions
    run: RunOptions
    batch: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one fresh process measured; times in seconds.

    Attributes:
        load: from files to a network that is ready, imports not counted.
        warm_up: the first pass, which holds what a network prepares once; in none of `passes`.
        passes: of each pass the time of every stage of `STAGES`.
        ran: what ran the network.
        peak_memory_mb: of the whole process; None where the system does not tell.
    """

    load: float
    warm_up: float
    passes: tuple[dict[str, float], ...]
    ran: Ran
    peak_memory_mb: float | None


def take_turn(configuration: Configuration, image: Path | None, passes: int) -> Turn:
    """Load the model, warm it up, and time `passes` passes over `batch` copies of `image` (None: see `picture`)."""
    images = [picture(image)] * configuration.batch
    start = time.perf_counter()
    detector = Detector.load(configuration.model, configuration.detect, configuration.run)
    load = time.perf_counter() - start
    warm_up = timed_pass(detector, images)["end_to_end"]
    timed = tuple(timed_pass(detector, images) for _ in range(passes))
    return Turn(load, warm_up, timed, detector.ran, peak_memory_mb())


def timed_pass(detector: Detector, images: Sequence[Image]) -> dict[str, float]:
    """The seconds that each of `STAGES` takes in one call of ``detect_batch``; a stage that acts twice is summed."""
    start = before = time.perf_counter()
    seconds: defaultdict[str, float] = defaultdict(float)

    def watch(stage: str) -> None:
        nonlocal before
        now = time.perf_counter()
        seconds[stage] += now - before
        before = now

    detector.detect_batch(images, watch)
    seconds["end_to_end"] = time.perf_counter() - start
    return {stage: seconds[stage] for stage in STAGES}


def picture(path: Path | None) -> Image:
    """The picture in a file, or, for None, one of 1280x720 made from a fixed seed: patches of colour under fine noise.

    Raises:
        SourceError: the file cannot be read.
    """
    if path is not None:
        return read_image(path)
    random = np.random.default_rng(0)
    patches = random.integers(32, 224, (9, 16, 3)).repeat(80, axis=0).repeat(80, axis=1)  # (720, 1280, 3)
    return np.asarray(patches + random.integers(-32, 32, patches.shape), np.uint8)
