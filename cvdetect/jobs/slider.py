"""The window's confidence slider: where it starts, how far down it goes, and what the detector must let through."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cvdetect.core.options import Conf, DetectOptions, ModelChoice
from cvdetect.core.progress import Silent
from cvdetect.models.resolve import resolve

__all__ = ["Slider", "slider_for"]

_LOWEST = 0.05


@dataclass(frozen=True, slots=True)
class Slider:
    """Where the slider starts, the lowest score it reaches, and the options the detector runs with."""

    start: float
    lowest: float
    detect: DetectOptions


def slider_for(model: ModelChoice, detect: DetectOptions) -> Slider:
    """One threshold for all classes: the slider starts there and goes down to 0.05, as the detector lets that through.

    Thresholds by class stay in the detector: the slider starts at the lowest of them and raises what it is above.
    """
    asked = detect.thresholds
    conf = resolve(model, Silent()).conf if asked.default is None else asked.default
    if asked.per_class:
        lowest = min([conf, *asked.per_class.values()])
        return Slider(lowest, lowest, detect)
    lowest = min(conf, _LOWEST)
    return Slider(conf, lowest, replace(detect, conf=Conf(lowest)))
