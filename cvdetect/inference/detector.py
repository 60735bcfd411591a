"""The detector: images in, detections out; and the loop over the frames of a video, a camera or a stream."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.core.frame import Frame, Image
from cvdetect.core.images import ColorOrder, as_bgr
from cvdetect.core.labels import LabelSet
from cvdetect.core.options import (
    DetectOptions,
    LoadKeywords,
    ModelChoice,
    RunOptions,
    check_least,
    options_of,
    usable_cores,
)
from cvdetect.core.progress import Controls, LoggingProgress, NullProgress, Progress
from cvdetect.families import NetInput
from cvdetect.inference.nms import nms
from cvdetect.inference.preprocess import input_size, preprocess
from cvdetect.inference.tiling import cut_by_seams, join_pieces, parse_tile, tiles
from cvdetect.models.load import Model, load_model
from cvdetect.models.resolve import ModelLookup, ResolvedModel, resolve
from cvdetect.runtime import Ran, Runtime, choose
from cvdetect.sources import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Detector", "OnStage", "detect_frames", "load_detectors", "warm_up"]

OnStage = Callable[[str], None]
_RATE = 25.0  # frames a second of still images
_TILES_AT_ONCE = 8
_TILE_NMS = 0.5  # across tiles, where the graph's own non-maximum suppression has acted in each
_IMAGES_WORTH_A_NETWORK = 4  # loading one more takes about as long as a few images


def _ignore(_stage: str) -> None: ...


class Detector:
    """Finds objects in images with one loaded model. Not safe to share between threads: load one for each.

    >>> from cvdetect import Detector
    >>> detector = Detector.load("yolov3-tiny", conf=0.3)
    >>> for d in detector.detect("photo.jpg"):
    ...     print(d.label, d.score, d.xyxy)
    """

    def __init__(self, model: Model, tile: str | None = None) -> None:
        self.model = model
        self._tiled = tile is not None
        self._grid = parse_tile(tile) if tile is not None else None

    @classmethod
    def load(
        cls,
        model: str | Path | ModelChoice | None = None,
        detect: DetectOptions = DetectOptions(),
        run: RunOptions = RunOptions(),
        progress: Progress = LoggingProgress(),
        **options: Unpack[LoadKeywords],
    ) -> Detector:
        """Load a model; weights of a model of models.yaml are downloaded at first use.

        >>> Detector.load()  # the default model
        >>> Detector.load("yolov4-tiny", conf={"person": 0.3, "car": 0.6}, size=608)
        >>> Detector.load("best.onnx", names="my.names", backend="cuda")
        >>> Detector.load("yolov4.cfg")  # yolov4.weights and yolov4.names beside it are taken

        Args:
            model: a name in models.yaml, or a model file (.onnx, .cfg, .weights, .pb, .prototxt, .tflite), whose
                companions beside it are found; None for the default model.
            detect: what counts as a detection.
            run: what runs the network.
            progress: what reports; by default the logger "cvdetect".
            options: fields of `ModelChoice`, `DetectOptions` and `RunOptions`; they go before those of the values
                given. See `cvdetect.core.options.LoadKeywords`.

        Raises:
            TypeError: an unknown keyword; the message has the nearest one.
            UsageError: an option cannot be met (unknown model or class, a size that does not fit).
            ModelError: a file, a backend or a package is not available, or is not what it should be.
        """
        choice, detect, run = options_of("Detector.load", ModelChoice.of(model), detect, run, options)
        return cls.of(resolve(choice, progress), detect, choose(run), progress)

    @classmethod
    def of(cls, model: ResolvedModel, detect: DetectOptions, runtime: Runtime, progress: Progress) -> Detector:
        """As `load`, of a model that has been looked up, on a runtime that has been chosen."""
        if detect.tile is not None:
            parse_tile(detect.tile)  # reported before anything is pulled
        return cls(load_model(model, detect, runtime, progress), detect.tile)

    def with_low_scores(self, low: Callable[[float], float]) -> Detector:
        """The same network with the threshold that `low` makes of its own, for a tracker.

        Itself where classes have thresholds of their own, or images are cut into tiles, whose pieces are joined. Graphs
        that apply their threshold themselves give no lower scores.
        """
        thresholds = self.model.options.thresholds
        if self._tiled or any(math.isfinite(value) for value in thresholds.per_class.values()):
            return self
        lower = replace(thresholds, default=low(thresholds.default))
        return Detector(replace(self.model, options=replace(self.model.options, thresholds=lower)))

    def __repr__(self) -> str:
        return f"<Detector {self.name}, {len(self.labels)} classes, on {self.ran}>"

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

    def detect(self, image: Any, color: ColorOrder = "bgr") -> Detections:
        """Detect objects in one image.

        Args:
            image: the path of an image file (str or Path); an array uint8 (H, W, 3), BGR as OpenCV has it, (H, W) grey
                or (H, W, 4) with alpha; or a PIL image, taken as it is (without the rotation its EXIF may ask for).
            color: "rgb" for arrays in that order.

        Returns:
            Detections in the image's pixels, clipped to it, best score first, with their labels.

        Raises:
            UsageError: it is none of these; the message has the type and shape it has.
            SourceError: the file cannot be read.
            DecodeError: the network's output is not what its family promises.
        """
        return self.detect_batch([image], color=color)[0]

    def detect_batch(
        self, images: Sequence[Any], on_stage: OnStage = _ignore, color: ColorOrder = "bgr"
    ) -> list[Detections]:
        """The same for several images, of any sizes, in one pass of the network where it takes several.

        Args:
            images: as `detect` takes them.
            color: as there.
            on_stage: is called at the end of each stage with its name: "preprocess", "forward", "decode", "suppress"
                and "place", several times where the network runs several times (tiles), there also "join".

        Raises:
            UsageError, SourceError, DecodeError: as `detect`.
        """
        if isinstance(images, str | Path):
            raise UsageError(f"images {str(images)!r}: expected several images, got one path: detect() takes one")
        arrays = [_as_array(image, color) for image in images]
        if not arrays:
            return []
        if self._tiled:
            found = [self._detect_tiled(array, on_stage) for array in arrays]
        else:
            found = self._forward(arrays, on_stage)
        return [self._labelled(each, array) for each, array in zip(found, arrays, strict=True)]

    def _labelled(self, found: Detections, image: Image) -> Detections:
        return replace(found, labels=self.labels, image_wh=(image.shape[1], image.shape[0]))

    def _detect_tiled(self, image: Image, on_stage: OnStage) -> Detections:
        """One image by its tiles and as a whole."""
        wh = image.shape[1], image.shape[0]
        parts = tiles(wh, self._grid, input_size(wh, self.model.input_wh, self.model.input))
        if len(parts) == 1:
            return self._forward([image], on_stage)[0]
        whole, *seen = self._in_groups([image, *(image[t.y1 : t.y2, t.x1 : t.x2] for t in parts)], on_stage)
        placed = [found.translate(tile.x1, tile.y1) for found, tile in zip(seen, parts, strict=True)]
        cut = [cut_by_seams(found.xyxy, tile, wh) for found, tile in zip(placed, parts, strict=True)]
        joined = join_pieces(Detections.concat([whole, *placed]), np.concatenate([np.zeros(len(whole), bool), *cut]))
        iou = _TILE_NMS if self.model.nms is None else self.model.nms
        on_stage("join")
        kept = nms(joined, iou, class_agnostic=self.model.agnostic_nms, max_det=self.model.max_det)
        on_stage("suppress")
        return kept

    def _in_groups(self, pieces: Sequence[Image], on_stage: OnStage) -> list[Detections]:
        """`_forward` for many pieces, in groups as equal as can be.

        Exactly equal, the last piece filling up, where the runtime sets the network up anew for another number.
        """
        groups = math.ceil(len(pieces) / _TILES_AT_ONCE)
        size = math.ceil(len(pieces) / groups)
        fill = groups * size - len(pieces) if self.model.runtime.one_batch_size else 0
        filled = [*pieces, *[pieces[-1]] * fill]
        found = [self._forward(filled[start : start + size], on_stage) for start in range(0, len(filled), size)]
        return list(chain.from_iterable(found))[: len(pieces)]

    def _forward(self, images: Sequence[Image], on_stage: OnStage) -> list[Detections]:
        """Images → detections in their pixels: the way of a frame."""
        model = self.model
        if model.one_by_one and len(images) > 1:
            return [found for image in images for found in self._forward([image], on_stage)]
        blob, transforms = preprocess(images, model.input_wh, model.input)  # (B, C, h, w)
        on_stage("preprocess")
        outputs = model.network.forward(blob)
        on_stage("forward")
        found = model.family.decode(outputs, NetInput(len(images), (blob.shape[3], blob.shape[2])), model.options)
        on_stage("decode")
        kept = [self._suppress(d) for d in found]
        on_stage("suppress")
        placed = [transform.to_source(d) for transform, d in zip(transforms, kept, strict=True)]
        on_stage("place")
        return placed

    def _suppress(self, found: Detections) -> Detections:
        if self.model.nms is None:  # the graph has done it
            return found.sort_by_score()[: self.model.max_det]
        return nms(found, self.model.nms, class_agnostic=self.model.agnostic_nms, max_det=self.model.max_det)


def _as_array(image: Any, color: ColorOrder) -> Image:
    if isinstance(image, (str, Path)):
        from cvdetect.sources.images import read_image

        return read_image(image)
    return as_bgr(image, color)


def load_detectors(
    model: ModelChoice | ModelLookup,
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
    if detect.tile is not None:
        parse_tile(detect.tile)
    runtime = choose(run)
    found = resolve(model, progress) if isinstance(model, ModelChoice) else model.resolved
    useful = threads if most is None else most // _IMAGES_WORTH_A_NETWORK
    if workers is None:
        workers = max(1, min(threads, useful, runtime.networks))
    each = replace(runtime, run=replace(run, threads=max(1, threads // max(1, workers))))
    first = Detector.of(found, detect, each, progress)
    return [first, *(Detector.of(found, detect, each, NullProgress()) for _ in range(workers - 1))]


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


def detect_frames(
    source: int | str | Path | Sequence[str | Path] | Source,
    detector: Detector,
    *,
    track: bool = False,
    every: int = 1,
    start: float = 0.0,
    end: float | None = None,
) -> Iterator[tuple[Frame, Detections]]:
    """Frames in order, each with its detections. The source is closed when the loop ends, also by ``break``.

    >>> for frame, found in detect_frames("in.mp4", detector, track=True):
    ...     for d in found:
    ...         print(frame.time_s, d.track_id, d.label, d.xyxy)

    A frame is detected in when the loop asks for it, in the loop's own thread. Of a camera or a live stream it is the
    newest one.

    Args:
        source: as `open_source` takes it, or what that has opened, which stays open.
        detector: a loaded model.
        track: give objects numbers that stay with them (`Detection.track_id`; the extra ``[track]``).
        every: detect in each nth frame; those between carry the last detections, and their `Frame.skipped` is true.
        start, end: seconds of a video; None for all.

    Raises:
        UsageError: `every` is no whole number from 1 on, or what `source` is given as cannot be one.
        MissingPackage: what `track` needs is not installed.
        SourceError: the source cannot be opened; by the loop, after the last frame: a video is cut short, or a stream
            broke and did not come back.
    """
    if not isinstance(every, numbers.Integral):
        raise UsageError(f"{arg('every')} {every!r}: expected a whole number")
    check_least(int(every), 1, "every")
    if track:
        from cvdetect.inference import tracking

        tracking.require_tracking()
    from cvdetect.sources.open import open_source  # a detector of single images does not wait for it

    opened = source if isinstance(source, Source) else open_source(source, start=start, end=end)
    return _detected(opened, opened is source, detector, track, every)


def _detected(
    source: Source, is_open: bool, detector: Detector, track: bool, every: int
) -> Iterator[tuple[Frame, Detections]]:
    last = Detections.empty()
    with nullcontext() if is_open else source:
        detect = _tracking(source, detector, every) if track else _detecting(detector)
        for place, frame in enumerate(source):
            if place % every:
                yield replace(frame, skipped=True), last
                continue
            last = detect(frame)
            yield frame, last


def _detecting(detector: Detector) -> Callable[[Frame], Detections]:
    return lambda frame: detector.detect(frame.image)


def _tracking(source: Source, detector: Detector, every: int) -> Callable[[Frame], Detections]:
    """Detects and tracks; low scores continue tracks, and are not in the results."""
    from cvdetect.inference.tracking import Tracker, low_score

    conf = detector.model.options.thresholds.default
    lower = detector.with_low_scores(low_score)
    controls = Controls()
    controls.min_score = conf if lower is not detector else 0.0
    tracker = Tracker(float(source.info.rate if source.info else _RATE) / every, controls)

    def detect(frame: Frame) -> Detections:
        found = tracker(frame, lower.detect(frame.image))
        return found[found.score >= controls.min_score]

    return detect
