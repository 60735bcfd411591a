"""What runs a network. A runtime is one class in a file of its own; adding one takes its file and a line in `RUNTIMES`.

Every runtime is imported here, so each imports its third party only when it is asked for something.
"""

from __future__ import annotations

from cvdetect.core.arguments import arg
from cvdetect.core.errors import UsageError
from cvdetect.core.options import RunOptions
from cvdetect.runtime.base import Network, Ran, Runtime
from cvdetect.runtime.opencv import OpenCV

__all__ = ["RUNTIMES", "Network", "Ran", "Runtime", "choose", "device_backends", "runs_on_device"]

RUNTIMES: dict[str, type[Runtime]] = {
    "opencv": OpenCV,
}
"""All runtimes by name."""


def choose(run: RunOptions = RunOptions()) -> Runtime:
    """The runtime that `run` asks for, on this machine; asked once for a run and passed on.

    Raises:
        UsageError: no such runtime, backend, precision or device.
        BackendError: this machine cannot run it; the message gives the reason and a hint.
    """
    if run.device_id is not None and not runs_on_device(run):
        goes = " or ".join(arg("backend", name) for name in device_backends(run)) or "another runtime"
        raise UsageError(f"{arg('device_id')} {run.device_id} goes with {goes}, not {run.backend}")
    return _named(run).choose(run)


def device_backends(run: RunOptions) -> tuple[str, ...]:
    """The backends with numbered devices, GPUs, of the runtime asked for; the first is the one that "auto" tries."""
    return _named(run).device_backends


def runs_on_device(run: RunOptions) -> bool:
    """Whether the backend asked for has numbered devices."""
    return run.backend in device_backends(run)


def _named(run: RunOptions) -> type[Runtime]:
    if run.runtime not in RUNTIMES:
        raise UsageError(f"runtime {run.runtime!r}: no such runtime; there are {', '.join(RUNTIMES)}")
    return RUNTIMES[run.runtime]
