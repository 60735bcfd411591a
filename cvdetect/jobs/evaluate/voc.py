"""PASCAL VOC's average precision, by 11 points (until 2009) and by all points (from 2010).

Sources: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88 (2010), section 4.2, and the
devkit's VOCap.m and VOCevaldet.m.
"""

from __future__ import annotations

import numpy as np

from cvdetect.jobs.evaluate.arrays import Flags, Floats

__all__ = ["ap_11_points", "ap_all_points", "precision_envelope"]


def ap_11_points(right: Flags, positives: int) -> float:
    """The mean over recalls 0, 0.1, …, 1 of the best precision at that recall or a higher one.

    Args:
        right: bool (N,): whether each detection is right, by falling score; ignored ones left out.
        positives: how many objects are to be found, at least 1.
    """
    hits = np.cumsum(right)  # (N,)
    best = precision_envelope(right)  # (N,)
    # recall >= k/10 in whole numbers: 0.1 has no exact float, and 3 * 0.1 > 0.3 would lose a point.
    points = [best[10 * hits >= k * positives] for k in range(11)]
    return float(sum(point[0] for point in points if point.size) / 11)


def ap_all_points(right: Flags, positives: int) -> float:
    """The area under precision over recall, precision made to fall only; arguments as for `ap_11_points`."""
    return float(precision_envelope(right)[right].sum() / positives)  # each right detection is a step of 1/positives


def precision_envelope(right: Flags) -> Floats:
    """The best precision from each detection on, (N,)."""
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]
