"""``cvdetect bench`` as a library call: configurations in, figures out."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from cvdetect.core.errors import CvdetectError, ModelError, UsageError
from cvdetect.core.files import write_text
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, usable_cores
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.core.targets import check_regular
from cvdetect.jobs.bench.measure import (
    ONE_BLAS_THREAD,
    Configuration,
    DeduplicatingProgress,
    Planned,
    Trial,
    check_ran,
    picture,
    plan,
    product_gflops,
    refuse_early,
    take_turn,
)
from cvdetect.jobs.bench.report import Result, figures, to_json
from cvdetect.models.load import model_inputs

__all__ = ["BenchJob", "answer", "bench", "call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """What to time: every model with every way to run it and every batch.

    Attributes:
        models: each in one input size.
        runs: backends, precisions, threads.
        batches: how many images go through the network at once.
        rounds: in each, every configuration has one turn: a fresh process that loads the model.
        passes: timed passes of a turn, after one that warms up.
        image: what is looked at; None takes a synthetic picture of 1280x720.
        json: a file for all figures.
    """

    models: tuple[ModelChoice, ...] = (ModelChoice(),)
    detect: DetectOptions = DetectOptions()
    runs: tuple[RunOptions, ...] = (RunOptions(),)
    batches: tuple[int, ...] = (1,)
    rounds: int = 10
    passes: int = 5
    image: Path | None = None
    json: Path | str | None = None

    def __post_init__(self) -> None:
        for option, values in (("--batch", self.batches), ("--rounds", (self.rounds,)), ("--passes", (self.passes,))):
            if min(values, default=0) < 1:
                raise UsageError(f"{option}: at least 1 is needed")

    @property
    def configurations(self) -> list[Configuration]:
        """All combinations."""
        return [Configuration(m, self.detect, r, b) for m, r, b in product(self.models, self.runs, self.batches)]


def bench(job: BenchJob, progress: Progress = NullProgress()) -> list[Result]:
    """Time all configurations of `job`, in its order, after each has been checked.

    In every round each configuration has its turn, and so has a matrix product, so that a machine with other work hurts
    all alike. Every turn is a process of its own: nothing is warm, shared or left over from another configuration.

    Raises:
        UsageError: an option that cannot be met.
        SourceError: the image cannot be read.
        ModelError: a model cannot be had or run; a BackendError where anything else ran than was asked for.
        SinkError: the JSON file cannot be written.
    """
    configurations = job.configurations
    refuse_early(configurations)
    if job.image is not None:
        check_regular(job.image, "an image file")  # each turn reads it again
    if job.json is not None:
        inputs = (*([job.image] if job.image else []), *model_inputs(*job.models))
        Guard(inputs).check([Output("--json", job.json)])
    image = picture(job.image)
    once = DeduplicatingProgress(progress)
    planned = [plan(one, image, once) for one in configurations]
    progress.note(
        f"timing {_count(len(planned), 'configuration')} in turns: {_count(job.rounds, 'round')} with a fresh process "
        f"each, of {_count(job.passes, 'pass', 'passes')} after one to warm up"
    )
    results = _measure(job, planned, progress)
    _tell_unknown(results, progress)
    if job.json is not None:
        write_text(job.json, to_json(results))
    return results


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _measure(job: BenchJob, planned: Sequence[Planned], progress: Progress) -> list[Result]:
    turns: list[list[Trial]] = [[] for _ in planned]
    products: dict[int, list[float]] = {_threads(one): [] for one in planned if _has_peak(one)}
    progress.begin("timing", job.rounds * len(planned), "turns")
    try:
        for turn in range(job.rounds):
            _measure_products(products)
            order = range(len(planned))
            for i in order if turn % 2 == 0 else reversed(order):
                turns[i].append(_turn(planned[i], job))
                progress.advance()
    finally:
        progress.end()
    return [_figures(one, taken, products) for one, taken in zip(planned, turns, strict=True)]


def _measure_products(products: Mapping[int, list[float]]) -> None:
    for threads, reached in products.items():
        reached.append(call(product_gflops, threads, env=ONE_BLAS_THREAD))


def _turn(planned: Planned, job: BenchJob) -> Trial:
    turn = call(take_turn, planned.configuration, job.image, job.passes)
    check_ran(planned.model, turn.ran, planned.ran)
    return turn


def _figures(planned: Planned, turns: Sequence[Trial], products: Mapping[int, Sequence[float]]) -> Result:
    threads = _threads(planned)
    return figures(planned, turns, products[threads] if _has_peak(planned) else (), threads)


def _threads(planned: Planned) -> int:
    return planned.configuration.run.threads or usable_cores()


def _has_peak(planned: Planned) -> bool:
    """Whether a float32 matrix product on the CPU is a measure of what ran."""
    return planned.flop is not None and planned.ran.target == "cpu" and planned.ran.precision == "fp32"


def _tell_unknown(results: Sequence[Result], progress: Progress) -> None:
    """Say why figures are missing, each reason once."""
    told = {
        f"{one.planned.model}: GFLOP/s are not known: {one.planned.no_flop}" for one in results if one.gflops is None
    }
    told |= {
        f"{one.planned.model}: no share of the peak: a float32 product on the CPU is no measure of {one.planned.ran}"
        for one in results
        if one.gflops is not None and one.machine_gflops is None
    }
    if any(one.peak_memory_mb is None for one in results):
        told.add("peak memory is not known on this system")
    for line in sorted(told):
        progress.note(line)


# Calls a function in a fresh Python process, so that its memory, its threads and its caches are its own.

R = TypeVar("R")

# The search path comes first: nothing may be imported from the current folder that the caller would not import.
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from cvdetect.jobs.bench.job import answer; answer()"


def call(function: Callable[..., R], *args: object, env: Mapping[str, str] | None = None) -> R:
    """``function(*args)`` in a new process; function, arguments and result must be picklable.

    `env` holds environment variables on top of this process's own.

    Raises:
        CvdetectError: what the function itself raised, or a ModelError where its process died.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *sys.path],
        input=pickle.dumps((function, args)),
        capture_output=True,
        check=False,
        env={**os.environ, **(env or {})},
    )
    if done.returncode < 0:
        raise ModelError(f"a measuring process was killed by signal {-done.returncode}: was there enough memory?")
    if done.returncode:
        raise ModelError(f"a measuring process failed: {_last_line(done.stderr)}")
    result: R | CvdetectError = pickle.loads(done.stdout)
    if isinstance(result, CvdetectError):
        raise result
    return result


def answer() -> None:
    """The new process: reads a call from standard input and writes what came of it to standard output."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what libraries print must not mix with the answer
        function, args = pickle.load(sys.stdin.buffer)
        try:
            result = function(*args)
        except CvdetectError as error:
            result = error
        out.write(pickle.dumps(result))


def _last_line(stderr: bytes) -> str:
    return (stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
