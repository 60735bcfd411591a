"""Where frames come from: context managers that are iterated."""

from __future__ import annotations

from dataclasses import dataclass

from cvdetect.core.errors import SourceError

__all__ = ["Failed"]


# An input that could not be read, in its place among the frames.


@dataclass(frozen=True, slots=True)
class Failed:
    """An input that could not be read, and why."""

    name: str
    error: SourceError
