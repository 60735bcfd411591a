"""Ctrl-C and SIGTERM stop a run gracefully: frames on their way are finished, files are closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cvdetect.core.progress import Controls

__all__ = ["Interrupted", "stopping_on_signals"]


class Interrupted:
    """Which signal, if any, stopped the run."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, else 0 (the shell's 128 + number)."""
        return 128 + self.signal if self.signal else 0


@contextmanager
def stopping_on_signals(controls: Controls) -> Iterator[Interrupted]:
    """In the block, SIGINT and SIGTERM make `controls` stop; a second one interrupts at once.

    Signals reach the main thread only; in another thread this does nothing.
    """
    interrupted = Interrupted()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if interrupted.signal:
            raise KeyboardInterrupt
        interrupted.signal = number
        controls.stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
