"""What is timed: a configuration, checked by running it once, and its trials, from loading to detections."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.errors import BackendError, UsageError
from cvdetect.core.frame import Image
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.formats import darknet
from cvdetect.formats.base import read_text
from cvdetect.inference.detector import Detector
from cvdetect.jobs.bench.machine import peak_memory_mb
from cvdetect.models.load import Model
from cvdetect.models.resolve import resolve
from cvdetect.runtime import Ran, choose
from cvdetect.sources.images import read_image

__all__ = [
    "STAGES",
    "Configuration",
    "Planned",
    "Trial",
    "bench_image",
    "check_early",
    "check_ran",
    "plan",
    "run_trial",
    "timed_pass",
]

# Timed in every pass; "end_to_end" also holds what lies between and after (boxes back to the image, tiles joined).
STAGES = ("preprocess", "forward", "decode", "suppress", "end_to_end")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One line of a benchmark: a model in one size, what runs it, and how many images go through it at once."""

    model: ModelChoice
    detect: DetectOptions
    run: RunOptions
    batch: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A configuration that has run once.

    Attributes:
        model: the model's name.
        wh: width and height of the network input in pixels.
        backend: its name as `RunOptions` takes it; "auto" is resolved.
        ran: what ran the network.
        flop: floating point operations of one pass; None where they are not known, and `no_flop` says why.
    """

    configuration: Configuration
    model: str
    wh: tuple[int, int]
    backend: str
    ran: Ran
    flop: int | None
    no_flop: str = ""

    @property
    def size(self) -> str:
        """The input size as text: 416x416."""
        return "{}x{}".format(*self.wh)

    def __str__(self) -> str:
        one = self.configuration
        return f"{self.model} {self.size}, {self.backend}, {one.run.precision}, batch {one.batch}"


def check_early(configurations: list[Configuration]) -> None:
    """Refuse what cannot run by its options or on this machine, before anything is downloaded or loaded.

    Raises:
        UsageError: an unknown model, or options that contradict each other.
        BackendError: this machine lacks a backend or precision.
    """
    for one in configurations:
        resolve(one.model, NullProgress())
    for one in configurations:
        choose(one.run)


def plan(configuration: Configuration, image: Image, progress: Progress) -> Planned:
    """Load a configuration in this process, pulling its weights at first use, and run it once.

    Raises:
        UsageError: an option is wrong, or a batch is asked of a network that takes one image at a time.
        ModelError: the model is not available or does not run.
    """
    one = configuration
    detector = Detector.load(one.model, one.detect, one.run, progress)
    if one.batch > 1 and detector.model.one_by_one:
        raise UsageError(f"{arg('batch')} {one.batch}: {detector.name} takes one image at a time")
    detector.detect_batch([image] * one.batch)
    progress.detail(f"{detector.name} runs on {detector.ran}")
    flop, why = _flop(one, detector.model)
    return Planned(one, detector.name, detector.model.input_wh, detector.model.runtime.backend, detector.ran, flop, why)


def check_ran(name: str, ran: Ran, asked: Ran) -> None:
    """Raise BackendError where something else ran the network than was asked for: such times must not be compared."""
    if ran != asked:
        raise BackendError(f"{name}: asked for {asked}, but it ran on {ran}: nothing was measured")


def _flop(one: Configuration, model: Model) -> tuple[int | None, str]:
    """Floating point operations of one pass, or None and why they are not known."""
    if one.detect.tile is not None:
        return None, f"with {arg('tile')} the number of passes depends on the image"
    if "cfg" not in model.files:
        return None, "operations are counted for Darknet models only"
    cfg = darknet.parse_cfg(read_text(model.files["cfg"]), "the model's cfg", model.input_wh)
    return darknet.flops(cfg, model.input_wh) * one.batch, ""


@dataclass(frozen=True, slots=True)
class Trial:
    """The measurements of one fresh process; times in seconds.

    Attributes:
        load: from files to a network that is ready, without imports.
        warm_up: the first pass, in which a network prepares itself; not one of `passes`.
        passes: for each pass the time of every stage of `STAGES`.
        ran: what ran the network.
        peak_memory_mb: of the whole process; None where the system does not report it.
    """

    load: float
    warm_up: float
    passes: tuple[dict[str, float], ...]
    ran: Ran
    peak_memory_mb: float | None


def run_trial(configuration: Configuration, image: Path | None, passes: int) -> Trial:
    """Load the model, warm it up, and time `passes` passes over `batch` copies of `image` (None: see `bench_image`)."""
    images = [bench_image(image)] * configuration.batch
    start = time.perf_counter()
    detector = Detector.load(configuration.model, configuration.detect, configuration.run)
    load = time.perf_counter() - start
    warm_up = timed_pass(detector, images)["end_to_end"]
    timed = tuple(timed_pass(detector, images) for _ in range(passes))
    return Trial(load, warm_up, timed, detector.ran, peak_memory_mb())


def timed_pass(detector: Detector, images: Sequence[Image]) -> dict[str, float]:
    """The seconds that each of `STAGES` takes in one call of ``detect_batch``; a stage that runs twice is summed."""
    start = before = time.perf_counter()
    seconds: defaultdict[str, float] = defaultdict(float)

    def on_stage(stage: str) -> None:
        nonlocal before
        now = time.perf_counter()
        seconds[stage] += now - before
        before = now

    detector.detect_batch(images, on_stage)
    seconds["end_to_end"] = time.perf_counter() - start
    return {stage: seconds[stage] for stage in STAGES}


def bench_image(path: Path | None) -> Image:
    """The image in a file, or, for None, one of 1280x720 made from a fixed seed: patches of colour under fine noise.

    Raises:
        SourceError: the file cannot be read.
    """
    if path is not None:
        return read_image(path)
    random = np.random.default_rng(0)
    patches = random.integers(32, 224, (9, 16, 3)).repeat(80, axis=0).repeat(80, axis=1)  # (720, 1280, 3)
    return np.asarray(patches + random.integers(-32, 32, patches.shape), np.uint8)
