"""From frames to sinks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from cvdetect.detector import Detector
from cvdetect.events import Progress
from cvdetect.frame import Frame
from cvdetect.sinks import Sink
from cvdetect.sources.images import Failed

__all__ = ["Summary", "run"]


@dataclass(slots=True)
class Summary:
    """How a run went: how many frames were done, and which inputs failed."""

    done: int = 0
    failed: list[Failed] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 all was done, 1 part of it, 4 nothing could be read."""
        if not self.failed:
            return 0
        return 1 if self.done else 4


def run(source: Iterable[Frame | Failed], detector: Detector, sinks: Sequence[Sink], progress: Progress) -> Summary:
    """Detect in every frame and hand the result to every sink; an input that failed is told and passed over."""
    summary = Summary()
    with ExitStack() as open_sinks:
        for sink in sinks:
            open_sinks.enter_context(sink)
        for item in source:
            if isinstance(item, Failed):
                summary.failed.append(item)
                progress.warn(str(item.error))
            else:
                _step(item, detector, sinks)
                summary.done += 1
            progress.advance()
    return summary


def _step(frame: Frame, detector: Detector, sinks: Sequence[Sink]) -> None:
    found = detector.detect(frame.image)
    for sink in sinks:
        sink.write(frame, found)
