"""The newest result, for a thread that shows it in its own time."""

from __future__ import annotations

import threading

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame

__all__ = ["Newest"]


class Newest:
    """A `Sink` that keeps one frame with its detections until it is taken or a newer one comes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: tuple[Frame, Detections] | None = None

    def __enter__(self) -> Newest:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, found: Detections) -> None:
        """Keep this one."""
        with self._changed:
            self._kept = (frame, found)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> tuple[Frame, Detections] | None:
        """What is kept, once; waits for it up to `timeout_s`. None: nothing new."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept, timeout_s)
            kept, self._kept = self._kept, None
        return kept
