"""What a detector found in one image: a frozen struct of arrays, and one row of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvdetect.core.errors import MissingPackage
from cvdetect.core.labels import LabelSet
from cvdetect.core.masks import Region, encode_rle, region, regions

if TYPE_CHECKING:
    import pandas
    import supervision

__all__ = ["Detection", "Detections"]

Mask = NDArray[np.float32]  # (h, w), 0 to 1
Index = slice | Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Detection:
    """One object in one image.

    Attributes:
        label: the name of its class.
        score: 0 to 1.
        xyxy: x1, y1, x2, y2 in pixels of the image, from its top left corner.
        class_id: the model's own number of the class.
        track_id: the number that stays with the object from frame to frame; None without tracking, and where it has
            none yet.
        mask: bool (H, W), the object's pixels of the image; None where the model gives no masks.
    """

    label: str
    score: float
    xyxy: tuple[float, float, float, float]
    class_id: int
    track_id: int | None = None
    mask: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N detections of one image, in that image's pixels (x right, y down, origin at the top left corner).

    In an image 768 wide and 576 high, a dog from 124.4 to 382.3 across and 218.9 to 518.5 down is
    ``xyxy = [[124.4, 218.9, 382.3, 518.5]]``: 257.9 pixels wide (382.3 - 124.4).

    >>> for d in found:
    ...     print(d.label, d.score, d.xyxy)
    >>> found[0].label, found[:3], found[found.score > 0.5]  # a Detection, and Detections

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
        labels: names of the classes; None: ``class_0`` and so on.
        image_wh: width and height of the image in pixels; None where that is not known, and masks have no pixels then.

    Raises:
        ValueError: an array has another shape than stated, or holds NaN or infinity.
    """

    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int64]
    score: NDArray[np.float32]
    track_id: NDArray[np.int64] | None = None
    masks: tuple[Mask, ...] | None = None
    mask_xyxy: NDArray[np.float32] | None = None
    labels: LabelSet | None = None
    image_wh: tuple[int, int] | None = None

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

        Track ids and masks are kept where every part has them that holds any detection; labels and the image's size
        are those of the first.

        Raises:
            ValueError: two of them have different labels, so that a class number would get another name.
        """
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        if any(part.labels != parts[0].labels for part in parts):
            raise ValueError(
                "expected the same labels in all parts, got several, whose class numbers mean other things"
            )
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
            parts[0].labels,
            parts[0].image_wh,
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Detection: ...
    @overload
    def __getitem__(self, index: Index) -> Detections: ...
    def __getitem__(self, index: int | np.integer[Any] | Index) -> Detection | Detections:
        """The detection at a position, or those of a slice, a mask (N,) or an array of positions."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"no detection {index}: there are {len(self)}")
            return self._row(int(index) % len(self))
        rows = np.arange(len(self))[index]
        return replace(
            self,
            xyxy=self.xyxy[index],
            class_id=self.class_id[index],
            score=self.score[index],
            track_id=None if self.track_id is None else self.track_id[index],
            masks=None if self.masks is None else tuple(self.masks[row] for row in rows),
            mask_xyxy=None if self.mask_xyxy is None else self.mask_xyxy[index],
        )

    def __iter__(self) -> Iterator[Detection]:
        """One `Detection` after another."""
        return (self._row(row) for row in range(len(self)))

    def _row(self, row: int) -> Detection:
        x1, y1, x2, y2 = self.xyxy[row].tolist()
        class_id = int(self.class_id[row])
        mask = None
        if self.masks is not None and self.mask_xyxy is not None and self.image_wh is not None:
            mask = region(self.masks[row], self.mask_xyxy[row], self.image_wh).on_image(self.image_wh)
        return Detection(
            self.label(class_id), float(self.score[row]), (x1, y1, x2, y2), class_id, self.number(row), mask
        )

    def label(self, class_id: int) -> str:
        """The name of a class."""
        return self.labels.label(class_id) if self.labels else f"class_{class_id}"

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

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain values, with the keys of the command line's JSON: class_id, label, category_id (where the label set has
        ids of its own), score, box, track_id (where it has one) and mask (COCO's compressed run lengths).

        Raises:
            ValueError: there are masks, but `image_wh` is not known.
        """
        masks = [encode_rle(each, self.image_wh) for each in self._regions() if self.image_wh]
        return [self._as_dict(row, masks) for row in range(len(self))]

    def _as_dict(self, row: int, masks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        class_id = int(self.class_id[row])
        category_id = self.labels.category_id(class_id) if self.labels else None
        number = self.number(row)
        return {
            "class_id": class_id,
            "label": self.label(class_id),
            **({} if category_id is None else {"category_id": category_id}),
            "score": round(float(self.score[row]), 6),
            "box": [round(float(v), 2) for v in self.xyxy[row]],
            **({} if number is None else {"track_id": number}),
            **({"mask": masks[row]} if masks else {}),
        }

    def _regions(self) -> list[Region]:
        """The pixels of each detection; [] where there are no masks."""
        if self.masks is None:
            return []
        if self.image_wh is None:
            raise ValueError("masks need the size of their image: give image_wh")
        return regions(self, self.image_wh)

    def to_supervision(self) -> supervision.Detections:
        """The same as supervision has it, with labels as ``data["class_name"]``.

        Raises:
            MissingPackage: supervision is not installed.
            ValueError: there are masks, but `image_wh` is not known.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingPackage("to_supervision() needs supervision: run pip install supervision") from error
        masks = [each.on_image(self.image_wh) for each in self._regions() if self.image_wh]  # (H, W) each
        return supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.score.copy(),
            class_id=self.class_id.copy(),
            mask=np.stack(masks) if masks else None,  # (N, H, W)
            tracker_id=None if self.track_id is None else self.track_id.copy(),
            data={"class_name": np.array([self.label(int(c)) for c in self.class_id], dtype=str)},
        )

    def to_pandas(self) -> pandas.DataFrame:
        """A table with a row a detection and the columns label, class_id, score, x1, y1, x2, y2, and track_id if any.

        Raises:
            MissingPackage: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackage("to_pandas() needs pandas: run pip install pandas") from error
        columns = {
            "label": np.array([self.label(int(c)) for c in self.class_id], object),  # texts, also if there are none
            "class_id": self.class_id,
            "score": self.score,
            **dict(zip(("x1", "y1", "x2", "y2"), self.xyxy.T, strict=True)),
            **({} if self.track_id is None else {"track_id": self.track_id}),
        }
        return pandas.DataFrame(columns)
