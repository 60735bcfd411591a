"""Frames at even distances for a container that has a rate but no times."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from cvdetect.core.frame import Image

__all__ = ["Encoder", "Resampled"]

_OFF = 0.9  # frames that a picture may be away from its time before one is repeated or left out


class Encoder(Protocol):
    """What writes pictures into a container.

    Attributes:
        written: how many it was given.
    """

    @property
    def written(self) -> int:
        """How many pictures were encoded."""

    def write(self, image: Image, time_s: float | None, lasts_s: float | None = None) -> None:
        """Encode one picture, shown at `time_s` of the source for `lasts_s` seconds."""

    def close(self, until_s: float | None) -> None:
        """Finish the file; its sound goes on until `until_s` of the source, None: to its end."""


class Resampled:
    """Repeats and leaves out pictures, so that each is shown at its time although only their number counts.

    A clock that trembles by less than a frame changes nothing.

    Args:
        encoder: what writes them.
        rate: frames a second.
        zero_s: the time of the source at which its first picture stands.
    """

    def __init__(self, encoder: Encoder, rate: Fraction, zero_s: float) -> None:
        self._encoder = encoder
        self._rate = rate
        self._zero_s = zero_s
        self._last: tuple[Image, float, float | None] | None = None
        self._repeated = self._left_out = 0

    @property
    def written(self) -> int:
        """How many pictures were encoded, repeated ones included."""
        return self._encoder.written

    @property
    def changes(self) -> str:
        """What was done to keep time; empty where nothing was."""
        if not self._repeated and not self._left_out:
            return ""
        rate = f"{float(self._rate):.4g}"
        return (
            f"frames come unevenly and this container has no times: at {rate} a second {self._repeated} were repeated "
            f"and {self._left_out} left out (.mp4 and .mkv keep them as they are)"
        )

    def write(self, image: Image, time_s: float | None, lasts_s: float | None = None) -> None:
        """Encode one picture where it is due."""
        if time_s is not None:
            off = (time_s - self._zero_s) * float(self._rate) - self._encoder.written
            if off <= -_OFF:
                self._left_out += 1
                return
            self._repeat(self._last[0] if self._last else image, off)
            self._last = (image, time_s, lasts_s)
        self._encoder.write(image, time_s, lasts_s)

    def _repeat(self, image: Image, missing: float) -> None:
        for _ in range(round(missing) if missing >= _OFF else 0):
            self._encoder.write(image, None)
            self._repeated += 1

    def close(self, until_s: float | None) -> None:
        """Show the last picture as long as it lasts, and finish the file."""
        if self._last and self._last[2]:
            image, time_s, lasts_s = self._last
            ends = time_s + min(lasts_s or 0.0, (until_s or float("inf")) - time_s)
            self._repeat(image, (ends - self._zero_s) * float(self._rate) - self._encoder.written)
        self._encoder.close(until_s)
