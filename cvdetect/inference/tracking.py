"""Object tracking: numbers that stay with an object from frame to frame (extra ``[track]``).

Detections are associated in ByteTrack's order, those of high score first, then those of low score, by a Kalman filter's
prediction and the best assignment (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box",
ECCV 2022). Beyond it, classes take part in the association, and time is in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from statistics import median

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.boxes import cxcywh_to_xyxy, iou, xyxy_to_cxcywh
from cvdetect.core.detections import Detections
from cvdetect.core.errors import MissingPackage
from cvdetect.core.frame import Frame
from cvdetect.core.options import Conf, DetectOptions
from cvdetect.core.progress import Controls
from cvdetect.models.resolve import ModelLookup

__all__ = ["Tracker", "available", "low_score", "require_tracking", "with_low_scores"]

Floats = NDArray[np.float64]
Boxes = NDArray[np.float64]  # (N, 4): centre x, centre y, width, height, in pixels
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

_LOST_S = 2.0  # an object that is gone for longer comes back as a new one
_TENTATIVE_S = 0.5  # one that is not confirmed is dropped after this; low scores continue no track after this
_TENTATIVE_STEPS = 2.5
_SAME_PLACE, _APART = 0.7, 0.5  # IoU from which two names are rather one object's, and below which they are two
_TOGETHER_S, _TOGETHER_SHARE = 1.0, 0.8  # both at one place for so long and in so many frames: two objects after all
_LOW_SHARE, _LEAST_LOW = 0.5, 0.1  # low scores: from this share of the threshold on, and never below the second

# A Kalman filter of constant velocity in units of the object's own size, so that one covariance serves both axes.
_NOISE = 0.05**2  # variance of a detected centre: a twentieth of the size
_SPEED = 4.0**2  # variance of a new object's speed, in sizes a second
_ACCELERATION = 1.0**2  # spectral density of its acceleration, in sizes² a second³
_RESIZE = 0.5  # weight of a new width and height
_WHOLE_S = 2.0  # time in which a smaller size becomes that of the whole object
_CUT = 0.9  # a box that is less than this share of the whole object is cut: its centre does not show the speed
_DECAY = 0.9  # what a class keeps of its evidence at each sight

# Which detection belongs to which track: first by overlap, then by distance.
_OVERLAP = 0.15  # the least IoU for a class that the track has had
_OVERLAP_RENAMED = 0.5  # and for one that it never had: a label may flicker, a bicycle must not become its rider
_SAME_CLASS = 0.3  # likeness from which a class counts as the track's own
_OTHER_CLASS = 0.3  # what another class costs, in IoU
_MISSED = 0.1  # what it costs not to have been seen last, in IoU: an object that passes in front keeps its number
_LOST = 0.1  # what each second since the last sight costs, in IoU

_NEAR = 0.5  # the farthest a detection may lie without time passing, in sizes of the object
_NEAR_A_SECOND = (6.0, 1.5)  # and for each second since the last sight: before its speed is known, and after
_NEAR_AT_MOST = (1.5, 2.5)
_SIZE = 1.6  # the most by which width or height may differ; the other one may be cut by what occludes it
_RESIZED = 0.1  # what another size costs, for each factor of e


def available() -> bool:
    """Whether the package that tracking needs is installed."""
    return find_spec("scipy") is not None


def require_tracking() -> None:
    """Raise MissingPackage where the package that tracking needs is not installed."""
    if not available():
        raise MissingPackage(f"{arg('track')} needs the extra: pip install 'cvdetect[track]'")


def with_low_scores(model: ModelLookup, detect: DetectOptions, controls: Controls) -> DetectOptions:
    """Options with a lower threshold; `controls.min_score` then keeps the low scores out of the results.

    They continue a track through moments in which the network is less certain. The results stay the same: a box is
    never suppressed by a weaker one. With thresholds by class, or tiles, whose pieces are joined, nothing is changed.
    """
    asked = detect.thresholds
    if asked.per_class or detect.tile is not None:
        return detect
    conf = model.resolved.spec.conf if asked.default is None else asked.default
    controls.min_score = max(controls.min_score, conf)
    return replace(detect, conf=Conf(low_score(conf)))


def low_score(conf: float) -> float:
    """The score from which detections continue tracks, where the results have those from `conf` on."""
    return min(conf, max(_LEAST_LOW, _LOW_SHARE * conf))


class Tracker:
    """A pipeline filter that gives detections a `track_id`: 1, 2, … in the order in which objects are confirmed.

    An object is confirmed in the third frame from its first on, if it was seen twice by then, else when it is seen for
    the second time; before, its `track_id` is -1. One that is lost for up to two seconds keeps its number. Frames that
    the network skips do not count.

    Args:
        rate: frames a second, for frames that come without a time, or with one that does not advance.
        controls: detections below its `min_score` continue confirmed tracks, and neither begin nor confirm one.
    """

    def __init__(self, rate: float, controls: Controls | None = None) -> None:
        self._default_step_s = 1 / min(max(rate, 0.1), 1000.0)
        self._controls = controls or Controls()
        self._tracks = Tracks()
        self._confirmed = 0
        self._time_s: float | None = None
        self._steps: deque[float] = deque(maxlen=9)
        _assign(np.ones((1, 1)))  # imports scipy now, which would delay the first frames

    def __call__(self, frame: Frame, found: Detections) -> Detections:
        """The same detections in the same order, with `track_id`."""
        self._advance(frame)
        boxes = xyxy_to_cxcywh(found.xyxy.astype(np.float64))
        scores, columns = found.score.astype(np.float64), self._tracks.columns(found.class_id)
        owner = self._associate(frame, boxes, columns, scores, found.score >= np.float32(self._controls.min_score))
        numbers = self._number(owner)
        self._drop_lost()
        return replace(found, track_id=numbers)

    def _advance(self, frame: Frame) -> None:
        """Predict every track to the time of `frame`."""
        now = frame.time_s
        step = self._default_step_s if now is None or self._time_s is None else now - self._time_s
        if step <= 0:  # clocks that stand still or jump back
            step = self._default_step_s
        self._time_s = now
        self._steps.append(step)
        self._tracks.predict(step)
        self._drop_lost(missed_s=self._step_s)

    def _associate(self, frame: Frame, boxes: Boxes, columns: Rows, scores: Floats, high: Flags) -> Rows:
        """The row of each detection's track → (N,), -1 for none; tracks are updated and begun."""
        tracks, owner = self._tracks, np.full(len(boxes), -1, np.int64)
        if len(tracks) and len(boxes):
            overlap = _overlap_merit(tracks, boxes, columns)
            recent = (tracks.gap <= self._tentative_s) & (tracks.number > 0)
            _match(owner, lambda: overlap, ~tracks.duplicate, high)
            _match(owner, lambda: overlap, recent, ~high)
            _match(owner, lambda: _distance_merit(tracks, boxes, columns, frame.wh), ~tracks.duplicate, high)
            _match(owner, lambda: overlap, np.ones(len(tracks), bool), high)
            at = np.flatnonzero(owner >= 0)
            tracks.update(owner[at], boxes[at], columns[at], scores[at])
            self._separate(owner, boxes)
        self._begin(owner, boxes, columns, scores, high)
        return owner

    def _separate(self, owner: Rows, boxes: Boxes) -> None:
        """A duplicate that has left its object, or was with it nearly all the time, is an object of its own."""
        tracks = self._tracks
        for at in np.flatnonzero(owner >= 0):
            row = owner[at]
            if tracks.duplicate[row]:
                others = boxes[(owner >= 0) & (owner != row)]
                alone = _iou(boxes[at : at + 1], others).max(initial=0) < _APART
                always = tracks.hits[row] >= max(_TOGETHER_S / self._step_s, _TOGETHER_SHARE * (tracks.frames[row] + 1))
                tracks.duplicate[row] = not (alone or always)

    def _begin(self, owner: Rows, boxes: Boxes, columns: Rows, scores: Floats, high: Flags) -> None:
        """Begin tracks for the detections of high score that have none; `owner` is filled in."""
        new = np.flatnonzero((owner < 0) & high)
        if not len(new):
            return
        before = (owner >= 0) | (np.arange(len(boxes)) < new[:, None])  # (N, D): those it may duplicate
        other = columns[new, None] != columns[None]
        duplicate = (before & other & (_iou(boxes[new], boxes) >= _SAME_PLACE)).any(axis=1)
        owner[new] = self._tracks.add(boxes[new], columns[new], scores[new], duplicate)

    def _number(self, owner: Rows) -> Rows:
        """Confirm the tracks that were seen often enough → the detections' numbers (N,), -1 for none."""
        tracks = self._tracks
        for row in owner[owner >= 0]:
            enough = 2 if tracks.frames[row] == 2 else 3
            if (
                not (tracks.number[row] or tracks.duplicate[row])
                and tracks.frames[row] >= 2
                and tracks.hits[row] >= enough
            ):
                self._confirmed += 1
                tracks.number[row] = self._confirmed
        numbers = np.where(owner >= 0, tracks.number[owner] if len(tracks) else 0, 0)
        return np.where(numbers > 0, numbers, -1)

    def _drop_lost(self, missed_s: float = 0.0) -> None:
        """Drop what was lost for too long; `missed_s` longer while this frame's detections are not yet associated."""
        tracks = self._tracks
        longest = np.where(tracks.number > 0, _LOST_S + self._step_s / 2, self._tentative_s)
        tracks.keep(tracks.gap <= longest + missed_s)

    @property
    def _step_s(self) -> float:
        return median(self._steps)

    @property
    def _tentative_s(self) -> float:
        return max(_TENTATIVE_S, _TENTATIVE_STEPS * self._step_s)


