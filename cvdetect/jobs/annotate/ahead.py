"""Work that waits for a store, done ahead of its turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["AT_ONCE", "ahead"]

AT_ONCE = 16  # requests on their way

T = TypeVar("T")
R = TypeVar("R")


def ahead(act: Callable[[T], R], items: Iterable[T], at_once: int = AT_ONCE) -> Iterator[R]:
    """What `act` gives for each item, in their order; `at_once` of them are on their way, on threads."""
    remaining = iter(items)
    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[Future[R]] = deque(pool.submit(act, item) for item in islice(remaining, at_once))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(act, item) for item in islice(remaining, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()
