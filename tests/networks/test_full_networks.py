"""Whole Darknet networks with random weights: what `Detector` finds against boxes worked out cell by cell.

The reference takes the values of the convolution before each head straight from OpenCV and decodes them in plain
loops, by the formulas of Darknet's yolo_layer.c and region_layer.c; it shares no code with the package.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cvdetect import Conf, Detections, DetectOptions, Detector, ModelChoice, RunOptions
from cvdetect.formats.darknet import parameters, parse_cfg

Array = NDArray[Any]
Size = tuple[int, int]

YOLOV3_ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
TINY_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
REGION_ANCHORS = ((2.2, 1.7), (1.9, 2.1), (3.3, 5.5), (7.9, 3.5), (9.8, 9.2))
EVERYTHING = 1_000_000  # --max-det


# A cfg that is written while its channels are counted, so that weights can be made for it.


@dataclass(frozen=True)
class Head:
    layer: int
    kind: str
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float = 1.0
    new_coords: bool = False


@dataclass(frozen=True)
class Convolution:
    inputs: int
    filters: int
    size: int
    normalised: bool
    gain: float


@dataclass
class Cfg:
    wh: Size = (416, 416)
    head_gain: float = 3.0
    sections: list[str] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    convolutions: list[Convolution] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n\n".join([f"[net]\nwidth={self.wh[0]}\nheight={self.wh[1]}\nchannels=3", *self.sections]) + "\n"

    def add(self, kind: str, channels: int, **options: object) -> int:
        self.sections.append("\n".join([f"[{kind}]", *(f"{key}={value}" for key, value in options.items())]))
        self.channels.append(channels)
        return len(self.sections) - 1

    def conv(self, filters: int, size: int = 1, stride: int = 1, activation: str = "leaky", gain: float = 1.4) -> int:
        plain = activation in ("linear", "logistic")
        inputs = self.channels[-1] if self.channels else 3
        self.convolutions.append(Convolution(inputs, filters, size, not plain, gain))
        normalise = {} if plain else {"batch_normalize": 1}
        return self.add(
            "convolutional",
            filters,
            **normalise,
            filters=filters,
            size=size,
            stride=stride,
            pad=1,
            activation=activation,
        )

    def pool(self, size: int = 2, stride: int = 2) -> int:
        return self.add("maxpool", self.channels[-1], size=size, stride=stride)

    def residual(self, filters: int) -> None:
        self.conv(filters // 2)
        self.conv(filters, 3, gain=0.1)
        self.add("shortcut", filters, **{"from": -3, "activation": "linear"})

    def route(self, *layers: int) -> int:
        return self.add("route", sum(self.channels[i] for i in layers), layers=",".join(map(str, layers)))

    def upsampled(self, filters: int, branch: int, joined: int) -> None:
        self.route(branch)
        self.conv(filters)
        above = self.add("upsample", filters, stride=2)
        self.route(above, joined)

    def yolo(
        self, anchors: Sequence[tuple[float, float]], mask: Sequence[int], classes: int, **options: object
    ) -> None:
        activation = "logistic" if options.get("new_coords") else "linear"
        self.conv(len(mask) * (5 + classes), activation=activation, gain=self.head_gain)
        layer = self.add(
            "yolo",
            self.channels[-1],
            mask=",".join(map(str, mask)),
            anchors=", ".join(f"{w},{h}" for w, h in anchors),
            classes=classes,
            num=len(anchors),
            **options,
        )
        scale, new = float(str(options.get("scale_x_y", 1))), bool(options.get("new_coords"))
        self.heads.append(Head(layer, "yolo", tuple(anchors[i] for i in mask), classes, scale, new))

    def region(self, anchors: Sequence[tuple[float, float]], classes: int, **options: object) -> None:
        self.conv(len(anchors) * (5 + classes), activation="linear", gain=self.head_gain)
        text = ", ".join(f"{w},{h}" for w, h in anchors)
        layer = self.add(
            "region", self.channels[-1], anchors=text, classes=classes, coords=4, num=len(anchors), softmax=1, **options
        )
        self.heads.append(Head(layer, "region", tuple(anchors), classes))

    def weights(self, seed: int) -> Iterator[bytes]:
        """A weights file: activations stay around 1, objectness is mostly low, no two classes are alike."""
        random = np.random.default_rng(seed)
        yield struct.pack("<iiiq", 0, 2, 0, 0)
        heads = iter(self.heads)
        for conv in self.convolutions:
            n = conv.filters
            biases = random.normal(0, 0.1, n) if conv.normalised else _head_biases(random, next(heads))
            yield biases.astype(np.float32).tobytes()
            if conv.normalised:  # scales, means, variances
                yield np.concatenate([random.uniform(0.8, 1.2, n), random.normal(0, 0.1, n)]).astype("f4").tobytes()
                yield random.uniform(0.6, 1.6, n).astype(np.float32).tobytes()
            fan_in = conv.inputs * conv.size**2
            values = random.standard_normal(n * fan_in, np.float32)
            yield (values * np.float32(conv.gain / math.sqrt(fan_in))).tobytes()


def _head_biases(random: np.random.Generator, head: Head) -> Array:
    biases = random.normal(0, 1, (len(head.anchors), 5 + head.classes))
    biases[:, :4] *= 0.3
    biases[:, 4] -= 2
    return biases.ravel()


def yolov3(wh: Size, classes: int = 80, blocks: Sequence[int] = (1, 2, 8, 8, 4), thin: int = 1) -> Cfg:
    """YOLOv3; with fewer `blocks` and `thin` > 1 the same with fewer layers and channels."""
    cfg = Cfg(wh, head_gain=1.4 if thin == 1 else 3.0)
    cfg.conv(32 // thin, 3)
    ends, branch = [], 0
    for stage, count in enumerate(blocks):
        cfg.conv(64 * 2**stage // thin, 3, stride=2)
        for _ in range(count):
            cfg.residual(64 * 2**stage // thin)
        ends.append(len(cfg.sections) - 1)
    for scale, mask in enumerate(((6, 7, 8), (3, 4, 5), (0, 1, 2))):
        filters = 512 // 2**scale // thin
        if scale:
            cfg.upsampled(filters, branch, ends[-1 - scale])
        for _ in range(2):
            cfg.conv(filters)
            cfg.conv(2 * filters, 3)
        branch = cfg.conv(filters)
        cfg.conv(2 * filters, 3)
        cfg.yolo(YOLOV3_ANCHORS, mask, classes)
    return cfg


def tiny(wh: Size, classes: int = 80, **head_options: object) -> Cfg:
    """The shape of YOLOv3-tiny: two scales, a pool of stride 1, and the second head's mask not from 0."""
    cfg = Cfg(wh)
    for filters in (4, 8, 16, 32):
        cfg.conv(filters, 3)
        cfg.pool()
    joined = cfg.conv(32, 3)
    cfg.pool()
    cfg.conv(64, 3)
    cfg.pool(stride=1)
    branch = cfg.conv(32)
    cfg.conv(64, 3)
    cfg.yolo(TINY_ANCHORS, (3, 4, 5), classes, **head_options)
    cfg.upsampled(16, branch, joined)
    cfg.conv(32, 3)
    cfg.yolo(TINY_ANCHORS, (1, 2, 3), classes, **head_options)
    return cfg


