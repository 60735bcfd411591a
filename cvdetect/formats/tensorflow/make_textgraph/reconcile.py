"""Numbers that several sources state: the graph itself, its pipeline.config and the user's options must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.core.printable import counted
from cvdetect.formats.tensorflow.make_textgraph.pipeline import Nms, Pipeline

__all__ = ["Reconciler", "TextGraphOptions"]

T = TypeVar("T")
_FILES = ("the graph", "pipeline.config")
_CLOSE = 1e-3  # relative: configs write 0.3333 for a third, graphs hold float32


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGraphOptions:
    """What the user states about a graph; None and () where nothing is stated.

    Attributes:
        pipeline: its pipeline.config.
        num_classes: how many classes it detects, background not counted.
        input_wh: width and height of its input in pixels.
        anchor_scales: SSD: the anchors' scale for each layer, relative to the input's shorter side; Faster and Mask
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
class Reconciler:
    """Settles one number after the other for the graph `name`; `facts` collects values and their sources as text."""

    name: str
    facts: list[str] = field(default_factory=list)

    def settle(self, what: str, graph: T | None, config: T | None, option: tuple[str, T | None]) -> T:
        """The value that all sources which have one agree on.

        Args:
            what: what the number is called.
            graph, config: its value in the graph and in pipeline.config, None where they have none.
            option: the arguments that give it, separated by spaces, and the value given.

        Raises:
            ModelFileError: two sources contradict each other, or none has a value; the message names the argument.
        """
        names, given = option
        named = " and ".join(arg(name) for name in names.split())
        sources = zip((*_FILES, named), (graph, config, given), strict=True)
        stated = [(source, value) for source, value in sources if value not in (None, ())]
        if not stated:
            hint = " or ".join([*([named] if named else []), arg("pipeline")])
            raise ModelFileError(f"{self.name}: the graph does not state its {what}: give {hint}")
        (first, agreed), *others = stated
        for source, value in others:
            if not _agree(agreed, value):
                raise ModelFileError(
                    f"{self.name}: {first} has {_named(what, agreed)}, but {source} {_verb(source)} "
                    f"{_shown(what, value)}: they are not of the same model"
                )
        last = stated[-1][1]
        self.facts.append(f"{what}: {_as_text(last)} ({', '.join(source for source, _ in stated)})")
        return last

    def nms(self, which: str, graph: Nms | None, config: Nms | None, iou: float | None) -> Nms:
        """Settles the four numbers of a non-maximum suppression; `which` precedes their names, `iou` is the user's.

        Raises:
            ModelFileError: see `settle`.
        """
        pair = [(each.score, each.iou, each.per_class, each.total) if each else (None,) * 4 for each in (graph, config)]
        names = ("score threshold", "IoU threshold", "most detections of a class", "most detections")
        options = (("", None), ("iou_threshold", iou), ("", None), ("", None))
        score, overlap, per_class, total = (
            self.settle(which + name, first, second, option)
            for name, first, second, option in zip(names, *pair, options, strict=True)
        )
        return Nms(score, overlap, int(per_class), int(total))


def _agree(first: Any, second: Any) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return bool(first == second)
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=_CLOSE, atol=1e-9))


def _named(what: str, value: Any) -> str:
    """A number with its noun, as it follows "has"."""
    if what == "number of classes":
        return counted(value, "class", "classes")
    return f"{what} {_shown(what, value)}"


def _shown(what: str, value: Any) -> str:
    return "x".join(map(str, value)) if what == "input size" else _as_text(value)


def _verb(source: str) -> str:
    """Files have a number; an argument is it."""
    if source in _FILES:
        return "has"
    return "are" if " and " in source else "is"


def _as_text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_as_text(each) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
