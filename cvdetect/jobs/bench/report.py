"""The report of a benchmark: figures from times, as JSON, a table or Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cvdetect.jobs.bench.trial import STAGES, Planned, Trial

__all__ = ["HEADERS", "BenchReport", "Result", "Timing", "make_result"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Median and 95th percentile of times, in milliseconds."""

    median_ms: float
    p95_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Of times in seconds; the percentile lies between the two nearest times."""
        return cls(statistics.median(seconds) * 1e3, float(np.percentile(seconds, 95)) * 1e3)

    def as_json(self) -> dict[str, float]:
        """Rounded to a tenth of a microsecond."""
        return {"median_ms": round(self.median_ms, 4), "p95_ms": round(self.p95_ms, 4)}

    def __str__(self) -> str:
        return f"{_three(self.median_ms)} / {_three(self.p95_ms)}"


HEADERS = (
    "model", "size", "runtime", "backend", "precision", "batch", "threads",
    "load", "preprocess", "forward", "decode", "suppress", "end to end", "warm-up",
    "fps", "GFLOP/s", "of the peak", "memory, MB",
)  # fmt: skip
_WORDS = 4  # the first headers, whose columns are text


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one configuration.

    Attributes:
        stages: "load" and those of `STAGES`, without the warm-up.
        warm_up: the first pass after loading.
        fps: images a second, end to end, by the median.
        gflops: GFLOP/s of the forward stage by its median; None where its operations are not known.
        machine_gflops: the most that float32 matrix products reached on as many threads; None where that is no
            measure of what ran (another device or precision), or operations are not known.
        peak_memory_mb: the most memory (10⁶ bytes) of the process, with Python and libraries, without a GPU's.
        threads: of the network.
        rounds, passes: how many times load and warm-up were measured, and how many times each stage.
    """

    planned: Planned
    stages: Mapping[str, Timing]
    warm_up: Timing
    fps: float
    gflops: float | None
    machine_gflops: float | None
    peak_memory_mb: float | None
    threads: int
    rounds: int
    passes: int

    @property
    def peak_share(self) -> float | None:
        """`gflops` as a share of `machine_gflops`.

        Winograd convolutions multiply less than is counted, so a good one can pass 1.
        """
        return None if self.gflops is None or self.machine_gflops is None else self.gflops / self.machine_gflops

    def as_json(self) -> dict[str, Any]:
        """The figures under the keys that the JSON of ``cvdetect bench`` has."""
        planned, ran = self.planned, self.planned.ran
        return {
            "model": planned.model,
            "size": planned.size,
            "runtime": ran.runtime,
            "backend": planned.backend,
            "precision": ran.precision,
            "batch": planned.configuration.batch,
            **{stage: timing.as_json() for stage, timing in self.stages.items()},
            "fps": round(self.fps, 3),
            "gflops": _rounded(self.gflops, 3),
            "peak_memory_mb": _rounded(self.peak_memory_mb, 1),
            "warm_up": self.warm_up.as_json(),
            "machine_gflops": _rounded(self.machine_gflops, 3),
            "peak_share": _rounded(self.peak_share, 4),
            "threads": self.threads,
            "rounds": self.rounds,
            "passes": self.passes,
            "ran": ran.as_json(),
        }

    def cells(self) -> list[str]:
        """The table's cells of one configuration, in the order of `HEADERS`; times as median / p95 in ms."""
        planned = self.planned
        return [
            planned.model, planned.size, planned.ran.runtime, planned.backend, planned.ran.precision,
            str(planned.configuration.batch), str(self.threads),
            *map(str, self.stages.values()), str(self.warm_up),
            _three(self.fps), _three(self.gflops), self._share(),
            "-" if self.peak_memory_mb is None else f"{self.peak_memory_mb:.0f}",
        ]  # fmt: skip

    def _share(self) -> str:
        share = self.peak_share
        return "-" if share is None else f"{share:.0%} of {_three(self.machine_gflops)}"


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The figures of a benchmark, one `Result` a configuration."""

    results: tuple[Result, ...]
    exit_code: int = 0

    def to_json(self) -> str:
        """A list, one object a configuration and a line."""
        lines = (json.dumps(one.as_json(), ensure_ascii=False, allow_nan=False) for one in self.results)
        return "[" + ",\n ".join(lines) + "]\n"

    def to_markdown(self) -> str:
        """The table as Markdown, a configuration a line."""
        marks = ["---" if i <= _WORDS else "--:" for i in range(len(HEADERS))]
        rows = [[cell.replace("|", "\\|") for cell in one.cells()] for one in self.results]
        return "".join(f"| {' | '.join(row)} |\n" for row in (HEADERS, marks, *rows))


def make_result(planned: Planned, trials: Sequence[Trial], products: Sequence[float], threads: int) -> Result:
    """The figures of one configuration; `products` are the GFLOP/s of matrix products of the same rounds, or none."""
    passes = [one for trial in trials for one in trial.passes]
    stages = {"load": Timing.of([trial.load for trial in trials])}
    stages |= {stage: Timing.of([one[stage] for one in passes]) for stage in STAGES}
    memory = [trial.peak_memory_mb for trial in trials if trial.peak_memory_mb is not None]
    return Result(
        planned=planned,
        stages=stages,
        warm_up=Timing.of([trial.warm_up for trial in trials]),
        fps=planned.configuration.batch / stages["end_to_end"].median_ms * 1e3,
        gflops=None if planned.flop is None else planned.flop / stages["forward"].median_ms / 1e6,
        machine_gflops=max(products, default=None),
        peak_memory_mb=max(memory, default=None),
        threads=threads,
        rounds=len(trials),
        passes=len(passes),
    )


def _three(value: float | None) -> str:
    """At least three significant digits, never an exponent."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
