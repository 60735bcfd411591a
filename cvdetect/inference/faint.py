"""Detections just under the threshold: they continue a track through the moments in which its object is doubtful."""

from __future__ import annotations

from dataclasses import replace

from cvdetect.core.options import Conf, DetectOptions, ModelChoice
from cvdetect.core.progress import Controls, Silent
from cvdetect.models.resolve import resolve

__all__ = ["with_faint"]

_SHARE, _LOWEST = 0.5, 0.1


def with_faint(model: ModelChoice, detect: DetectOptions, controls: Controls) -> DetectOptions:
    """Options that let faint detections through as well; `controls.min_score` then holds them back from the results.

    The results stay the same: a weaker box suppresses no stronger one. With thresholds by class, or tiles, whose pieces
    are joined, there are no faint ones.
    """
    asked = detect.thresholds
    if asked.per_class or detect.tile is not None:
        return detect
    conf = resolve(model, Silent()).conf if asked.default is None else asked.default
    controls.min_score = max(controls.min_score, conf)
    return replace(detect, conf=Conf(min(conf, max(_LOWEST, _SHARE * conf))))
