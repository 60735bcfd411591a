"""How a run reports its progress, and how it is stopped, paused and filtered while it goes on."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["Controls", "LoggingProgress", "NullProgress", "Progress"]


class Progress(Protocol):
    """Receives what a run reports. The command line draws it; calls of the library log it (`LoggingProgress`).

    All methods may be called from any thread.
    """

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """A task starts; `total` is None where its length is unknown; `unit` is "B" for bytes."""

    def advance(self, amount: int = 1) -> None:
        """`amount` more units of the current task are finished."""

    def end(self) -> None:
        """The current task ends, finished or not."""

    def note(self, message: str) -> None:
        """Report one line that most people want to know (a download starts, a file beside the model is taken)."""

    def detail(self, message: str) -> None:
        """Report one line for those who want to know more (what runs the network)."""

    def warn(self, message: str) -> None:
        """Report one line that nobody should miss (a result is not what one may expect)."""

    def error(self, message: str) -> None:
        """Report one failure in one line; the run goes on."""


class NullProgress:
    """A `Progress` that reports nothing."""

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def end(self) -> None: ...

    def note(self, message: str) -> None: ...

    def detail(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...


class LoggingProgress:
    """A `Progress` that logs with Python's `logging`: notes as INFO, warnings and errors so, details as DEBUG.

    Without handlers of the application nothing is written.

    Args:
        name: of the logger.
    """

    def __init__(self, name: str = "cvdetect") -> None:
        self._name = name

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        length = "" if total is None or not unit else f" ({total} {unit})"
        self._logger.debug("%s%s", task, length)

    def advance(self, amount: int = 1) -> None: ...

    def end(self) -> None: ...

    def note(self, message: str) -> None:
        self._logger.info("%s", message)

    def detail(self, message: str) -> None:
        self._logger.debug("%s", message)

    def warn(self, message: str) -> None:
        self._logger.warning("%s", message)

    def error(self, message: str) -> None:
        self._logger.error("%s", message)

    @property
    def _logger(self) -> Logger:
        return _logger(self._name)


@cache
def _logger(name: str) -> Logger:
    """The logger. `logging` is imported when something is logged, so that commands, which do not log, start sooner."""
    import logging

    root = logging.getLogger("cvdetect")
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    return logging.getLogger(name)


class Controls:
    """Stops, pauses and filters a run; shared by its source, filters and window, and safe to use from any thread.

    Attributes:
        min_score: detections below it are neither shown nor written (the window's slider).
    """

    def __init__(self) -> None:
        self.min_score = 0.0
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()

    def stop(self) -> None:
        """End the run: no more frames are read; those on their way are finished."""
        self._stop.set()
        self._go.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def toggle_pause(self) -> None:
        """Pause the source, or let it go on."""
        if self._go.is_set() and not self.stopping:
            self._go.clear()
        else:
            self._go.set()

    @property
    def paused(self) -> bool:
        """Whether the source is paused."""
        return not self._go.is_set()

    def wait_while_paused(self) -> None:
        """Return when the source may give its next frame."""
        self._go.wait()
