"""Where results go: the protocol of sinks, and a base class for those that need no opening or closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, TypeVar

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame

__all__ = ["PlainSink", "Sink"]

_Own = TypeVar("_Own", bound="PlainSink")


class Sink(Protocol):
    """One place that results go to: a context that is entered before the first frame and left after the last."""

    def __enter__(self) -> Sink:
        """Open the output; raises a SinkError where that is impossible."""

    def __exit__(self, *_: object) -> None:
        """Close the output, so that what was written is complete and usable."""

    def write(self, frame: Frame, found: Detections) -> None:
        """Take one frame and its detections. Frames come in the source's order."""


class PlainSink(ABC):
    """A `Sink` without anything to open or close; only `write` is to be defined."""

    def __enter__(self: _Own) -> _Own:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @abstractmethod
    def write(self, frame: Frame, found: Detections) -> None:
        """Take one frame and its detections."""
