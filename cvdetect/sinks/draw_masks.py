"""Masks of detections, laid over a picture in their classes' colours."""

from __future__ import annotations

import numpy as np

from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.frame import Image
from cvdetect.core.masks import regions
from cvdetect.sinks.palette import class_colour

__all__ = ["tint"]

_OPACITY = 0.45  # what is below stays to be seen, also where two masks lie over each other


def tint(image: Image, detections: Detections) -> Image:
    """A copy of `image` (H, W, 3) with masks in translucent colour, those of better scores above those of worse."""
    out: Image = image.copy()
    found = regions(detections, (image.shape[1], image.shape[0]))
    order = np.argsort(detections.score, kind="stable") if found else ()
    for i in order:
        if found[i].inside.size:
            below = out[found[i].window]  # (h, w, 3), a view
            colour = np.full_like(below, class_colour(int(detections.class_id[i])))
            tinted = cv2.addWeighted(colour, _OPACITY, below, 1 - _OPACITY, 0)
            np.copyto(below, tinted, where=found[i].inside[:, :, None])
    return out
