"""What is remembered of every object: where it is, how fast it moves, how large it is, and what it was called."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "Tracks", "by_distance", "by_overlap", "overlaps", "pairs"]


Floats = NDArray[np.float64]
Boxes = NDArray[np.float64]  # (N, 4): centre x, centre y, width, height, in pixels

# A Kalman filter of constant velocity in units of the object's own size, so that one covariance serves both axes.
_NOISE = 0.05**2  # variance of a detected centre: a twentieth of the size
_SPEED = 4.0**2  # variance of a new object's speed, in sizes a second
_PUSH = 1.0**2  # spectral density of its acceleration, in sizes² a second³
_RESIZE = 0.5  # how much of a new width and height is believed
_WHOLE_S = 2.0  # how fast a smaller size is believed to be the whole object's
_CUT = 0.9  # a box that is less than this share of the whole object is cut: its centre does not show the speed
_FORGET = 0.9  # what a class keeps of its evidence at each sight


def _none(*shape: int) -> Floats:
    return np.zeros((0, *shape))


@dataclass(slots=True)
class Tracks:
    """T tracks, one row each.

    Attributes:
        number: (T,) the number of a confirmed track; 0 before.
        hits: (T,) how often it was seen.
        looks: (T,) looked-at frames since its first.
        gap: (T,) seconds since it was last seen.
        centre, velocity: (T, 2) pixels, and pixels a second, by the filter, predicted to now.
        seen: (T, 2) the centre when it was last seen.
        wh: (T, 2) width and height in pixels.
        whole: (T, 2) the same before something began to hide a part of it.
        spread: (T, 3) the filter's covariance: of position, between both, of velocity.
        evidence: (T, C) how much each class was seen; the columns are those of `classes`.
        shadow: (T,) it began on top of another object under another name: perhaps the same object.
    """

    number: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    hits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    looks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    gap: Floats = field(default_factory=_none)
    centre: Floats = field(default_factory=lambda: _none(2))
    velocity: Floats = field(default_factory=lambda: _none(2))
    seen: Floats = field(default_factory=lambda: _none(2))
    wh: Floats = field(default_factory=lambda: _none(2))
    whole: Floats = field(default_factory=lambda: _none(2))
    spread: Floats = field(default_factory=lambda: _none(3))
    evidence: Floats = field(default_factory=lambda: _none(0))
    shadow: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    classes: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.number)

    def predict(self, dt: float) -> None:
        """Go `dt` seconds on."""
        position, both, speed = self.spread.T
        seen = self.gap == 0
        self.whole[seen] += (self.wh - self.whole)[seen] * (1 - np.exp(-dt / _WHOLE_S))
        self.centre += self.velocity * dt
        self.spread = np.stack(
            [
                position + 2 * both * dt + speed * dt**2 + _PUSH * dt**3 / 3,
                both + speed * dt + _PUSH * dt**2 / 2,
                speed + _PUSH * dt,
            ],
            axis=1,
        )
        self.gap += dt
        self.looks += 1

    def update(self, rows: NDArray[np.int64], boxes: Boxes, columns: NDArray[np.int64], scores: Floats) -> None:
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
        self.evidence[rows] *= _FORGET
        self.evidence[rows, columns] += scores
        self.hits[rows] += 1
        self.gap[rows] = 0.0

    def add(
        self, boxes: Boxes, columns: NDArray[np.int64], scores: Floats, shadow: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """New tracks, not yet confirmed → their rows."""
        n, before = len(boxes), len(self)
        evidence = np.zeros((n, len(self.classes)))
        evidence[np.arange(n), columns] = scores
        new = Tracks(
            number=np.zeros(n, np.int64),
            hits=np.ones(n, np.int64),
            looks=np.zeros(n, np.int64),
            gap=np.zeros(n),
            centre=boxes[:, :2].copy(),
            velocity=np.zeros((n, 2)),
            seen=boxes[:, :2].copy(),
            wh=boxes[:, 2:].copy(),
            whole=boxes[:, 2:].copy(),
            spread=np.tile([_NOISE, 0.0, _SPEED], (n, 1)),
            evidence=evidence,
            shadow=shadow,
        )
        for name in _ROWS:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(new, name)]))
        return np.arange(before, before + n)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Forget the others."""
        for name in _ROWS:
            setattr(self, name, getattr(self, name)[mask])

    def columns(self, class_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The columns of `evidence` for classes (N,), new ones where a class was never seen."""
        columns = [self.classes.setdefault(int(c), len(self.classes)) for c in class_ids]
        missing = len(self.classes) - self.evidence.shape[1]
        if missing:
            self.evidence = np.pad(self.evidence, ((0, 0), (0, missing)))
        return np.array(columns, np.int64)

    def likeness(self, columns: NDArray[np.int64]) -> Floats:
        """How well N classes go with each track → (T, N): 1 its usual name, 0 one it never had."""
        most = self.evidence.max(axis=1, initial=1e-9)
        likeness: Floats = (self.evidence / most[:, None])[:, columns]
        return likeness

    @property
    def boxes(self) -> Boxes:
        """Where they should be now."""
        return np.concatenate([self.centre, self.wh], axis=1)


_ROWS = [f.name for f in fields(Tracks) if f.name != "classes"]


# Which detection goes on which track: by overlap, or, where there is none, by distance in sizes of the object.

Rows = NDArray[np.int64]

_OVERLAP = 0.15  # the least IoU for a name that the track has had
_OVERLAP_RENAMED = 0.5  # and for one that it never had: a label may flicker, a bicycle must not become its person
_SAME_NAME = 0.3  # likeness from which a name counts as the track's own
_NAME = 0.3  # what another name costs, in IoU
_MISSED = 0.1  # what it costs not to have been seen last, in IoU: who passes in front keeps the number
_LOST = 0.1  # what each second since the last sight costs, in IoU

_NEAR = 0.5  # the farthest a detection may lie without time passing, in sizes of the object
_NEAR_A_SECOND = (6.0, 1.5)  # and for each second since the last sight: before its speed is known, and after
_NEAR_AT_MOST = (1.5, 2.5)
_SIZE = 1.6  # width or height may be this many times another; the other one may be cut by what hides it
_RESIZED = 0.1  # what another size costs, for each factor of e


def overlaps(a: Boxes, b: Boxes) -> Floats:
    """IoU of (N, 4) and (M, 4) → (N, M)."""
    low = np.maximum((a[:, :2] - a[:, 2:] / 2)[:, None], (b[:, :2] - b[:, 2:] / 2)[None])
    high = np.minimum((a[:, :2] + a[:, 2:] / 2)[:, None], (b[:, :2] + b[:, 2:] / 2)[None])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    every = np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None] - shared
    return np.asarray(shared / np.maximum(every, 1e-9))


def by_overlap(tracks: Tracks, boxes: Boxes, columns: Rows) -> Floats:
    """How well N detections go with T tracks → (T, N), above 0 where at all."""
    iou, likeness = overlaps(tracks.boxes, boxes), tracks.likeness(columns)
    least = np.where(likeness >= _SAME_NAME, _OVERLAP, _OVERLAP_RENAMED)
    missed = tracks.gap > tracks.gap.min(initial=np.inf)
    merit = iou - _NAME * (1 - likeness) - (_LOST * tracks.gap + _MISSED * missed)[:, None]
    return np.where(iou >= least, np.maximum(merit, 0.01), 0)


def by_distance(tracks: Tracks, boxes: Boxes, columns: Rows, wh: tuple[int, int]) -> Floats:
    """The same for objects that were lost, or moved farther than their size; none where they went out of the picture.

    An object that was hidden went on, or stopped, or anything between: the distance is that to the way from where it
    was last seen to where its speed would have brought it.
    """
    sizes = np.maximum(np.maximum(tracks.whole[:, None], boxes[None, :, 2:]), 1e-3)  # (T, N, 2)
    way = (tracks.centre - tracks.seen)[:, None] / sizes
    off = (boxes[None, :, :2] - tracks.seen[:, None]) / sizes
    along = np.clip((way * off).sum(2) / np.maximum((way * way).sum(2), 1e-9), 0, 1)
    distance = np.linalg.norm(off - along[..., None] * way, axis=2)
    known = (tracks.hits > 2).astype(int)
    near = np.minimum(_NEAR + np.take(_NEAR_A_SECOND, known) * tracks.gap, np.take(_NEAR_AT_MOST, known))[:, None]
    ratio = np.abs(np.log(np.maximum(tracks.whole[:, None], 1e-3) / np.maximum(boxes[None, :, 2:], 1e-3)))
    likeness = tracks.likeness(columns)
    beyond = np.maximum(-tracks.centre, tracks.centre - np.array(wh)) - tracks.whole / 2
    inside = (beyond <= 0).all(axis=1)[:, None]
    fits = (distance <= near) & (ratio.min(2) <= np.log(_SIZE)) & (likeness >= _SAME_NAME) & inside
    merit = 1 - distance / near - _NAME * (1 - likeness) - _RESIZED * ratio.max(2)
    return np.where(fits, np.maximum(merit, 0.01), 0)


def pairs(merit: Floats) -> tuple[Rows, Rows]:
    """The pairs of rows and columns (one of each at most) with the greatest sum of merits; those of 0 are none."""
    from scipy.optimize import linear_sum_assignment

    if not merit.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, columns = linear_sum_assignment(merit, maximize=True)
    good = merit[rows, columns] > 0
    return rows[good], columns[good]
