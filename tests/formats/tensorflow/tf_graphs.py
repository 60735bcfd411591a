"""Small frozen graphs as TensorFlow's Object Detection API builds them: written as bytes, and run by numpy."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cvdetect.core.boxes import iou

Value = Any


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def wire(number: int, value: bytes | int | float) -> bytes:
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


TYPES = {np.dtype(np.float32): 1, np.dtype(np.int32): 3, np.dtype(np.uint8): 4, np.dtype(np.float16): 19}


def shape(sizes: tuple[int, ...]) -> bytes:
    return b"".join(wire(2, wire(1, size)) for size in sizes)


def tensor(array: np.ndarray) -> bytes:
    """As TensorFlow writes it: one value in its own field, more of them as binary content."""
    head = wire(1, TYPES[array.dtype]) + wire(2, shape(array.shape))
    if array.size != 1:
        return head + wire(4, array.tobytes())
    return head + (wire(5, float(array.item())) if array.dtype == np.float32 else wire(7, int(array.item())))


def attribute(value: Value) -> bytes:
    if isinstance(value, np.ndarray):
        return wire(8, tensor(value))
    if isinstance(value, bool):
        return wire(5, int(value))
    if isinstance(value, np.dtype):
        return wire(6, TYPES[value])
    if isinstance(value, tuple):
        return wire(7, shape(value))
    if isinstance(value, list):
        return wire(1, wire(3, b"".join(varint(each) for each in value)))
    if isinstance(value, (int, float)):
        return wire(3 if isinstance(value, int) else 4, value)
    return wire(2, value)


@dataclass
class GraphWriter:
    """Nodes in the order of execution; `bytes` is the frozen graph, `run` what TensorFlow would compute."""

    nodes: list[tuple[str, str, tuple[str, ...], dict[str, Value]]] = field(default_factory=list)

    def add(self, name: str, op: str, *inputs: str, **attributes: Value) -> str:
        self.nodes.append((name, op, inputs, attributes))
        return name

    def const(self, name: str, values: Value, dtype: Any = np.float32) -> str:
        return self.add(name, "Const", value=np.array(values, dtype), dtype=np.dtype(dtype))

    def bytes(self) -> bytes:
        return b"".join(wire(1, self._node(*node)) for node in self.nodes) + wire(4, wire(1, 987))

    @staticmethod
    def _node(name: str, op: str, inputs: tuple[str, ...], attributes: dict[str, Value]) -> bytes:
        out = wire(1, name.encode()) + wire(2, op.encode())
        out += b"".join(wire(3, each.encode()) for each in inputs)
        pairs = ((key.encode(), attribute(value)) for key, value in attributes.items())
        return out + b"".join(wire(5, wire(1, key) + wire(2, value)) for key, value in pairs)

    def run(self, image: np.ndarray, wanted: list[str]) -> list[np.ndarray]:
        """The values of nodes for one image, (1, H, W, 3) RGB."""
        known: dict[str, Value] = {}
        for name, op, inputs, attributes in self.nodes:
            if op in ("NonMaxSuppressionV3", "Greater", "Minimum"):
                continue
            given = [known[each.partition(":")[0]] for each in inputs]
            known[name] = image.astype(np.float64) if op == "Placeholder" else compute(op, given, attributes)
        return [known[each] for each in wanted]


def compute(op: str, given: list[Value], attributes: dict[str, Value]) -> Value:
    x = given[0] if given else None
    if op == "Const":
        value = attributes["value"]
        return value.astype(np.float64) if value.dtype == np.float32 else value
    if op in ("Conv2D", "DepthwiseConv2dNative"):
        return convolve(x, given[1], attributes, op == "DepthwiseConv2dNative")
    if op == "FusedBatchNorm":
        _, gamma, beta, mean, variance = given
        return (x - mean) / np.sqrt(variance + attributes["epsilon"]) * gamma + beta
    if op == "MaxPool":
        stride = attributes["strides"][1]
        return windows(x, attributes["ksize"][1], stride, b"SAME", -np.inf).max(axis=(-2, -1))
    simple = {
        "Cast": lambda: x,
        "Identity": lambda: x,
        "ResizeBilinear": lambda: x,
        "TensorArrayGatherV3": lambda: x,
        "Add": lambda: x + given[1],
        "AddV2": lambda: x + given[1],
        "BiasAdd": lambda: x + given[1],
        "Sub": lambda: x - given[1],
        "Mul": lambda: x * given[1],
        "RealDiv": lambda: x / given[1],
        "Rsqrt": lambda: 1 / np.sqrt(x),
        "Relu6": lambda: np.clip(x, 0, 6),
        "Sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "Softmax": lambda: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
        "Reshape": lambda: x.reshape(given[1]),
        "Pack": lambda: np.stack(given, axis=attributes.get("axis", 0)),
        "ConcatV2": lambda: np.concatenate(given[:-1], axis=int(given[-1])),
        "Squeeze": lambda: np.squeeze(x, 2),
        "ExpandDims": lambda: np.expand_dims(x, int(given[1])),
        "Tile": lambda: np.tile(x, given[1]),
        "Transpose": lambda: x.T,
        "Unpack": lambda: x,
        "Slice": lambda: x[tuple(slice(begin, None) for begin in given[1])],
        "SpaceToBatchND": lambda: x,
        "BatchToSpaceND": lambda: x,
        "Shape": lambda: np.array(x.shape, np.int32),
    }
    return simple[op]()


def windows(x: np.ndarray, kernel: int, stride: int, padding: bytes, fill: float, dilation: int = 1) -> np.ndarray:
    """(1, H, W, C) → (1, H', W', C, k, k)."""
    reach = dilation * (kernel - 1) + 1
    if padding == b"SAME":
        pads = []
        for side in x.shape[1:3]:
            total = max((-(-side // stride) - 1) * stride + reach - side, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(x, (reach, reach), axis=(1, 2))
    return views[:, ::stride, ::stride, :, ::dilation, ::dilation]


def convolve(x: np.ndarray, weights: np.ndarray, attributes: dict[str, Value], depthwise: bool) -> np.ndarray:
    dilation = attributes.get("atrous", 1)  # a note for this test alone: what the space-to-batch around it means
    padding = b"SAME" if dilation > 1 else attributes["padding"]
    views = windows(x, weights.shape[0], attributes["strides"][1], padding, 0.0, dilation)
    return np.einsum("nhwckl,klcm->nhwcm" if depthwise else "nhwckl,klcm->nhwm", views, weights).reshape(
        *views.shape[:3], -1
    )


@dataclass
class Detector:
    """A small detection graph, and how to read what numpy computes of it.

    Attributes:
        anchors: (N, 4) ymin, xmin, ymax, xmax in pixels.
        wh: width and height of the input in pixels.
    """

    writer: GraphWriter
    anchors: np.ndarray
    wh: tuple[int, int]
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    background: bool = True
    score: float = 0.3
    iou: float = 0.6

    def detect(self, image: np.ndarray) -> np.ndarray:
        """Rows of class, score, x1, y1, x2, y2 normalized, classes as OpenCV numbers them."""
        codes, scores = self.writer.run(image, ["Squeeze", "scores"])
        boxes = decode(codes[0], self.anchors, self.scales)[:, [1, 0, 3, 2]] / np.array([*self.wh, *self.wh])
        rows = []
        for number in range(int(self.background), scores.shape[-1]):
            order = [i for i in np.argsort(-scores[0, :, number], kind="stable") if scores[0, i, number] > self.score]
            kept: list[int] = []
            for i in order:
                if (iou(boxes[i][None], boxes[kept])[0] <= self.iou).all():
                    kept.append(i)
            rows += [[number, scores[0, i, number], *boxes[i]] for i in kept]
        return np.array(sorted(rows, key=lambda row: -row[1])[:100]).reshape(-1, 6)


def decode(codes: np.ndarray, anchors: np.ndarray, scales: tuple[float, ...]) -> np.ndarray:
    """The Faster R-CNN box coder: codes ty, tx, th, tw."""
    ty, tx, th, tw = (codes / np.array(scales)).T
    sides = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + sides / 2
    centre = centre + np.stack([ty, tx], axis=1) * sides
    sides = np.exp(np.stack([th, tw], axis=1)) * sides
    return np.concatenate([centre - sides / 2, centre + sides / 2], axis=1)


def grid(rows: int, columns: int, sizes: list[tuple[float, float]], step: tuple[float, float], offset: float) -> Any:
    """Anchors (rows · columns · sizes, 4) of cells `step` (down, across) pixels apart; sizes are width, height."""
    return np.array(
        [
            [cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2]
            for cy in (np.arange(rows) + offset) * step[0]
            for cx in (np.arange(columns) + offset) * step[1]
            for w, h in sizes
        ]
    )


class SsdBuilder:
    """Builds a one-stage detector layer by layer; the weights are random, and the same at every run."""

    def __init__(self, wh: tuple[int, int], seed: int = 7, resizer: bool = True) -> None:
        self.g, self.wh, self.random = GraphWriter(), wh, np.random.default_rng(seed)
        self.boxes: list[str] = []
        self.classes: list[str] = []
        self.channels: dict[str, int] = {}
        sizes = (-1, -1, -1, 3) if resizer else (-1, wh[1], wh[0], 3)
        self.g.add("image_tensor", "Placeholder", dtype=np.dtype(np.uint8), shape=sizes)
        self.g.add("Cast", "Cast", "image_tensor", DstT=np.dtype(np.float32))
        source = "Cast"
        if resizer:
            self.g.const("Preprocessor/map/while/stack", [wh[1], wh[0]], np.int32)
            self.g.add("Preprocessor/map/while/Resize", "ResizeBilinear", "Cast", "Preprocessor/map/while/stack")
            source = self.g.add("Preprocessor/map/Gather", "TensorArrayGatherV3", "Preprocessor/map/while/Resize")
        self.g.const("Preprocessor/mul/x", 2 / 255)
        self.g.add("Preprocessor/mul", "Mul", "Preprocessor/mul/x", source)
        self.g.const("Preprocessor/sub/y", [1.0, 0.9, 1.1])
        self.image = self.g.add("Preprocessor/sub", "Sub", "Preprocessor/mul", "Preprocessor/sub/y")
        self.channels[self.image] = 3

    def weights(self, name: str, *sizes: int) -> str:
        values = self.random.normal(0, 1 / np.sqrt(np.prod(sizes[:-1])), sizes)
        self.g.const(name, values)
        return self.g.add(f"{name}/read", "Identity", name)

    def conv(self, name: str, source: str, count: int, *, stride: int = 2, kernel: int = 3, **attributes: Any) -> str:
        weights = self.weights(f"{name}/weights", kernel, kernel, self.channels[source], count)
        settings = {"padding": b"SAME", "data_format": b"NHWC", "strides": [1, stride, stride, 1], **attributes}
        self.channels[f"{name}/Conv2D"] = count
        return self.g.add(f"{name}/Conv2D", "Conv2D", source, weights, **settings)

    def depthwise(self, name: str, source: str) -> str:
        weights = self.weights(f"{name}/depthwise_weights", 3, 3, self.channels[source], 1)
        self.channels[f"{name}/depthwise"] = self.channels[source]
        settings = {"padding": b"SAME", "data_format": b"NHWC", "strides": [1, 1, 1, 1]}
        return self.g.add(f"{name}/depthwise", "DepthwiseConv2dNative", source, weights, **settings)

    def norm(self, name: str, source: str, kind: str = "fused") -> str:
        """Batch normalisation: "fused", or of single operations with or "without gamma"."""
        count = self.channels[source]
        names = {}
        for key in ("gamma", "beta", "moving_mean", "moving_variance"):
            names[key] = self.g.const(f"{name}/{key}", self.random.uniform(0.5, 1.5, count))
        last = f"{name}/FusedBatchNorm" if kind == "fused" else f"{name}/batchnorm/add_1"
        self.channels[last] = self.channels[f"{last}/Relu6"] = count
        if kind == "fused":
            self.g.add(last, "FusedBatchNorm", source, *names.values(), epsilon=0.001, data_format=b"NHWC")
        else:
            self._unfused(f"{name}/batchnorm", source, names, kind != "without gamma")
        return self.g.add(f"{last}/Relu6", "Relu6", last)

    def _unfused(self, scope: str, source: str, names: dict[str, str], gamma: bool) -> None:
        self.g.const(f"{scope}/add/y", 0.002)
        self.g.add(f"{scope}/add", "Add", names["moving_variance"], f"{scope}/add/y")
        factor = self.g.add(f"{scope}/Rsqrt", "Rsqrt", f"{scope}/add")
        if gamma:
            factor = self.g.add(f"{scope}/mul", "Mul", f"{scope}/Rsqrt", names["gamma"])
        self.g.add(f"{scope}/mul_1", "Mul", source, factor)
        self.g.add(f"{scope}/mul_2", "Mul", names["moving_mean"], factor)
        self.g.add(f"{scope}/sub", "Sub", names["beta"], f"{scope}/mul_2")
        self.g.add(f"{scope}/add_1", "Add", f"{scope}/mul_1", f"{scope}/sub")

    def upsample(self, name: str, source: str, size: tuple[int, int], kind: str) -> str:
        """Twice the rows and columns of (1, *size, C): times "ones", or "stacks"."""
        rows, columns = size
        count = self.channels[source]
        if kind == "ones":
            self.g.const(f"{name}/shape", [1, rows, 1, columns, 1, count], np.int32)
            self.g.add(f"{name}/Reshape", "Reshape", source, f"{name}/shape")
            self.g.const(f"{name}/ones", np.ones((1, 1, 2, 1, 2, 1)))
            last = self.g.add(f"{name}/mul", "Mul", f"{name}/Reshape", f"{name}/ones")
        else:
            self.g.add(f"{name}/stack", "Pack", source, source, axis=3)
            last = self.g.add(f"{name}/stack_1", "Pack", f"{name}/stack", f"{name}/stack", axis=2)
        self.g.const(f"{name}/shape_1", [1, 2 * rows, 2 * columns, count], np.int32)
        self.channels[f"{name}/out"] = count
        return self.g.add(f"{name}/out", "Reshape", last, f"{name}/shape_1")

    def predict(
        self, scope: str, source: str, anchors: int, outputs: int, parts: tuple[str, str], shared: str = ""
    ) -> None:
        """The two predictors of a feature map; `shared`: the scope whose weights they use."""
        for part, depth, names in ((parts[0], 4, self.boxes), (parts[1], outputs, self.classes)):
            own, base = f"{scope}/{part}", f"{shared or scope}/{part}"
            if own == base:
                self.weights(f"{base}/weights", 1, 1, self.channels[source], anchors * depth)
                self.g.const(f"{base}/biases", self.random.normal(0, 0.5, anchors * depth))
            settings = {"padding": b"SAME", "data_format": b"NHWC", "strides": [1, 1, 1, 1]}
            self.g.add(f"{own}/Conv2D", "Conv2D", source, f"{base}/weights/read", **settings)
            self.g.add(f"{own}/BiasAdd", "BiasAdd", f"{own}/Conv2D", f"{base}/biases", data_format=b"NHWC")
            sizes = [1, -1, 1, 4] if depth == 4 and names is self.boxes else [1, -1, depth]
            self.g.const(f"{own}/shape", sizes, np.int32)
            names.append(self.g.add(f"{own}/Reshape", "Reshape", f"{own}/BiasAdd", f"{own}/shape"))

    def finish(
        self, anchors: np.ndarray, *, converter: str = "Sigmoid", background: bool = True, divisor: float = 1.0,
        scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0), postprocessor: bool = True,
    ) -> Detector:  # fmt: skip
        """Join the predictors, and postprocess as the API does."""
        self.g.const("concat/axis", 1, np.int32)
        self.g.add("concat", "ConcatV2", *self.boxes, "concat/axis")
        self.g.add("Squeeze", "Squeeze", "concat")
        self.g.add("concat_1", "ConcatV2", *self.classes, "concat/axis")
        self.g.const("Postprocessor/scale_logits/y", divisor)
        self.g.add("Postprocessor/scale_logits", "RealDiv", "concat_1", "Postprocessor/scale_logits/y")
        self.g.add("scores", converter, "Postprocessor/scale_logits")
        made = Detector(self.g, anchors, self.wh, scales, background)
        if postprocessor:
            self._postprocess(anchors, background, scales, made)
        return made

    def _postprocess(self, anchors: np.ndarray, background: bool, scales: tuple[float, ...], made: Detector) -> None:
        g, post = self.g, "Postprocessor"
        shares = anchors / np.array([self.wh[1], self.wh[0]] * 2)
        g.const(f"{post}/begin", [0, 0, int(background)], np.int32)
        g.add(f"{post}/Slice", "Slice", "scores", f"{post}/begin", f"{post}/begin")
        g.const("Concatenate/concat", shares)
        g.const(f"{post}/ExpandDims/dim", 0, np.int32)
        g.add(f"{post}/ExpandDims", "ExpandDims", "Concatenate/concat", f"{post}/ExpandDims/dim")
        g.const(f"{post}/Reshape/shape", [-1, 4], np.int32)
        g.add(f"{post}/Reshape", "Reshape", f"{post}/ExpandDims", f"{post}/Reshape/shape")
        base = f"{post}/Decode/get_center_coordinates_and_sizes"
        g.add(f"{base}/transpose", "Transpose", f"{post}/Reshape")
        g.add(f"{base}/unstack", "Unpack", f"{base}/transpose")
        g.add(f"{post}/Decode/unstack", "Unpack", "Squeeze")
        for index, scale in enumerate(scales):
            g.const(f"{post}/Decode/truediv_{index}/y", scale)
            g.add(f"{post}/Decode/truediv_{index}", "RealDiv", f"{post}/Decode/unstack:{index}",
                  f"{post}/Decode/truediv_{index}/y")  # fmt: skip
        scope = f"{post}/BatchMultiClassNonMaxSuppression/map/while/MultiClassNonMaxSuppression"
        for key, value in (("most", 100), ("iou", made.iou), ("score", made.score)):
            g.const(f"{scope}/{key}", value, np.int32 if key == "most" else np.float32)
        numbers = [f"{scope}/{key}" for key in ("most", "iou", "score")]
        g.add(f"{scope}/NonMaxSuppressionV3", "NonMaxSuppressionV3", "Squeeze", "scores", *numbers)
