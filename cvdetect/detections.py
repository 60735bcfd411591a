"""What a detector found in one image: a frozen struct of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Detections"]

Index = int | slice | Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N detections of one image, in that image's pixels (x right, y down, origin at the top left corner).

    In a picture 768 wide and 576 high, a dog from 124.4 to 382.3 across and 218.9 to 518.5 down is
    ``xyxy = [[124.4, 218.9, 382.3, 518.5]]``: 257.9 pixels wide (382.3 - 124.4).

    Attributes:
        xyxy: float32 (N, 4): x1, y1, x2, y2 with x1 ≤ x2 and y1 ≤ y2.
        class_id: int64 (N,): the model's own class numbers.
        score: float32 (N,): 0 to 1.
        track_id: int64 (N,) or None: numbers that stay with an object from frame to frame.

    Raises:
        ValueError: an array has another shape than stated, or holds NaN or infinity.
    """

    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int64]
    score: NDArray[np.float32]
    track_id: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        self._set("xyxy", self.xyxy, np.float32, (n, 4))
        self._set("class_id", self.class_id, np.int64, (n,))
        self._set("score", self.score, np.float32, (n,))
        if self.track_id is not None:
            self._set("track_id", self.track_id, np.int64, (n,))
        if not (np.isfinite(self.xyxy).all() and np.isfinite(self.score).all()):
            raise ValueError("expected finite boxes and scores, got NaN or infinity")
        if (self.xyxy[:, 2:] < self.xyxy[:, :2]).any():
            raise ValueError("expected x1 <= x2 and y1 <= y2, got a box with its corners swapped")

    def _set(self, name: str, value: ArrayLike, dtype: type, shape: tuple[int, ...]) -> None:
        array: NDArray[Any] = np.asarray(value, dtype=dtype)
        if array.size == 0:
            array = array.reshape(shape)
        if array.shape != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {array.shape}")
        object.__setattr__(self, name, array)

    @classmethod
    def empty(cls) -> Detections:
        """No detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))

    @classmethod
    def concat(cls, parts: Iterable[Detections]) -> Detections:
        """All detections of `parts` in one, in their order; track ids are kept where every part has them."""
        parts = list(parts)
        if not parts:
            return cls.empty()
        tracks = [p.track_id for p in parts if p.track_id is not None]
        return cls(
            np.concatenate([p.xyxy for p in parts]),  # (ΣN, 4)
            np.concatenate([p.class_id for p in parts]),  # (ΣN,)
            np.concatenate([p.score for p in parts]),  # (ΣN,)
            np.concatenate(tracks) if len(tracks) == len(parts) else None,
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: Index) -> Detections:
        """The detections at `index`: a mask, a slice, an array of positions, or one position."""
        picked: list[int] | Index = [int(index)] if isinstance(index, (int, np.integer)) else index
        track_id = None if self.track_id is None else self.track_id[picked]
        return Detections(self.xyxy[picked], self.class_id[picked], self.score[picked], track_id)

    def __iter__(self) -> Iterator[Detections]:
        """One `Detections` of length 1 after another."""
        return (self[i] for i in range(len(self)))

    def best_first(self) -> Detections:
        """The same detections by falling score; equal scores keep their order."""
        return self[np.argsort(-self.score, kind="stable")]
