"""Reaching a Ray cluster, or starting one on this machine; with `actor` the only files that import ray.

Ray's own way of failing to connect takes two minutes, writes on standard error, and ends the process. So another
process tries first, for as long as we want to wait.
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
_LONGEST = 300  # characters of what Ray says
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
    "RAY_USAGE_STATS_ENABLED": "0",  # it would send them
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # its own lines about nodes that die; ours tell them
}


def check_cluster(address: str | None) -> None:
    """Find out before any work whether there is a Ray, and the cluster at `address`; None: one of our own.

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
    """Where the head of the cluster listens, that `ray` is connected to; None where that is not known (ray://)."""
    try:
        return str(ray.get_runtime_context().gcs_address)
    except Exception:  # Ray's client has no such thing, and says so in its own ways
        return None


def answers(address: str) -> bool:
    """Whether something listens at ``host:port``."""
    return _knock(address) is None


def _knock(address: str) -> str | None:
    """Ask for the port → why not; None where it is open or none is stated. Where nothing listens, that is quick."""
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


def _reason(told: str) -> str:
    """What Ray says, on one line and without the class of the error."""
    _, _, said = told.rpartition("Error: ")
    return _one_line(said) or "it ended at once"


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
        told = _one_line(str(error))
        if address:
            raise _unreachable(address, told) from error
        raise BackendError(f"{arg('engine', 'ray')}: Ray cannot be started on this machine: {told}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Undo that Ray takes SIGTERM for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
