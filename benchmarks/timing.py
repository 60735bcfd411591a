"""What the benchmarks share: rounds in which every contestant has its turn, and a table of medians and ratios.

On a busy machine, times vary by the minute. Contestants that take turns run under the same conditions, so their ratio
within a round holds where their times do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

try:
    import cvdetect
    from cvdetect.core.errors import CvdetectError
except ImportError as missing:
    sys.exit(f"cvdetect cannot be imported ({missing}): run pip install . in the folder above this one")

__all__ = ["DOG", "Seconds", "clean_start", "command", "interleave", "main", "print_ratios", "ratio"]

DOG = Path(__file__).resolve().parent.parent / "samples" / "dog.jpg"
Seconds = list[float]  # one value a round


def interleave(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Seconds]:
    """Call each contestant once a round, after one round that does not count; the order turns with every round."""
    names = list(contestants)
    times: dict[str, Seconds] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names if turn % 2 else reversed(names):
            start = time.perf_counter()
            contestants[name]()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def ratio(ours: Seconds, theirs: Seconds) -> tuple[float, float, float]:
    """theirs / ours of each round → first quartile, median, third quartile."""
    low, median, high = statistics.quantiles([b / a for a, b in zip(ours, theirs, strict=True)], n=4)
    return low, median, high


def print_ratios(rows: Sequence[tuple[str, Seconds, str, Seconds, str]]) -> None:
    """One line a comparison: (name, its times, the other's name, the other's times, the goal in words).

    The ratio is the second's time over the first's.
    """
    lines = [("measured", "median", "against", "median", "ratio", "quartiles", "goal")]
    for name, times, other, others, goal in rows:
        low, median, high = ratio(times, others)
        lines.append((name, _ms(times), other, _ms(others), f"{median:.3g}", f"{low:.3g} to {high:.3g}", goal))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _ms(times: Seconds) -> str:
    return f"{statistics.median(times) * 1e3:.3g} ms"


def command(arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> Callable[[], object]:
    """A contestant that is a whole process: this Python with `arguments`, in `folder`, its output discarded."""
    words = [sys.executable, *arguments]

    def run() -> None:
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(words)} ended with exit code {done.returncode}: {done.stderr.strip()}")

    return run


@contextmanager
def clean_start() -> Iterator[tuple[dict[str, str], Path]]:
    """An empty folder, and an environment in which every process finds its compiled modules, as an installed one does.

    They are compiled in the round that does not count, into a folder that goes away.
    """
    with tempfile.TemporaryDirectory() as name:
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")}
        env["PYTHONPYCACHEPREFIX"] = str(Path(name) / "compiled")
        env["PYTHONPATH"] = str(Path(cvdetect.__file__).resolve().parents[1])
        folder = Path(name) / "work"
        folder.mkdir()
        yield env, folder


def main(measure: Callable[[int], None], about: str | None, rounds: int) -> None:
    """Read ``--rounds`` and measure; an error is one line."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contestant (%(default)s)")
    chosen = parser.parse_args().rounds
    if chosen < 2:
        parser.error("--rounds: at least 2 are needed for a spread")
    try:
        measure(chosen)
    except CvdetectError as error:
        sys.exit(str(error))
