"""Detections just under the threshold: they continue a track through the moments in which its object is doubtful."""

from __future__ import annotations

from dataclasses import replace

from cvdetect.events import Silent
from cvdetect.loader.resolve import resolve
from cvdetect.options import Conf, DetectOptions, ModelChoice

__all__ = ["with_faint"]

_SHARE, _LOWEST = 0.5, 0.1


def with_faint(model: ModelChoice, detect: DetectOptions) -> tuple[DetectOptions, float]:
    """Options that let faint detections through as well, and the score that results need (`Controls.min_score`).

    The results stay the same: a weaker box suppresses no stronger one. With thresholds by class, or tiles, whose pieces
    are joined, there are no faint ones, and the score is 0.
    """
    asked = detect.thresholds
    if asked.per_class or detect.tile is not None:
        return detect, 0.0
    conf = resolve(model, Silent()).conf if asked.default is None else asked.default
    return replace(detect, conf=Conf(min(conf, max(_LOWEST, _SHARE * conf)))), conf