def yolov2(wh: Size, classes: int = 20, **head_options: object) -> Cfg:
    """The shape of YOLOv2: one head, with a finer layer folded in by [reorg]."""
    cfg = Cfg(wh)
    for filters in (4, 8, 16, 32):
        cfg.conv(filters, 3)
        cfg.pool()
    fine = cfg.conv(32, 3)
    cfg.pool()
    coarse = cfg.conv(64, 3)
    cfg.route(fine)
    cfg.conv(8)
    folded = cfg.add("reorg", 32, stride=2)
    cfg.route(folded, coarse)
    cfg.conv(64, 3)
    cfg.region(REGION_ANCHORS, classes, **head_options)
    return cfg


# The reference.


@dataclass(frozen=True)
class Boxes:
    """Boxes (R, 4) as x1, y1, x2, y2 in shares of the picture, and the scores of all classes (R, C)."""

    xyxy: Array
    scores: Array


Decoded = tuple[Any, Any, Any, Any, Array]  # centre x, centre y, width, height, class scores


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def cell_of_yolo(v: Array, head: Head, anchor: int, grid: Size, cell: Size, wh: Size) -> Decoded:
    """One anchor's raw values (5 + C,) in the cell (x, y) of a grid (w, h) → cx, cy, w, h, scores."""
    (x, y), (grid_w, grid_h), (aw, ah) = cell, grid, head.anchors[anchor]
    p = v if head.new_coords else sigmoid(v)
    cx = (x + head.scale_x_y * p[0] - (head.scale_x_y - 1) / 2) / grid_w
    cy = (y + head.scale_x_y * p[1] - (head.scale_x_y - 1) / 2) / grid_h
    w, h = (4 * v[2:4] ** 2 if head.new_coords else np.exp(v[2:4])) * (aw / wh[0], ah / wh[1])
    return cx, cy, w, h, p[4] * p[5:]