def _match(owner: Rows, merit: Callable[[], Floats], tracks: Flags, found: Flags) -> None:
    """Fill in `owner` for those `found` (N,) that have none, from the `tracks` (T,) that have no detection yet."""
    tracks = tracks & np.isin(np.arange(len(tracks)), owner, invert=True)
    found = found & (owner < 0)
    if tracks.any() and found.any():
        rows, at = _assign(merit() * tracks[:, None] * found)
        owner[at] = rows


def _none(*shape: int) -> Floats:
    return np.zeros((0, *shape))


@dataclass(slots=True)
class Tracks:
    """The state of T tracks, one row each.

    Attributes:
        number: (T,) the number of a confirmed track; 0 before.
        hits: (T,) how often it was seen.
        frames: (T,) frames that the network detected in since its first.
        gap: (T,) seconds since it was last seen.
        centre, velocity: (T, 2) pixels, and pixels a second, by the filter, predicted to now.
        seen: (T, 2) the centre when it was last seen.
        wh: (T, 2) width and height in pixels.
        whole: (T, 2) the same before something began to occlude it.
        spread: (T, 3) the filter's covariance: of position, between both, of velocity.
        evidence: (T, C) decaying sum of the scores of each class; the columns are those of `classes`.
        duplicate: (T,) it began on top of an object of another class: perhaps the same object.
    """

    number: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    hits: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    frames: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    gap: Floats = field(default_factory=_none)
    centre: Floats = field(default_factory=lambda: _none(2))
    velocity: Floats = field(default_factory=lambda: _none(2))
    seen: Floats = field(default_factory=lambda: _none(2))
    wh: Floats = field(default_factory=lambda: _none(2))
    whole: Floats = field(default_factory=lambda: _none(2))
    spread: Floats = field(default_factory=lambda: _none(3))
    evidence: Floats = field(default_factory=lambda: _none(0))
    duplicate: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))
    classes: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.number)

    def predict(self, dt: float) -> None:
        """Predict all tracks `dt` seconds ahead."""
        position, both, speed = self.spread.T
        seen = self.gap == 0
        self.whole[seen] += (self.wh - self.whole)[seen] * (1 - np.exp(-dt / _WHOLE_S))
        self.centre += self.velocity * dt
        self.spread = np.stack(
            [
                position + 2 * both * dt + speed * dt**2 + _ACCELERATION * dt**3 / 3,
                both + speed * dt + _ACCELERATION * dt**2 / 2,
                speed + _ACCELERATION * dt,
            ],
            axis=1,
        )
        self.gap += dt
        self.frames += 1

    def update(self, rows: Rows, boxes: Boxes, columns: Rows, scores: Floats) -> None:
        """Tracks `rows` (M,) were seen as `boxes` (M, 4) of classes `columns` (M,) with `scores` (M,)."""
        position, both, speed = self.spread[rows].T
        gain, push = position / (position + _NOISE), both / (position + _NOISE)
        off = boxes[:, :2] - self.centre[rows]
        self.centre[rows] += gain[:, None] * off
        self.velocity[rows] += push[:, None] * off * (boxes[:, 2:] >= _CUT * self.whole[rows])
        self.spread[rows] = np.stack([position * (1 - gain), both * (1 - gain), speed - push * both], axis=1)
        self.wh[rows] += _RESIZE * (boxes[:, 2:] - self.wh[rows])
        self.whole[rows] = np.maximum(self.whole[rows], self.wh[rows])
        self.seen[rows] = self.centre[rows]
        self.evidence[rows] *= _DECAY
        self.evidence[rows, columns] += scores
        self.hits[rows] += 1
        self.gap[rows] = 0.0

    def add(self, boxes: Boxes, columns: Rows, scores: Floats, duplicate: Flags) -> Rows:
        """Begin tracks, not yet confirmed → their rows."""
        n, before = len(boxes), len(self)
        evidence = np.zeros((n, len(self.classes)))
        evidence[np.arange(n), columns] = scores
        new = Tracks(
            number=np.zeros(n, np.int64),
            hits=np.ones(n, np.int64),
            frames=np.zeros(n, np.int64),
            gap=np.zeros(n),
            centre=boxes[:, :2].copy(),
            velocity=np.zeros((n, 2)),
            seen=boxes[:, :2].copy(),
            wh=boxes[:, 2:].copy(),
            whole=boxes[:, 2:].copy(),
            spread=np.tile([_NOISE, 0.0, _SPEED], (n, 1)),
            evidence=evidence,
            duplicate=duplicate,
        )
        for name in _ROWS:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(new, name)]))
        return np.arange(before, before + n)

    def keep(self, mask: Flags) -> None:
        """Drop all tracks but those of `mask` (T,)."""
        for name in _ROWS:
            setattr(self, name, getattr(self, name)[mask])

    def columns(self, class_ids: Rows) -> Rows:
        """The columns of `evidence` for classes (N,), new ones for new classes."""
        columns = [self.classes.setdefault(int(c), len(self.classes)) for c in class_ids]
        missing = len(self.classes) - self.evidence.shape[1]
        if missing:
            self.evidence = np.pad(self.evidence, ((0, 0), (0, missing)))
        return np.array(columns, np.int64)

    def likeness(self, columns: Rows) -> Floats:
        """How well N classes fit each track → (T, N): 1 for its usual class, 0 for one it never had."""
        most = self.evidence.max(axis=1, initial=1e-9)
        likeness: Floats = (self.evidence / most[:, None])[:, columns]
        return likeness

    @property
    def boxes(self) -> Boxes:
        """Where the objects are expected now, (T, 4)."""
        return np.concatenate([self.centre, self.wh], axis=1)


