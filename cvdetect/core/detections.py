"""What a detector found in one image: a frozen struct of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Detections"]

Mask = NDArray[np.float32]  # (h, w), 0 to 1
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
        track_id: int64 (N,) or None: numbers that stay with an object from frame to frame, from 1 on; negative where
            an object has none yet.
        masks: N arrays float32 (h, w), each of its own size, or None: how probable (0 to 1) it is that the object is
            there, on a grid over the object's box in `mask_xyxy` (see `cvdetect.core.masks`).
        mask_xyxy: float32 (N, 4) or None: the boxes that the masks belong to, where they differ from `xyxy`: clipping a
            box to its image must not move its mask. Without it, masks belong to `xyxy` as it is at construction.

    Raises:
        ValueError: an array has another shape than stated, or holds NaN or infinity.
    """

    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int64]
    score: NDArray[np.float32]
    track_id: NDArray[np.int64] | None = None
    masks: tuple[Mask, ...] | None = None
    mask_xyxy: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        self._set("xyxy", self.xyxy, np.float32, (n, 4))
        self._set("class_id", self.class_id, np.int64, (n,))
        self._set("score", self.score, np.float32, (n,))
        if self.track_id is not None:
            self._set("track_id", self.track_id, np.int64, (n,))
        self._set_masks(n)
        if not (np.isfinite(self.xyxy).all() and np.isfinite(self.score).all()):
            raise ValueError("expected finite boxes and scores, got NaN or infinity")
        if (self.xyxy[:, 2:] < self.xyxy[:, :2]).any():
            raise ValueError("expected x1 <= x2 and y1 <= y2, got a box with its corners swapped")

    def _set_masks(self, n: int) -> None:
        if self.masks is None:
            object.__setattr__(self, "mask_xyxy", None)
            return
        masks = tuple(np.asarray(mask, np.float32) for mask in self.masks)
        if len(masks) != n:
            raise ValueError(f"expected {n} masks, got {len(masks)}")
        for mask in masks:
            if mask.ndim != 2 or not mask.size:
                raise ValueError(f"expected masks of shape (h, w), got {mask.shape}")
            if not (mask.min() >= 0 and mask.max() <= 1):  # NaN is neither
                raise ValueError("expected masks from 0 to 1")
        object.__setattr__(self, "masks", masks)
        self._set("mask_xyxy", self.xyxy if self.mask_xyxy is None else self.mask_xyxy, np.float32, (n, 4))
        if not np.isfinite(np.asarray(self.mask_xyxy)).all():
            raise ValueError("expected finite boxes of masks, got NaN or infinity")

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
        """All detections of `parts` in one, in their order.

        Track ids and masks are kept where every part has them that holds any detection.
        """
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        tracks = [p.track_id for p in parts if p.track_id is not None]
        masks = [p.masks for p in parts if p.masks is not None]
        boxes = [p.mask_xyxy for p in parts if p.mask_xyxy is not None]
        return cls(
            np.concatenate([p.xyxy for p in parts]),  # (ΣN, 4)
            np.concatenate([p.class_id for p in parts]),  # (ΣN,)
            np.concatenate([p.score for p in parts]),  # (ΣN,)
            np.concatenate(tracks) if len(tracks) == len(parts) else None,
            tuple(mask for part in masks for mask in part) if len(masks) == len(parts) else None,
            np.concatenate(boxes) if len(boxes) == len(parts) else None,  # (ΣN, 4)
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: Index) -> Detections:
        """The detections at `index`: a mask, a slice, an array of positions, or one position."""
        picked: list[int] | Index = [int(index)] if isinstance(index, (int, np.integer)) else index
        track_id = None if self.track_id is None else self.track_id[picked]
        found = Detections(self.xyxy[picked], self.class_id[picked], self.score[picked], track_id)
        if self.masks is None or self.mask_xyxy is None:
            return found
        masks = tuple(self.masks[i] for i in np.arange(len(self))[picked])
        return replace(found, masks=masks, mask_xyxy=self.mask_xyxy[picked])

    def __iter__(self) -> Iterator[Detections]:
        """One `Detections` of length 1 after another."""
        return (self[i] for i in range(len(self)))

    def number(self, row: int) -> int | None:
        """The track id of the detection in `row`, None where it has none (yet)."""
        if self.track_id is None or self.track_id[row] < 0:
            return None
        return int(self.track_id[row])

    def translate(self, dx: float, dy: float) -> Detections:
        """The same detections `dx` pixels to the right and `dy` down."""
        by = np.array([dx, dy, dx, dy], np.float32)
        mask_xyxy = None if self.mask_xyxy is None else self.mask_xyxy + by
        return replace(self, xyxy=self.xyxy + by, mask_xyxy=mask_xyxy)

    def sort_by_score(self) -> Detections:
        """The same detections by falling score; equal scores keep their order."""
        return self[np.argsort(-self.score, kind="stable")]
