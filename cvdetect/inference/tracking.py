"""Numbers that stay with an object from frame to frame (extra ``[track]``).

Detections are associated in ByteTrack's order, the sure ones first, then the faint ones, by a Kalman filter's
prediction and the best assignment (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box",
ECCV 2022). Beyond it, class evidence takes part in the association and time is in seconds: see
`cvdetect.inference.tracks`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from statistics import median

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import MissingPackage
from cvdetect.core.frame import Frame
from cvdetect.core.options import Conf, DetectOptions, ModelChoice
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.inference.tracks import Boxes, Tracks, by_distance, by_overlap, overlaps, pairs
from cvdetect.models.resolve import resolve

__all__ = ["Tracker", "available", "need", "with_faint"]


Rows = NDArray[np.int64]

_LOST_S = 2.0  # an object that is gone for longer comes back as a new one
_DOUBTFUL_S = 0.5  # one that is not confirmed is forgotten after this; faint detections continue no track after this
_DOUBTFUL_LOOKS = 2.5
_SAME_PLACE, _APART = 0.7, 0.5  # IoU from which two names are rather one object's, and below which they are two
_TOGETHER_S, _TOGETHER_SHARE = 1.0, 0.8  # both at one place for so long and in so many looks: two objects after all


def available() -> bool:
    """Whether the library it needs is installed."""
    return find_spec("scipy") is not None


def need() -> None:
    """Raise MissingPackage where the library is not installed."""
    if not available():
        raise MissingPackage(f"{arg('track')} needs the extra: pip install 'cvdetect[track]'")


class Tracker:
    """A pipeline filter that gives detections a `track_id`: 1, 2, … in the order in which objects are confirmed.

    An object is confirmed in the third looked-at frame from its first on, if it was seen twice by then, else when it is
    seen for the second time; before, its `track_id` is -1. One that is lost for up to two seconds keeps its number.

    Args:
        rate: looked-at frames a second, for frames that come without a time, or with one that does not advance.
        controls: detections below its `min_score` continue confirmed tracks, and neither begin nor confirm one.
    """

    def __init__(self, rate: float, controls: Controls | None = None) -> None:
        self._usual_s = 1 / min(max(rate, 0.1), 1000.0)
        self._controls = controls or Controls()
        self._tracks = Tracks()
        self._confirmed = 0
        self._time_s: float | None = None
        self._steps: deque[float] = deque(maxlen=9)
        pairs(np.ones((1, 1)))  # imports scipy now, which would hold up the first frames

    def __call__(self, frame: Frame, found: Detections) -> Detections:
        """The same detections in the same order, with `track_id`."""
        self._advance(frame)
        corners = found.xyxy.astype(np.float64)
        boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        scores, columns = found.score.astype(np.float64), self._tracks.columns(found.class_id)
        owner = self._associate(frame, boxes, columns, scores, found.score >= np.float32(self._controls.min_score))
        numbers = self._number(owner)
        self._forget()
        return replace(found, track_id=numbers)

    def _advance(self, frame: Frame) -> None:
        """Predict every track to the time of `frame`."""
        now = frame.time_s
        step = self._usual_s if now is None or self._time_s is None else now - self._time_s
        if step <= 0:  # clocks that stand still or jump back
            step = self._usual_s
        self._time_s = now
        self._steps.append(step)
        self._tracks.predict(step)
        self._forget(missed_s=self._step_s)

    def _associate(
        self, frame: Frame, boxes: Boxes, columns: Rows, scores: NDArray[np.float64], sure: NDArray[np.bool_]
    ) -> Rows:
        """The row of each detection's track → (N,), -1 for none; tracks are updated and begun."""
        tracks, owner = self._tracks, np.full(len(boxes), -1, np.int64)
        if len(tracks) and len(boxes):
            overlap = by_overlap(tracks, boxes, columns)
            recent = (tracks.gap <= self._doubtful_s) & (tracks.number > 0)
            _match(owner, lambda: overlap, ~tracks.shadow, sure)
            _match(owner, lambda: overlap, recent, ~sure)
            _match(owner, lambda: by_distance(tracks, boxes, columns, frame.wh), ~tracks.shadow, sure)
            _match(owner, lambda: overlap, np.ones(len(tracks), bool), sure)
            at = np.flatnonzero(owner >= 0)
            tracks.update(owner[at], boxes[at], columns[at], scores[at])
            self._separate(owner, boxes)
        self._begin(owner, boxes, columns, scores, sure)
        return owner

    def _separate(self, owner: Rows, boxes: Boxes) -> None:
        """A shadow that has left its object, or was there with it nearly all the time, is an object of its own."""
        tracks = self._tracks
        for at in np.flatnonzero(owner >= 0):
            row = owner[at]
            if tracks.shadow[row]:
                near = overlaps(boxes[at : at + 1], boxes[(owner >= 0) & (owner != row)])
                alone = near.max(initial=0) < _APART
                always = tracks.hits[row] >= max(_TOGETHER_S / self._step_s, _TOGETHER_SHARE * (tracks.looks[row] + 1))
                tracks.shadow[row] = not (alone or always)

    def _begin(
        self, owner: Rows, boxes: Boxes, columns: Rows, scores: NDArray[np.float64], sure: NDArray[np.bool_]
    ) -> None:
        """New tracks for the sure detections that have none; `owner` is filled in."""
        new = np.flatnonzero((owner < 0) & sure)
        if not len(new):
            return
        before = (owner >= 0) | (np.arange(len(boxes)) < new[:, None])  # (N, D): those it may be a shadow of
        other = columns[new, None] != columns[None]
        shadow = (before & other & (overlaps(boxes[new], boxes) >= _SAME_PLACE)).any(axis=1)
        owner[new] = self._tracks.add(boxes[new], columns[new], scores[new], shadow)

    def _number(self, owner: Rows) -> Rows:
        """Confirm what can be → the detections' numbers (N,), -1 for none."""
        tracks = self._tracks
        for row in owner[owner >= 0]:
            enough = 2 if tracks.looks[row] == 2 else 3
            if not (tracks.number[row] or tracks.shadow[row]) and tracks.looks[row] >= 2 and tracks.hits[row] >= enough:
                self._confirmed += 1
                tracks.number[row] = self._confirmed
        numbers = np.where(owner >= 0, tracks.number[owner] if len(tracks) else 0, 0)
        return np.where(numbers > 0, numbers, -1)

    def _forget(self, missed_s: float = 0.0) -> None:
        """Drop what was lost for too long; `missed_s` more where this frame has not been looked at yet."""
        tracks = self._tracks
        longest = np.where(tracks.number > 0, _LOST_S + self._step_s / 2, self._doubtful_s)
        tracks.keep(tracks.gap <= longest + missed_s)

    @property
    def _step_s(self) -> float:
        return median(self._steps)

    @property
    def _doubtful_s(self) -> float:
        return max(_DOUBTFUL_S, _DOUBTFUL_LOOKS * self._step_s)


