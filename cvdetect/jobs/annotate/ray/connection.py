"""The connection to a Ray cluster, or to one that is started on this machine.

Where Ray cannot connect, it takes two minutes, writes to standard error and ends the process. So another process tries
first, with a time limit.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.errors import BackendError, MissingPackage
from cvdetect.core.options import usable_cores

__all__ = ["answers", "check_cluster", "connected", "head_of"]

_KNOCK_S, _TRY_S = 4, 12  # seconds
_LONGEST = 300  # characters of a message from Ray
_OBJECT_STORE = 100_000_000  # bytes; only outcomes go through it
_TRY = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
    assert ray.nodes()
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
# Ray takes these from the environment when it is imported or started.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would send statistics
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # its own lines about nodes that die, which cvdetect reports too
}


def check_cluster(address: str | None) -> None:
    """Check before any work that Ray is installed and that the cluster at `address` answers; None: one is started.

    Raises:
        MissingPackage: Ray is not installed.
        BackendError: the cluster cannot be reached.
    """
    if find_spec("ray") is None:
        raise MissingPackage(f"{arg('engine', 'ray')} needs the package ray: pip install 'cvdetect[ray]'")
    if address is None:
        return
    if why := _knock(address):
        raise _unreachable(address, why)
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            env={**os.environ, **_QUIET}, capture_output=True, text=True, timeout=_TRY_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no Ray cluster answers within {_TRY_S} s") from None
    if tried.returncode:
        raise _unreachable(address, _reason(tried.stderr))


def head_of(ray: Any) -> str | None:
    """Where the head of the cluster listens that `ray` is connected to; None where that is not known (ray://)."""
    try:
        return str(ray.get_runtime_context().gcs_address)
    except Exception:  # Ray's client has no such address, and raises various errors
        return None


def answers(address: str) -> bool:
    """Whether something listens at ``host:port``."""
    return _knock(address) is None


def _knock(address: str) -> str | None:
    """Try the port → why it does not answer; None where it does or none is stated. Quick where nothing listens."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return None
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _unreachable(address: str, why: str) -> BackendError:
    return BackendError(f"{arg('ray_address')} {address}: the Ray cluster cannot be reached: {why}")


def _reason(output: str) -> str:
    """Ray's error on one line, without its class."""
    _, _, message = output.rpartition("Error: ")
    return _one_line(message) or "it ended at once"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ray, connected to the cluster at `address` (host:port, ray://…, auto), or to one started for this.

    Raises:
        BackendError: it cannot be reached or started.
    """
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    import ray

    own = {"num_cpus": usable_cores(), "include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        with _own_sigterm():
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **({} if address else own))
    except Exception as error:
        why = _one_line(str(error))
        if address:
            raise _unreachable(address, why) from error
        raise BackendError(f"{arg('engine', 'ray')}: Ray cannot be started on this machine: {why}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
