"""What is remembered of every object: where it is, how fast it moves, how large it is, and what it was called."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "Tracks"]

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
