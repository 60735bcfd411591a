"""Where results go: context managers with ``write(frame, detections)``."""

from __future__ import annotations

from typing import Protocol

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame

__all__ = ["Sink"]


class Sink(Protocol):
    """One place that results go to. Entered before the first frame, left after the last or on an error."""

    def __enter__(self) -> Sink:
        """Make ready; an output that cannot be had is told here."""

    def __exit__(self, *_: object) -> None:
        """Finish what was written, so that it is whole and usable."""

    def write(self, frame: Frame, found: Detections) -> None:
        """Take the detections of one frame."""