def _match(
    owner: Rows, merit: Callable[[], NDArray[np.float64]], tracks: NDArray[np.bool_], found: NDArray[np.bool_]
) -> None:
    """Fill in `owner` for those `found` (N,) that have none, from the `tracks` (T,) that have no detection yet."""
    tracks = tracks & np.isin(np.arange(len(tracks)), owner, invert=True)
    found = found & (owner < 0)
    if tracks.any() and found.any():
        rows, at = pairs(merit() * tracks[:, None] * found)
        owner[at] = rows


# Detections just under the threshold: they continue a track through the moments in which its object is doubtful.

_SHARE, _LOWEST = 0.5, 0.1


def with_faint(model: ModelChoice, detect: DetectOptions, controls: Controls) -> DetectOptions:
    """Options that let faint detections through as well; `controls.min_score` then holds them back from the results.

    The results stay the same: a weaker box suppresses no stronger one. With thresholds by class, or tiles, whose pieces
    are joined, there are no faint ones.
    """
    asked = detect.thresholds
    if asked.per_class or detect.tile is not None:
        return detect
    conf = resolve(model, NullProgress()).spec.conf if asked.default is None else asked.default
    controls.min_score = max(controls.min_score, conf)
    return replace(detect, conf=Conf(min(conf, max(_LOWEST, _SHARE * conf))))