def cell_of_region(v: Array, head: Head, anchor: int, grid: Size, cell: Size, _wh: Size) -> Decoded:
    """The same for a [region]: anchors are in cells, and classes share one softmax."""
    (x, y), (grid_w, grid_h), (aw, ah) = cell, grid, head.anchors[anchor]
    cx, cy = (x + sigmoid(v[0])) / grid_w, (y + sigmoid(v[1])) / grid_h
    w, h = math.exp(v[2]) * aw / grid_w, math.exp(v[3]) * ah / grid_h
    return cx, cy, w, h, sigmoid(v[4]) * np.exp(v[5:]) / np.exp(v[5:]).sum()


def boxes_of(raw: Array, head: Head, wh: Size) -> Boxes:
    """Raw values (H, W, A · (5 + C)) of one head → its boxes, cell by cell."""
    grid_h, grid_w, _ = raw.shape
    decode = cell_of_region if head.kind == "region" else cell_of_yolo
    boxes, scores = [], []
    for y in range(grid_h):
        for x in range(grid_w):
            for anchor, values in enumerate(raw[y, x].astype(np.float64).reshape(len(head.anchors), -1)):
                cx, cy, w, h, each = decode(values, head, anchor, (grid_w, grid_h), (x, y), wh)
                boxes.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
                scores.append(each)
    return Boxes(np.array(boxes), np.array(scores))


class Reference:
    """A network of OpenCV's that gives the raw values before each head."""

    def __init__(self, cfg: Cfg, cfg_path: Path, weights: Path) -> None:
        self.net = cv2.dnn.readNetFromDarknet(str(cfg_path), str(weights))
        self.net.enableWinograd(False)
        self.heads = cfg.heads

    def boxes(self, image: Array, wh: Size) -> Boxes:
        self.net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, wh, swapRB=True))
        raws = self.net.forward([f"permute_{head.layer}" for head in self.heads])
        parts = [boxes_of(raw[0], head, wh) for raw, head in zip(raws, self.heads, strict=True)]
        return Boxes(np.concatenate([p.xyxy for p in parts]), np.concatenate([p.scores for p in parts]))


def rows_over(boxes: Boxes, conf: float, multi_label: bool) -> Array:
    """(N, 6): x1, y1, x2, y2, score, class of what reaches `conf`, best first."""
    rows = []
    for xyxy, scores in zip(boxes.xyxy, boxes.scores, strict=True):
        for c in range(len(scores)) if multi_label else [int(np.argmax(scores))]:
            if scores[c] >= conf:
                rows.append((*xyxy, scores[c], c))
    return np.array(sorted(rows, key=lambda row: -row[4])).reshape(-1, 6)


def overlap(a: Array, b: Array) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def overlaps_in_classes(rows: Array) -> list[float]:
    """The IoU of every two rows of one class."""
    return [overlap(a, b) for i, a in enumerate(rows) for b in rows[:i] if a[5] == b[5]]


def greedy(rows: Array, nms: float) -> Array:
    """Per-class suppression, one row after another, best first."""
    kept: list[Array] = []
    for row in rows:
        if all(k[5] != row[5] or overlap(k, row) <= nms for k in kept):
            kept.append(row)
    return np.array(kept).reshape(-1, 6)


def in_pixels(rows: Array, image: Array) -> Array:
    """Boxes in shares → pixels of the image, clipped to it."""
    h, w = image.shape[:2]
    clipped = np.array(rows)
    clipped[:, :4] = np.clip(rows[:, :4], 0, 1) * (w, h, w, h)
    return clipped


def gap(values: Array, low: int, high: int) -> float:
    """A threshold that nothing is near: the middle of the widest gap between the low-th and high-th largest value."""
    ranked = np.sort(values.ravel())[::-1][low:high]
    at = int(np.argmax(ranked[:-1] - ranked[1:]))
    assert ranked[at] - ranked[at + 1] > 2e-5
    return float(ranked[at] + ranked[at + 1]) / 2


