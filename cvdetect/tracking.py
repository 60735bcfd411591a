"""Numbers that stay with an object from frame to frame: ByteTrack, by the library `trackers` (extra ``[track]``).

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from cvdetect.detections import Detections
from cvdetect.frame import Frame

__all__ = ["Tracker", "available"]

_LOST_SECONDS = 1.0  # an object that is gone for longer comes back as a new one


def available() -> bool:
    """Whether the library is installed."""
    return find_spec("trackers") is not None


class Tracker:
    """A pipeline filter that gives every detection a `track_id`.

    Each class has a tracker of its own, because ByteTrack looks at boxes alone and would hand a person's number to the
    bicycle they push.

    Args:
        rate: looked-at frames a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._trackers: dict[int, Any] = {}
        self._numbers: dict[tuple[int, int], int] = {}

    def __call__(self, _frame: Frame, found: Detections) -> Detections:
        """The same detections in the same order, with `track_id`."""
        numbers = np.full(len(found), -1, np.int64)
        for class_id in sorted({*self._trackers, *map(int, found.class_id)}):
            rows = np.flatnonzero(found.class_id == class_id)
            numbers[rows] = self._track(class_id, found[rows])
        return replace(found, track_id=numbers)

    def _track(self, class_id: int, found: Detections) -> list[int]:
        """The numbers of one class's detections, in their order."""
        import supervision

        if class_id not in self._trackers:
            self._trackers[class_id] = self._new_tracker()
        rows = np.arange(len(found))
        boxes = supervision.Detections(xyxy=found.xyxy, confidence=found.score, class_id=rows)
        tracked = self._trackers[class_id].update(boxes)
        own = dict(zip(tracked.class_id, tracked.tracker_id, strict=True)) if len(tracked) else {}
        return [self._number(class_id, int(own[row])) for row in rows]

    def _new_tracker(self) -> Any:
        from trackers import ByteTrackTracker

        # Every detection that reached the user's threshold may start a track, at once.
        return ByteTrackTracker(
            lost_track_buffer=max(1, round(_LOST_SECONDS * self._rate)),
            frame_rate=self._rate,
            track_activation_threshold=0.0,
            high_conf_det_threshold=0.0,
            minimum_consecutive_frames=1,
        )

    def _number(self, class_id: int, own: int) -> int:
        """One numbering for all classes, from 1, by first appearance."""
        return self._numbers.setdefault((class_id, own), len(self._numbers) + 1)
