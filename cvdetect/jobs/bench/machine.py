"""The machine: functions run in fresh processes, matrix products as a peak to compare with, the memory of a process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import numpy as np

from cvdetect.core.arguments import current_spelling, spelled_by
from cvdetect.core.errors import CvdetectError, ModelError

__all__ = ["ONE_BLAS_THREAD", "peak_memory_mb", "product_gflops", "run_in_subprocess"]

R = TypeVar("R")

# The search path comes first: nothing may be imported from the current folder that the caller would not import.
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from cvdetect.jobs.bench.machine import _serve; _serve()"
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


def run_in_subprocess(function: Callable[..., R], *args: object, env: Mapping[str, str] | None = None) -> R:
    """``function(*args)`` in a new process, whose memory, threads and caches are its own.

    Function, arguments and result must be picklable. `env` holds environment variables on top of this process's own.

    Raises:
        CvdetectError: what the function itself raised, or a ModelError where its process died.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *sys.path],
        input=pickle.dumps((current_spelling(), function, args)),
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


def _serve() -> None:
    """The new process: reads a call from standard input and writes its result to standard output."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what libraries print must not mix with the result
        spelling, function, args = pickle.load(sys.stdin.buffer)
        try:
            with spelled_by(spelling):
                result = function(*args)
        except CvdetectError as error:
            result = error
        out.write(pickle.dumps(result))


def _last_line(stderr: bytes) -> str:
    return (stderr.decode(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]


def product_gflops(threads: int) -> float:
    """GFLOP/s of float32 matrix products (BLAS ``sgemm``) on so many threads at once; wants `ONE_BLAS_THREAD`.

    A product of n × n matrices takes 2 n³ operations. Every thread has its own products and its fastest counts. One
    product on several threads would wait for the slowest of them, and showed half the peak on a machine with other
    work.
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
    """The most memory this process has held so far, in MB (10⁶ bytes); None where the system does not report it.

    On Linux it is VmHWM of /proc: ``ru_maxrss`` would be the parent's where that was larger.
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
