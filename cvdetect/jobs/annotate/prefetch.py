"""Prefetching: requests to a store that run on threads while earlier results are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["AT_ONCE", "prefetch"]

AT_ONCE = 16  # requests in flight

T = TypeVar("T")
R = TypeVar("R")


def prefetch(fetch: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `fetch` returns for each item, in their order; `AT_ONCE` calls are in flight, on threads."""
    remaining = iter(items)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: deque[Future[R]] = deque(pool.submit(fetch, item) for item in islice(remaining, AT_ONCE))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(fetch, item) for item in islice(remaining, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()
