"""The detector: images in, detections out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.frame import Image
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, usable_cores
from cvdetect.core.progress import NullProgress, Progress
from cvdetect.families import NetInput
from cvdetect.inference.nms import suppress
from cvdetect.inference.preprocess import input_size, preprocess
from cvdetect.inference.tiling import cut_by_seams, join_pieces, parse_tile, tiles
from cvdetect.models.load import Model, load_model
from cvdetect.models.resolve import ResolvedModel, resolve
from cvdetect.runtime import Ran, choose

__all__ = ["Detector", "OnStage", "load_detectors", "warm_up"]

OnStage = Callable[[str], None]


def _unwatched(_stage: str) -> None: ...


class Detector:
    """Finds objects in images with one loaded model. Not safe to share between threads.

    >>> from cvdetect import Detector
    >>> detector = Detector.load("yolov3-tiny")
    >>> found = detector.detect(image)  # (H, W, 3) uint8, BGR, as cv2.imdecode gives it
    >>> for xyxy, class_id, score in zip(found.xyxy, found.class_id, found.score):
    ...     print(detector.labels.label(class_id), score, xyxy)
    """

    def __init__(self, model: Model, tile: str | None = None) -> None:
        self.model = model
        self._tiled = tile is not None
        self._grid = parse_tile(tile) if tile is not None else None

    @classmethod
    def load(
        cls,
        model: str | ModelChoice | ResolvedModel | None = None,
        detect: DetectOptions = DetectOptions(),
        run: RunOptions = RunOptions(),
        progress: Progress = NullProgress(),
    ) -> Detector:
        """Load a model by its name in models.yaml (None: the default) or by its files; pulls its weights at first use.

        Raises:
            UsageError: an option that cannot be met (unknown model or class, a size that does not fit).
            ModelError: a file, a backend or a package cannot be had, or is not what it should be.
        """
        if detect.tile is not None:
            parse_tile(detect.tile)  # reported before anything is pulled
        choice = ModelChoice(name=model) if model is None or isinstance(model, str) else model
        found = resolve(choice, progress) if isinstance(choice, ModelChoice) else choice
        return cls(load_model(found, detect, choose(run), progress), detect.tile)

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
        return self.model.runtime.ran

    def detect(self, image: Image) -> Detections:
        """What is in one image (H, W, 3), BGR uint8 → detections in its pixels, clipped to it, best first."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image], watch: OnStage = _unwatched) -> list[Detections]:
        """The same for several images, of any sizes, in one pass of the network where it takes several.

        Args:
            images: BGR uint8 (H, W, 3) each.
            watch: is called at the end of each stage with its name: "preprocess", "forward", "decode", "suppress" and
                "place", several times where the network runs several times (tiles), there also "join".

        Raises:
            ValueError: an image has another shape or type.
            DecodeError: the network's output is not what its family promises.
        """
        for image in images:
            _check(image)
        if self._tiled:
            return [self._detect_tiled(image, watch) for image in images]
        return self._forward(images, watch)

    def _detect_tiled(self, image: Image, watch: OnStage) -> Detections:
        """One image by its tiles and as a whole."""
        wh = image.shape[1], image.shape[0]
        parts = tiles(wh, self._grid, input_size(wh, self.model.input_wh, self.model.input))
        if len(parts) == 1:
            return self._forward([image], watch)[0]
        whole, *seen = self._in_groups([image, *(image[t.y1 : t.y2, t.x1 : t.x2] for t in parts)], watch)
        placed = [found.translate(tile.x1, tile.y1) for found, tile in zip(seen, parts, strict=True)]
        cut = [cut_by_seams(found.xyxy, tile, wh) for found, tile in zip(placed, parts, strict=True)]
        joined = join_pieces(Detections.concat([whole, *placed]), np.concatenate([np.zeros(len(whole), bool), *cut]))
        iou = _TILE_NMS if self.model.nms is None else self.model.nms
        watch("join")
        kept = suppress(joined, iou, agnostic=self.model.agnostic_nms, max_det=self.model.max_det)
        watch("suppress")
        return kept

    def _in_groups(self, pieces: Sequence[Image], watch: OnStage) -> list[Detections]:
        """`_forward` for many pieces, in groups as equal as can be.

        Exactly equal, the last piece filling up, where the runtime sets the network up anew for another number.
        """
        groups = math.ceil(len(pieces) / _TILES_AT_ONCE)
        size = math.ceil(len(pieces) / groups)
        fill = groups * size - len(pieces) if self.model.runtime.one_batch_size else 0
        filled = [*pieces, *[pieces[-1]] * fill]
        found = [self._forward(filled[start : start + size], watch) for start in range(0, len(filled), size)]
        return list(chain.from_iterable(found))[: len(pieces)]

    def _forward(self, images: Sequence[Image], watch: OnStage) -> list[Detections]:
        """Images → detections in their pixels: the way of a frame."""
        model = self.model
        if model.one_by_one and len(images) > 1:
            return [found for image in images for found in self._forward([image], watch)]
        blob, placements = preprocess(images, model.input_wh, model.input)  # (B, C, h, w)
        watch("preprocess")
        outputs = model.network.forward(blob)
        watch("forward")
        found = model.family.decode(outputs, NetInput(len(images), (blob.shape[3], blob.shape[2])), model.options)
        watch("decode")
        kept = [self._suppress(d) for d in found]
        watch("suppress")
        placed = [p.to_source(d) for p, d in zip(placements, kept, strict=True)]
        watch("place")
        return placed

    def _suppress(self, found: Detections) -> Detections:
        if self.model.nms is None:  # the graph has done it
            return found.sort_by_score()[: self.model.max_det]
        return suppress(found, self.model.nms, agnostic=self.model.agnostic_nms, max_det=self.model.max_det)


