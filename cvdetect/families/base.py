"""What every decoder takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.detections import Detections
from cvdetect.core.errors import DecodeError

__all__ = ["DecodeOptions", "Decoder", "NetInput", "Outputs", "Priors", "Thresholds", "check_finite", "pick_classes"]

Floats = NDArray[np.float32]
Outputs = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class NetInput:
    """What went into the network: how many images, and the input's width and height in pixels."""

    count: int
    wh: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The score each class must reach (≥) to be a detection.

    Attributes:
        default: for classes that `per_class` does not name.
        per_class: class id → its own threshold.
        only: class ids that may be found at all; None for all.
    """

    default: float = 0.5
    per_class: Mapping[int, float] = field(default_factory=dict)
    only: frozenset[int] | None = None

    @property
    def floor(self) -> float:
        """The lowest threshold of any class: a score below it can be dropped unseen."""
        return min([self.default, *self.per_class.values()])

    def table(self, classes: int) -> Floats:
        """Threshold of each class id below `classes` → (classes,); infinity where the class may not be found."""
        table = np.full(classes, self.default, np.float32)
        for class_id, value in self.per_class.items():
            if class_id < classes:
                table[class_id] = value
        if self.only is not None:
            table[[c for c in range(classes) if c not in self.only]] = np.inf
        return table


@dataclass(frozen=True, slots=True, eq=False)
class Priors:
    """Anchors that a model's file lists one by one.

    Attributes:
        boxes: (N, 4) y and x of the centre, height and width, in shares of the input.
        scales: what codes are divided by, in the same order.
        classes: how many classes there are, background not counted.
    """

    boxes: Floats
    scales: tuple[float, float, float, float]
    classes: int


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What a decoder must know that the arrays do not say.

    Attributes:
        thresholds: score thresholds by class.
        multi_label: every class over its threshold is a detection, not only the best of a box.
        anchors: (width, height) in grid cells, an anchor each; region heads only.
        priors: anchors of TensorFlow Lite's SSD.
        in_pixels: DetectionOutput's boxes come in pixels of the input, not in shares of it.
    """

    thresholds: Thresholds = Thresholds()
    multi_label: bool = False
    anchors: tuple[tuple[float, float], ...] = ()
    priors: Priors | None = None
    in_pixels: bool = False


# (outputs, what went in, options) -> one Detections an image, in network pixels, before suppression
Decoder = Callable[[Outputs, NetInput, DecodeOptions], list[Detections]]


def pick_classes(scores: Floats, options: DecodeOptions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which class of which box is a detection: class scores (N, C) → row numbers (M,), class ids (M,)."""
    limits = options.thresholds.table(scores.shape[1])  # (C,)
    if options.multi_label:
        rows, classes = np.nonzero(scores >= limits)
        return rows, classes
    best = scores.argmax(axis=1)  # (N,)
    rows = np.flatnonzero(scores[np.arange(len(scores)), best] >= limits[best])  # (M,)
    return rows, best[rows]


def check_finite(values: Floats, what: str) -> None:
    """Raise DecodeError where the network gave NaN or infinity: its weights are damaged or another network's."""
    if not np.isfinite(values).all():
        raise DecodeError(
            f"the network gave {what} that are not numbers (NaN): its weights are damaged or belong to another "
            "network; check the file (cvdetect models verify) or try --precision fp32"
        )