def partners(what: Array, score: Array, others: Array, other_scores: Array) -> Array:
    """For each row of `what` the other of (nearly) its score that is nearest; each of the others is taken once."""
    ranked = np.argsort(other_scores)
    low = np.searchsorted(other_scores[ranked], score - 1e-5)
    high = np.searchsorted(other_scores[ranked], score + 1e-5)
    assert (low < high).all(), "a score that the reference does not have"
    nearest = [
        ranked[a + np.abs(others[ranked[a:b]] - row).max(axis=1).argmin()]
        for row, a, b in zip(what, low, high, strict=True)
    ]
    assert sorted(nearest) == list(range(len(others)))
    return np.array(nearest)


def assert_same(found: Detections, expected: Array) -> None:
    """The same detections as the rows (N, 6), in whatever order equal scores stand."""
    assert (np.diff(found.score) <= 0).all()
    got = np.column_stack([found.xyxy, found.class_id])
    others = expected[:, [0, 1, 2, 3, 5]]
    np.testing.assert_allclose(got, others[partners(got, found.score, others, expected[:, 4])], atol=0.02)


def assert_every_box(found: Detections, boxes: Boxes, image: Array) -> None:
    """Every box of every head, each with a class whose score is the highest (two may be as good as equal)."""
    xyxy, best = in_pixels(boxes.xyxy, image), boxes.scores.max(axis=1)
    partner = partners(found.xyxy, found.score, xyxy, best)
    np.testing.assert_allclose(found.xyxy, xyxy[partner], atol=0.02)
    np.testing.assert_allclose(boxes.scores[partner, found.class_id], found.score, atol=1e-5)


# The tests.


@dataclass(frozen=True)
class Written:
    """A network on disk."""

    cfg: Cfg
    cfg_path: Path
    weights: Path

    def reference(self) -> Reference:
        return Reference(self.cfg, self.cfg_path, self.weights)

    def detector(self, conf: float, size: Size | None = None, **options: object) -> Detector:
        choice = ModelChoice(cfg=self.cfg_path, weights=self.weights, size=size)
        detect = DetectOptions(conf=Conf(conf), max_det=EVERYTHING, **options)  # type: ignore[arg-type]
        return Detector.load(choice, detect, RunOptions(winograd=False))