_ROWS = [f.name for f in fields(Tracks) if f.name != "classes"]


def _iou(a: Boxes, b: Boxes) -> Floats:
    """IoU of (N, 4) and (M, 4) → (N, M)."""
    return iou(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b))


def _overlap_merit(tracks: Tracks, boxes: Boxes, columns: Rows) -> Floats:
    """How well N detections fit T tracks by IoU → (T, N), above 0 where they may belong together."""
    overlap, likeness = _iou(tracks.boxes, boxes), tracks.likeness(columns)
    least = np.where(likeness >= _SAME_CLASS, _OVERLAP, _OVERLAP_RENAMED)
    missed = tracks.gap > tracks.gap.min(initial=np.inf)
    merit = overlap - _OTHER_CLASS * (1 - likeness) - (_LOST * tracks.gap + _MISSED * missed)[:, None]
    return np.where(overlap >= least, np.maximum(merit, 0.01), 0)


def _distance_merit(tracks: Tracks, boxes: Boxes, columns: Rows, wh: tuple[int, int]) -> Floats:
    """The same by distance, for objects that were lost or moved farther than their size, and did not leave the image.

    An object that was hidden went on, or stopped, or anything between: the distance is that to the path from where it
    was last seen to where its speed would have brought it.
    """
    sizes = np.maximum(np.maximum(tracks.whole[:, None], boxes[None, :, 2:]), 1e-3)  # (T, N, 2)
    path = (tracks.centre - tracks.seen)[:, None] / sizes
    off = (boxes[None, :, :2] - tracks.seen[:, None]) / sizes
    along = np.clip((path * off).sum(2) / np.maximum((path * path).sum(2), 1e-9), 0, 1)
    distance = np.linalg.norm(off - along[..., None] * path, axis=2)
    known = (tracks.hits > 2).astype(int)
    near = np.minimum(_NEAR + np.take(_NEAR_A_SECOND, known) * tracks.gap, np.take(_NEAR_AT_MOST, known))[:, None]
    ratio = np.abs(np.log(np.maximum(tracks.whole[:, None], 1e-3) / np.maximum(boxes[None, :, 2:], 1e-3)))
    likeness = tracks.likeness(columns)
    beyond = np.maximum(-tracks.centre, tracks.centre - np.array(wh)) - tracks.whole / 2
    inside = (beyond <= 0).all(axis=1)[:, None]
    fits = (distance <= near) & (ratio.min(2) <= np.log(_SIZE)) & (likeness >= _SAME_CLASS) & inside
    merit = 1 - distance / near - _OTHER_CLASS * (1 - likeness) - _RESIZED * ratio.max(2)
    return np.where(fits, np.maximum(merit, 0.01), 0)


def _assign(merit: Floats) -> tuple[Rows, Rows]:
    """Pairs of rows and columns, each in one pair at most, with the greatest sum of merits; 0 makes no pair."""
    from scipy.optimize import linear_sum_assignment

    if not merit.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, columns = linear_sum_assignment(merit, maximize=True)
    good = merit[rows, columns] > 0
    return rows[good], columns[good]
