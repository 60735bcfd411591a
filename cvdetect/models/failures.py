"""How a pull fails, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cvdetect.core.errors import FetchError
from cvdetect.core.redact import redact

__all__ = ["BrokenPullError", "PullError", "http_reason", "writing"]


class PullError(FetchError):
    """One source could not give the file; the next may."""


class BrokenPullError(PullError):
    """The same source may well go on if it is asked again."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what can go wrong when `path` is written on this machine (full, read-only) into a `FetchError`."""
    try:
        yield
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise FetchError(
            f"cannot write {path}: {why}; make room or choose another folder with --cache-dir or CVDETECT_CACHE"
        ) from None


def http_reason(problem: Exception) -> str:
    """One short line for an exception of requests or urllib3; their texts nest several."""
    import requests

    if isinstance(problem, requests.exceptions.SSLError):
        return "its certificate cannot be verified (a proxy? see REQUESTS_CA_BUNDLE)"
    if isinstance(problem, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    if isinstance(problem, requests.exceptions.Timeout):
        return "the server does not answer in time"
    if isinstance(problem, requests.exceptions.ConnectionError):
        return "no connection to the server"
    return redact(str(problem).splitlines()[0] if str(problem) else type(problem).__name__)[:200]