Write = Callable[[Cfg], Written]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a cfg and its weights; they go away after the test, as a full YOLOv3 has 250 MB."""
    files: list[Path] = []

    def to_disk(cfg: Cfg) -> Written:
        written = Written(cfg, tmp_path / f"net{len(files)}.cfg", tmp_path / f"net{len(files)}.weights")
        files.append(written.weights)
        written.cfg_path.write_text(cfg.text)
        with written.weights.open("wb") as file:
            file.writelines(cfg.weights(seed=7))
        return written

    yield to_disk
    for file in files:
        file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def image() -> Array:
    """Patches of all sizes, 300 wide and 240 high, so that cells differ."""
    random = np.random.default_rng(11)
    layers = [random.uniform(0, 255, (n, n + n // 4, 3)).astype(np.float32) for n in (4, 12, 48, 240)]
    mixed = sum(cv2.resize(layer, (300, 240), interpolation=cv2.INTER_NEAREST) for layer in layers) / len(layers)
    return np.clip((mixed - 127) * 2 + 127, 0, 255).astype(np.uint8)


def compare(net: Written, reference: Reference, image: Array, wh: Size) -> None:
    """Every box before suppression, and what is left after it, with one label a box and with several."""
    boxes = reference.boxes(image, wh)
    assert np.isfinite(boxes.xyxy).all()
    assert np.isfinite(boxes.scores).all()
    assert_every_box(net.detector(0, wh, nms=1.0).detect(image), boxes, image)
    for multi_label in (False, True):
        conf = gap(boxes.scores if multi_label else boxes.scores.max(axis=1), 100, 200)
        rows = rows_over(boxes, conf, multi_label)
        before = net.detector(conf, wh, nms=1.0, multi_label=multi_label).detect(image)
        assert_same(before, in_pixels(rows, image))
        ious = np.array([iou for iou in overlaps_in_classes(rows) if iou > 0.01])
        nms = gap(ious, len(ious) // 8, len(ious) // 2)
        kept = greedy(rows, nms)
        assert len(kept) < len(rows)
        after = net.detector(conf, wh, nms=nms, multi_label=multi_label).detect(image)
        assert_same(after, in_pixels(kept, image))


def test_a_full_yolov3_decodes_as_the_reference_at_416_and_608(write: Write, image: Array) -> None:
    cfg = yolov3((416, 416))
    assert parameters(parse_cfg(cfg.text, "yolov3.cfg")) == 62_001_757  # as the official yolov3.weights hold
    net = write(cfg)
    reference = net.reference()
    for wh, rows in (((416, 416), 10_647), ((608, 608), 22_743)):
        boxes = reference.boxes(image, wh)
        assert boxes.scores.shape == (rows, 80)
        assert_every_box(net.detector(0, wh, nms=1.0).detect(image), boxes, image)


NETWORKS = {
    "three scales": yolov3((416, 416), blocks=(1, 1, 1, 1, 1), thin=8),
    "three scales, 608": yolov3((608, 608), blocks=(1, 1, 1, 1, 1), thin=8),
    "three scales, not square": yolov3((416, 320), 7, blocks=(1, 1, 1, 1, 1), thin=8),
    "two scales": tiny((416, 416)),
    "two scales, higher than wide": tiny((320, 416), 3),
    "scale_x_y": tiny((416, 416), scale_x_y=1.05),
    "new_coords": tiny((416, 416), new_coords=1, scale_x_y="2.0"),
    "new_coords, not square": tiny((416, 320), 12, new_coords=1, scale_x_y="1.2"),
    "thresh in the cfg": tiny((416, 416), thresh=".6"),
    "region": yolov2((416, 416)),
    "region, not square": yolov2((416, 320), 4),
    "region, thresh in the cfg": yolov2((320, 416), thresh=".6"),
}


@pytest.mark.parametrize("cfg", NETWORKS.values(), ids=NETWORKS)
def test_detections_equal_the_reference_before_and_after_suppression(cfg: Cfg, write: Write, image: Array) -> None:
    net = write(cfg)
    compare(net, net.reference(), image, cfg.wh)


@pytest.mark.parametrize("cfg", [tiny((416, 416)), yolov2((416, 416))], ids=["yolo", "region"])
def test_another_size_than_the_cfgs_own_equals_the_reference_too(cfg: Cfg, write: Write, image: Array) -> None:
    net = write(cfg)
    compare(net, net.reference(), image, (352, 288))


@pytest.mark.parametrize("make", [tiny, yolov2])
def test_a_cfgs_thresh_hides_no_score(make: Callable[..., Cfg], write: Write, image: Array) -> None:
    strict, plain = write(make((416, 416), thresh=".6")), write(make((416, 416)))
    found = strict.detector(0.05, nms=1.0).detect(image)
    assert len(found) >= 50
    assert (found.score < 0.2).any()
    expected = plain.detector(0.05, nms=1.0).detect(image)
    np.testing.assert_array_equal(found.score, expected.score)
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)


def test_nms_of_a_region_is_the_users_not_the_one_opencv_hides_in_its_layer(write: Write, image: Array) -> None:
    net = write(yolov2((416, 416), 3))
    reference = net.reference()
    rows = rows_over(boxes := reference.boxes(image, (416, 416)), gap(boxes.scores.max(axis=1), 100, 200), False)
    conf = float(rows[-1, 4]) - 1e-5
    found = net.detector(conf, nms=0.9).detect(image)
    assert_same(found, in_pixels(greedy(rows, 0.9), image))
    assert max(overlaps_in_classes(greedy(rows, 0.9))) > 0.6

    survivors = reference.net.forward("detection_out").reshape(-1, 8)
    of_opencv = int((survivors[:, 5:].max(axis=1) >= conf).sum())
    assert of_opencv < len(found)


def test_a_batch_of_different_pictures_gives_what_each_gives_alone(write: Write, image: Array) -> None:
    net = write(yolov3((416, 320), 7, blocks=(1, 1, 1, 1, 1), thin=8))
    other = np.ascontiguousarray(image[::-1, :200])
    detector = net.detector(0.05, nms=0.45)
    alone = [detector.detect(picture) for picture in (image, other)]
    together = detector.detect_batch([image, other])
    assert not np.array_equal(alone[0].score, alone[1].score)
    for one, both in zip(alone, together, strict=True):
        assert_same(both, np.column_stack([one.xyxy, one.score, one.class_id]))
