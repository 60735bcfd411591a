"""What this machine can do at most, and how much memory a process has taken."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np

__all__ = ["ONE_BLAS_THREAD", "peak_memory_mb", "product_gflops"]

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
