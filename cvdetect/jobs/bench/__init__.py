"""The job of ``cvdetect bench``: how fast models run here, every configuration in fresh processes, round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path

from cvdetect.core.files import write_text
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, check_least, usable_cores
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.printable import counted
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.targets import check_regular
from cvdetect.jobs.bench.machine import ONE_BLAS_THREAD, product_gflops, run_in_subprocess
from cvdetect.jobs.bench.report import BenchReport, Result, make_result
from cvdetect.jobs.bench.trial import (
    Configuration,
    Planned,
    Trial,
    bench_image,
    check_early,
    check_ran,
    plan,
    run_trial,
)
from cvdetect.models.resolve import ModelLookup

__all__ = ["BenchJob", "BenchReport", "bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """What to time: every model with every way to run it and every batch.

    Attributes:
        models: each in one input size.
        runs: backends, precisions, threads.
        batches: how many images go through the network at once.
        rounds: in each, every configuration has one trial: a fresh process that loads the model.
        passes: timed passes of a trial, after one that warms up.
        image: the image to detect in; None takes a synthetic one of 1280x720.
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
        for option, values in (("batch", self.batches), ("rounds", (self.rounds,)), ("passes", (self.passes,))):
            check_least(min(values, default=0), 1, option)

    @property
    def configurations(self) -> list[Configuration]:
        """All combinations."""
        return [Configuration(m, self.detect, r, b) for m, r, b in product(self.models, self.runs, self.batches)]


def bench(job: BenchJob, progress: Progress = LoggingProgress(), controls: Controls | None = None) -> BenchReport:
    """Check all configurations of the job, then time them, in its order.

    In every round each configuration has a trial, and so has a matrix product, so that other work on the machine slows
    all alike. Every trial is a process of its own: nothing is warm, shared or left over from another configuration.

    Args:
        controls: when stopped, the figures are those of the trials done so far; configurations without one are left
            out.

    Raises:
        UsageError: an option is wrong.
        SourceError: the image cannot be read.
        ModelError: a model is not available or does not run; a BackendError where something else ran it than was asked
            for.
        SinkError: the JSON file cannot be written.
    """
    configurations = job.configurations
    check_early(configurations)
    _check_files(job)
    image = bench_image(job.image)
    deduplicating = DeduplicatingProgress(progress)
    planned = [plan(one, image, deduplicating) for one in configurations]
    progress.note(
        f"timing {counted(len(planned), 'configuration')}: {counted(job.rounds, 'round')}, in each a fresh process for "
        f"every configuration with {counted(job.passes, 'pass', 'passes')} after one to warm up"
    )
    report = BenchReport(tuple(_measure(job, planned, progress, controls or Controls())))
    _explain_missing(report.results, progress)
    if job.json is not None:
        write_text(job.json, report.to_json())
    return report


def _check_files(job: BenchJob) -> None:
    if job.image is not None:
        check_regular(job.image, "an image file")  # each trial reads it again
    if job.json is not None:
        inputs = (
            *([job.image] if job.image else []),
            *chain.from_iterable(ModelLookup(one).inputs() for one in job.models),
        )
        Guard(inputs).check([Output("json", job.json)])


def _measure(job: BenchJob, planned: Sequence[Planned], progress: Progress, controls: Controls) -> list[Result]:
    trials: list[list[Trial]] = [[] for _ in planned]
    products: dict[int, list[float]] = {_threads(one): [] for one in planned if _has_peak(one)}
    progress.begin("timing", job.rounds * len(planned), "trials")
    try:
        for number in range(job.rounds):
            if not controls.stopping:
                _measure_products(products)
            order = range(len(planned))
            for i in order if number % 2 == 0 else reversed(order):
                if controls.stopping:
                    break
                trials[i].append(_run_trial(planned[i], job))
                progress.advance()
    finally:
        progress.end()
    return [_result(one, taken, products) for one, taken in zip(planned, trials, strict=True) if taken]


def _measure_products(products: Mapping[int, list[float]]) -> None:
    for threads, reached in products.items():
        reached.append(run_in_subprocess(product_gflops, threads, env=ONE_BLAS_THREAD))


def _run_trial(planned: Planned, job: BenchJob) -> Trial:
    trial = run_in_subprocess(run_trial, planned.configuration, job.image, job.passes)
    check_ran(planned.model, trial.ran, planned.ran)
    return trial


def _result(planned: Planned, trials: Sequence[Trial], products: Mapping[int, Sequence[float]]) -> Result:
    threads = _threads(planned)
    return make_result(planned, trials, products[threads] if _has_peak(planned) else (), threads)


def _threads(planned: Planned) -> int:
    return planned.configuration.run.threads or usable_cores()


def _has_peak(planned: Planned) -> bool:
    """Whether a float32 matrix product on the CPU is a measure of what ran."""
    return planned.flop is not None and planned.ran.on_cpu_fp32


def _explain_missing(results: Sequence[Result], progress: Progress) -> None:
    """Report why figures are missing, each reason once."""
    notes = {
        f"{one.planned.model}: GFLOP/s are not known: {one.planned.no_flop}" for one in results if one.gflops is None
    }
    notes |= {
        f"{one.planned.model}: no share of the peak: a float32 product on the CPU cannot measure {one.planned.ran}"
        for one in results
        if one.gflops is not None and one.machine_gflops is None
    }
    if any(one.peak_memory_mb is None for one in results):
        notes.add("peak memory is not known on this system")
    for note in sorted(notes):
        progress.note(note)


class DeduplicatingProgress:
    """A `Progress` that passes every line on only once: one model is loaded for several configurations."""

    def __init__(self, progress: Progress) -> None:
        self._reported: set[str] = set()
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
        """Pass on a line that is new."""
        self._once(self._progress.note, message)

    def detail(self, message: str) -> None:
        """Pass on a line that is new."""
        self._once(self._progress.detail, message)

    def warn(self, message: str) -> None:
        """Pass on a line that is new."""
        self._once(self._progress.warn, message)

    def error(self, message: str) -> None:
        """Pass on a line that is new."""
        self._once(self._progress.error, message)

    def _once(self, report: Callable[[str], None], message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            report(message)
