"""What is checked before anything is timed: that every configuration runs, and on what was asked for."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import numpy as np

from cvdetect.core.errors import BackendError, UsageError
from cvdetect.core.frame import Image
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.formats import darknet
from cvdetect.inference.detector import Detector
from cvdetect.models.opened import read_text
from cvdetect.models.resolve import resolve
from cvdetect.models.store import Store
from cvdetect.runtime import Ran
from cvdetect.runtime.backends import choose
from cvdetect.sources.images import read_image

__all__ = [
    "ONE_BLAS_THREAD",
    "STAGES",
    "Configuration",
    "DeduplicatingProgress",
    "Planned",
    "Trial",
    "check_ran",
    "peak_memory_mb",
    "picture",
    "plan",
    "product_gflops",
    "refuse_early",
    "take_turn",
    "timed_pass",
]


@dataclass(frozen=True, slots=True)
class Planned:
    """A configuration that has run once.

    Attributes:
        model: the model's name.
        wh: width and height of the network input in pixels.
        backend: what ``--backend`` calls what runs it; "auto" is resolved.
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
        """The input size as ``--size`` takes it."""
        return "{}x{}".format(*self.wh)

    def __str__(self) -> str:
        one = self.configuration
        return f"{self.model} {self.size}, {self.backend}, {one.run.precision}, batch {one.batch}"


class DeduplicatingProgress:
    """A `Progress` that passes every line on only once: one model is loaded for several configurations."""

    def __init__(self, progress: Progress) -> None:
        self._told: set[str] = set()
        self._progress = progress

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Pass it on."""
        self._progress.begin(task, total, unit)

    def advance(self, amount: int = 1) -> None:
        """Pass it on."""
        self._progress.advance(amount)

    def end(self) -> None:
        """Pass it on."""
        self._progress.end()

    def note(self, message: str) -> None:
        """Pass on what was not told yet."""
        self._once(self._progress.note, message)

    def detail(self, message: str) -> None:
        """Pass on what was not told yet."""
        self._once(self._progress.detail, message)

    def warn(self, message: str) -> None:
        """Pass on what was not told yet."""
        self._once(self._progress.warn, message)

    def error(self, message: str) -> None:
        """Pass on what was not reported yet."""
        self._once(self._progress.error, message)

    def _once(self, tell: Callable[[str], None], message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            tell(message)


def refuse_early(configurations: list[Configuration]) -> None:
    """Find what cannot run as far as the arguments and this machine decide it: before anything is downloaded or loaded.

    Raises:
        UsageError: an unknown model, or options that contradict each other.
        BackendError: this machine lacks a backend or precision.
    """
    for one in configurations:
        resolve(one.model, NullProgress())
    for one in configurations:
        choose(one.run.backend, one.run.precision)


def plan(configuration: Configuration, image: Image, progress: Progress) -> Planned:
    """Load a configuration in this process, pulling its weights at first use, and run it once.

    Raises:
        UsageError: an option that cannot be met, a batch for a network that takes one image at a time among them.
        ModelError: the model cannot be had or run.
        BackendError: something else ran it than was asked for.
    """
    one = configuration
    detector = Detector.load(one.model, one.detect, one.run, progress)
    check_ran(detector.name, detector.ran, choose(one.run.backend, one.run.precision).ran)
    if one.batch > 1 and detector.model.one_by_one:
        raise UsageError(f"--batch {one.batch}: {detector.name} takes one image at a time")
    detector.detect_batch([image] * one.batch)
    progress.detail(f"{detector.name} runs on {detector.ran}")
    backend = one.run.backend
    if backend == "auto":
        backend = "cuda" if detector.ran.backend == "cuda" else "cpu"
    flop, why = _flop(one, detector.model.input_wh)
    return Planned(one, detector.name, detector.model.input_wh, backend, detector.ran, flop, why)


def check_ran(name: str, ran: Ran, asked: Ran) -> None:
    """Raise BackendError where something else ran the network than was asked for: such times must not be compared."""
    if ran != asked:
        raise BackendError(f"{name}: asked for {asked}; but it ran on {ran}: nothing was measured")


def _flop(one: Configuration, wh: tuple[int, int]) -> tuple[int | None, str]:
    """Operations of one pass, or None and why they are not known."""
    if one.detect.tile is not None:
        return None, "with --tile the number of passes depends on the picture"
    text = _cfg_text(one.model)
    if text is None:
        return None, "operations are counted for Darknet models only"
    return darknet.flops(darknet.parse_cfg(text, "the model's cfg", wh), wh) * one.batch, ""


def _cfg_text(choice: ModelChoice) -> str | None:
    files = Store(choice.cache).ensure(resolve(choice, NullProgress()), NullProgress(), offline=choice.offline)
    return read_text(files["cfg"]) if "cfg" in files else None


# What is timed: one configuration's turn, from loading to detections, in this process.

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
class Trial:
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


def take_turn(configuration: Configuration, image: Path | None, passes: int) -> Trial:
    """Load the model, warm it up, and time `passes` passes over `batch` copies of `image` (None: see `picture`)."""
    images = [picture(image)] * configuration.batch
    start = time.perf_counter()
    detector = Detector.load(configuration.model, configuration.detect, configuration.run)
    load = time.perf_counter() - start
    warm_up = timed_pass(detector, images)["end_to_end"]
    timed = tuple(timed_pass(detector, images) for _ in range(passes))
    return Trial(load, warm_up, timed, detector.ran, peak_memory_mb())


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


# What this machine can do at most, and how much memory a process has taken.

# The environment in which a new process's BLAS, whichever it is, runs one thread a product.
ONE_BLAS_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
_SIDE = 1024  # 2.1 GFLOP a product: tens of milliseconds
_SECONDS = 0.5


def product_gflops(threads: int) -> float:
    """GFLOP/s of float32 matrix products (BLAS ``sgemm``) on so many threads at once; wants `ONE_BLAS_THREAD`.

    A product of n × n matrices takes 2 n³ operations. Every thread has its own products and its fastest counts. One
    product on several threads waits for the slowest of them, and on a machine with other work told half the truth.
    """
    barrier = Barrier(threads, timeout=60)
    with ThreadPoolExecutor(threads) as pool:
        fastest = list(pool.map(lambda _: _fastest_product(barrier), range(threads)))
    return float(sum(2 * _SIDE**3 / seconds / 1e9 for seconds in fastest))


def _fastest_product(barrier: Barrier) -> float:
    """Seconds of the fastest of the products of one thread, which starts when all are ready."""
    numbers = np.random.default_rng(0)
    a, b = (numbers.random((_SIDE, _SIDE), np.float32) for _ in range(2))
    out = a @ b  # warm-up
    barrier.wait()
    end = time.perf_counter() + _SECONDS
    fastest = float("inf")
    while (start := time.perf_counter()) < end:
        np.matmul(a, b, out=out)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def peak_memory_mb() -> float | None:
    """The most memory this process has held so far, in MB (10⁶ bytes); None where the system does not tell.

    On Linux VmHWM of /proc: ``ru_maxrss`` would be that of the parent where it was larger.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None
