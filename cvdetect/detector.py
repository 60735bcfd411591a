"""The detector: images in, detections out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvdetect.decoders import NetInput
from cvdetect.detections import Detections
from cvdetect.events import Progress, Silent
from cvdetect.frame import Image
from cvdetect.labels import LabelSet
from cvdetect.loader import Model, load_model
from cvdetect.network import Ran
from cvdetect.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.preprocess import preprocess
from cvdetect.suppress import suppress

__all__ = ["Detector"]


class Detector:
    """Finds objects in images with one loaded model. Not safe to share between threads.

    >>> from cvdetect import Detector
    >>> detector = Detector.load("yolov3-tiny")
    >>> found = detector.detect(image)  # (H, W, 3) uint8, BGR, as cv2.imdecode gives it
    >>> for xyxy, class_id, score in zip(found.xyxy, found.class_id, found.score):
    ...     print(detector.labels.label(class_id), score, xyxy)
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def load(
        cls,
        model: str | ModelChoice | None = None,
        detect: DetectOptions = DetectOptions(),  # noqa: B008 - frozen
        run: RunOptions = RunOptions(),  # noqa: B008 - frozen
        progress: Progress = Silent(),  # noqa: B008 - stateless
    ) -> Detector:
        """Load a model by its name in models.yaml (None: the default) or by its files; pulls its weights at first use.

        Raises:
            UsageError: an option that cannot be met (unknown model or class, a size that does not fit).
            ModelError: a file, a backend or a package cannot be had, or is not what it should be.
        """
        choice = model if isinstance(model, ModelChoice) else ModelChoice(name=model)
        return cls(load_model(choice, detect, run, progress))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def labels(self) -> LabelSet:
        """Names and category ids of the model's classes."""
        return self.model.labels

    @property
    def ran(self) -> Ran:
        """What really runs the network."""
        return self.model.network.ran

    def detect(self, image: Image) -> Detections:
        """What is in one image (H, W, 3), BGR uint8 → detections in its pixels, clipped to it, best first."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """The same for several images, of any sizes, in one pass of the network.

        Raises:
            ValueError: an image has another shape or type.
            DecodeError: the network's output is not what its family promises.
        """
        for image in images:
            _check(image)
        model = self.model
        blob, placements = preprocess(images, model.input_wh, model.input)  # (B, 3, h, w)
        outputs = model.network.forward(blob)
        found = model.decode(outputs, NetInput(len(images), model.input_wh), model.options)
        kept = [self._suppress(d) for d in found]
        return [p.to_source(d) for p, d in zip(placements, kept, strict=True)]

    def _suppress(self, found: Detections) -> Detections:
        if self.model.nms is None:  # the graph has done it
            return found.best_first()[: self.model.max_det]
        return suppress(found, self.model.nms, agnostic=self.model.agnostic_nms, max_det=self.model.max_det)


def _check(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"expected a BGR image, uint8 (H, W, 3), got {got}")
