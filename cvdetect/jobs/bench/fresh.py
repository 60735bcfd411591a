"""Calls a function in a fresh Python process, so that its memory, its threads and its caches are its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from cvdetect.core.errors import CvdetectError, ModelError

__all__ = ["answer", "call"]

R = TypeVar("R")

# The search path comes first: nothing may be imported from the current folder that the caller would not import.
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from cvdetect.jobs.bench.fresh import answer; answer()"


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