_TILES_AT_ONCE = 8
_TILE_NMS = 0.5  # across tiles, where the graph's own suppression has acted in each


def _check(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"expected a BGR image, uint8 (H, W, 3), got {got}")


def load_detectors(
    model: ModelChoice | ResolvedModel,
    detect: DetectOptions,
    run: RunOptions,
    progress: Progress,
    most: int | None = None,
    workers: int | None = None,
) -> list[Detector]:
    """One detector a core with one thread each, where that is faster than one detector with all cores.

    Two networks of one thread each beat one of two threads by a tenth to a fifth on whole folders and videos (README of
    benchmarks/), because no core waits for the other at the end of a layer. Each holds its own copy of the weights.
    On other devices there are as many as the runtime asks for; for a few images there is one.

    Args:
        most: how many images there are; None where that is unknown or large.
        workers: so many detectors, whatever would be faster; they share the threads.
    """
    threads = run.threads or usable_cores()
    found = resolve(model, progress) if isinstance(model, ModelChoice) else model
    useful = threads if most is None else most // _IMAGES_WORTH_A_NETWORK
    if workers is None:
        workers = max(1, min(threads, useful, choose(run).networks))
    each = replace(run, threads=max(1, threads // max(1, workers)))
    first = Detector.load(found, detect, each, progress)
    return [first, *(Detector.load(found, detect, each) for _ in range(workers - 1))]


def warm_up(detectors: Sequence[Detector], wh: tuple[int, int], progress: Progress, batch: int = 1) -> None:
    """Run each once on black images: the first pass sets a network up, on a GPU for seconds, and is no frame's time.

    Args:
        wh: width and height of the images to come, in pixels.
        batch: how many of them will go through the network at once.
    """
    begin = time.perf_counter()
    black = np.zeros((wh[1], wh[0], 3), np.uint8)
    for detector in detectors:
        detector.detect_batch([black] * batch)
    progress.detail(f"warmed up in {time.perf_counter() - begin:.2f} s")


_IMAGES_WORTH_A_NETWORK = 4  # loading one more takes about as long as a few images
