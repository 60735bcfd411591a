"""Where frames come from: still images, videos, cameras and streams, all of one shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from cvdetect.core.errors import SourceError
from cvdetect.core.frame import Frame, StreamInfo

__all__ = ["Failed", "Source"]

_Source = TypeVar("_Source", bound="Source")


@dataclass(frozen=True, slots=True)
class Failed:
    """An input that could not be read, and why; it has a place among the frames."""

    name: str
    error: SourceError


class Source(ABC):
    """Frames from somewhere: a context manager that is gone through once.

    Iterating gives one `Frame` after another and raises the error of an input that cannot be read. `items` gives such
    errors in their place instead, and goes on with the next input.

    Attributes:
        info: what the video or camera states about itself, known once it is open; None for still images, which have a
            size each.
        inputs: the files and addresses that it reads; an output must not replace any of them.

    Raises (when entered or gone through):
        SourceNotFound: no such file.
        SourceError: it cannot be read, or ends too early.
    """

    info: StreamInfo | None = None
    inputs: tuple[str, ...] = ()

    def __enter__(self: _Source) -> _Source:
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open, if anything is."""
        return

    def __iter__(self) -> Iterator[Frame]:
        """Frame after frame; an input that cannot be read raises its SourceError."""
        for item in self.items():
            if isinstance(item, Failed):
                raise item.error
            yield item

    @abstractmethod
    def items(self) -> Iterator[Frame | Failed]:
        """Frame after frame, with a `Failed` in place of each input that cannot be read."""
