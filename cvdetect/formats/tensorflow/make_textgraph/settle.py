"""One number said by several: by the graph itself, by its pipeline.config, by the person who runs us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cvdetect.core.errors import ModelFileError
from cvdetect.formats.tensorflow.make_textgraph.pipeline import Pipeline, Suppression

__all__ = ["Settler", "TextGraphOptions"]

T = TypeVar("T")
_CLOSE = 1e-3  # relative: configs write 0.3333 for a third, graphs hold float32


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGraphOptions:
    """What a person says about a graph; None and () where they say nothing.

    Attributes:
        pipeline: its pipeline.config.
        num_classes: how many classes it tells apart, background not counted.
        input_wh: width and height of its input in pixels.
        anchor_scales: SSD: the anchors' scale for each layer, as shares of the input's shorter side; Faster and Mask
            R-CNN: scales of the base anchor of 256 pixels.
        aspect_ratios: the anchors' width / height.
        anchor_stride: Faster and Mask R-CNN: pixels between anchors.
        box_scales: the box coder's y, x, height and width scales.
        score_converter: "SIGMOID", "SOFTMAX" or "IDENTITY".
        iou_threshold: of the graph's non-maximum suppression.
    """

    pipeline: Pipeline | None = None
    num_classes: int | None = None
    input_wh: tuple[int, int] | None = None
    anchor_scales: tuple[float, ...] = ()
    aspect_ratios: tuple[float, ...] = ()
    anchor_stride: int | None = None
    box_scales: tuple[float, float, float, float] | None = None
    score_converter: str | None = None
    iou_threshold: float | None = None


@dataclass(slots=True)
class Settler:
    """Settles one number after the other for the graph `name`; `facts` collects what was found, in words."""

    name: str
    facts: list[str] = field(default_factory=list)

    def settle(self, what: str, graph: T | None, config: T | None, option: tuple[str, T | None]) -> T:
        """The value that all who know one agree on; `option` is its option's name and what the person gave.

        Raises:
            ModelFileError: two contradict each other, or nobody knows; the message names the option.
        """
        flag, given = option
        said = [
            (who, value) for who, value in zip(_WHO, (graph, config, given), strict=True) if value not in (None, ())
        ]
        if not said:
            asked = f"give {flag} or --pipeline" if flag else "give --pipeline"
            raise ModelFileError(f"{self.name}: the graph does not say its {what}: {asked}")
        for who, value in said[1:]:
            if not _agree(said[0][1], value):
                raise ModelFileError(
                    f"{self.name}: {said[0][0]} says {what} {_shown(said[0][1])}, but {who.format(flag)} says "
                    f"{_shown(value)}: they are not of the same model"
                )
        self.facts.append(f"{what}: {_shown(said[-1][1])} ({', '.join(who.format(flag) for who, _ in said)})")
        return said[-1][1]

    def suppression(
        self, which: str, graph: Suppression | None, config: Suppression | None, iou: float | None
    ) -> Suppression:
        """Settles the four numbers of a suppression; `which` goes before their names, `iou` is the person's.

        Raises:
            ModelFileError: see `settle`.
        """
        pair = [(each.score, each.iou, each.per_class, each.total) if each else (None,) * 4 for each in (graph, config)]
        names = ("score threshold", "IoU threshold", "most detections of a class", "most detections")
        options = (("", None), ("--iou-threshold", iou), ("", None), ("", None))
        score, overlap, per_class, total = (
            self.settle(which + name, first, second, option)
            for name, first, second, option in zip(names, *pair, options, strict=True)
        )
        return Suppression(score, overlap, int(per_class), int(total))


_WHO = ("the graph", "pipeline.config", "{}")


def _agree(first: Any, second: Any) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return bool(first == second)
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=_CLOSE, atol=1e-9))


def _shown(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_shown(each) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
