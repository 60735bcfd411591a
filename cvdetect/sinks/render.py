"""Frames as people see them, with boxes and pixelated classes; drawn once, however many sinks need them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame, Image
from cvdetect.core.labels import LabelSet
from cvdetect.sinks.draw import DrawStyle, draw, pixelate

__all__ = ["Renderer", "blurred_classes"]


class Renderer:
    """Draws detections and pixelates the classes that must not be seen.

    Args:
        labels: names of the classes.
        style: how boxes and labels look.
        blur: class ids to pixelate in every frame; None for none.
    """

    def __init__(self, labels: LabelSet, style: DrawStyle, blur: frozenset[int] | None = None) -> None:
        self._labels = labels
        self._style = style
        self._blur = blur
        self._clean: tuple[Frame, Image] | None = None
        self._drawn: tuple[Frame, Image] | None = None

    def clean(self, frame: Frame, found: Detections) -> Image:
        """The frame without boxes, (H, W, 3) BGR."""
        if not self._blur:
            return frame.image
        if self._clean is None or self._clean[0] is not frame:
            self._clean = frame, pixelate(frame.image, found.xyxy[np.isin(found.class_id, list(self._blur))])
        return self._clean[1]

    def drawn(self, frame: Frame, found: Detections) -> Image:
        """The frame with boxes and labels, (H, W, 3) BGR."""
        if self._drawn is None or self._drawn[0] is not frame:
            self._drawn = frame, draw(self.clean(frame, found), found, self._labels.label, self._style)
        return self._drawn[1]


def blurred_classes(names: Sequence[str], labels: LabelSet) -> frozenset[int] | None:
    """Class ids to pixelate; "all" names every class.

    Raises:
        UsageError: no such class.
    """
    if not names:
        return None
    if "all" in names:
        return frozenset(labels.class_ids())
    return frozenset(labels.find_each(names))
