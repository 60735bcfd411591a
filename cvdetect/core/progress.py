"""What goes against the stream: news for the person who waits, and their wish to stop, pause or see less."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["Controls", "LoggingProgress", "NullProgress", "Progress"]


class Progress(Protocol):
    """How the library tells what it is doing. The console draws it; as a library it is `NullProgress`."""

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """A task starts; `total` is None where its length is unknown; `unit` is "B" for bytes."""

    def advance(self, amount: int = 1) -> None:
        """`amount` more units of the current task are done."""

    def end(self) -> None:
        """The current task is over, done or not."""

    def note(self, message: str) -> None:
        """One line a person would want to know (a pull starts, a source failed)."""

    def detail(self, message: str) -> None:
        """One line for those who ask for more (what really ran)."""

    def warn(self, message: str) -> None:
        """One line a person must know (something asked for is not as they may think)."""

    def error(self, message: str) -> None:
        """One line on what failed while the rest goes on."""


class NullProgress:
    """A `Progress` that says nothing."""

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
    """The logger, imported when something is logged: a command's start does not wait for it."""
    import logging

    root = logging.getLogger("cvdetect")
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    return logging.getLogger(name)


class Controls:
    """Shared by source, filters and window; safe to use from any thread.

    Attributes:
        min_score: what is shown and written needs at least this score (the window's slider).
    """

    def __init__(self) -> None:
        self.min_score = 0.0
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()

    def stop(self) -> None:
        """Ask for the end: no more frames are read, those on their way are finished."""
        self._stop.set()
        self._go.set()

    @property
    def stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._stop.is_set()

    def toggle_pause(self) -> None:
        """Hold the source, or let it go on."""
        if self._go.is_set() and not self.stopping:
            self._go.clear()
        else:
            self._go.set()

    @property
    def paused(self) -> bool:
        """Whether the source is held."""
        return not self._go.is_set()

    def wait_while_paused(self) -> None:
        """Return when the source may give its next frame."""
        self._go.wait()
