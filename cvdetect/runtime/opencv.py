"""Networks that cv2.dnn runs. The only file that names ``cv2.dnn.readNet*``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.cv import NEEDS, cv2, quiet
from cvdetect.core.errors import BackendError, MissingPackage, ModelFileError
from cvdetect.core.options import RunOptions, usable_cores
from cvdetect.runtime.backends import choose
from cvdetect.runtime.base import Ran

__all__ = ["OpenCVNetwork", "read_caffe", "read_darknet", "read_onnx", "read_tensorflow", "read_tflite"]

Bytes = NDArray[np.uint8]  # (size,), a file's content
# A node in Net.dump(), a graph in the dot language: its first layer's type, and at its end backend and target.
_PLACED = re.compile(r'label="\{?[^\\"]*\\n(\w+)\\n.*?\\l(\w+/\w+)\\n')


class OpenCVNetwork:
    """A `Network` that OpenCV's DNN module runs, with the backend and target that `options` names.

    Args:
        image_input: the name of the input that takes the images; "" for the first.
        size_input: that of an input (1, 3) that is told the images' height and width; "" where there is none.

    Raises:
        BackendError: the backend cannot run here, or refused this network.
    """

    def __init__(
        self, net: Any, outputs: Sequence[str], options: RunOptions, *, image_input: str = "", size_input: str = ""
    ) -> None:
        choice = choose(options.backend, options.precision, options.device_id)
        self._net = net
        self._cuda_device = choice.cuda_device
        self._outputs = list(outputs)
        self._image_input, self._size_input = image_input, size_input
        self.ran: Ran = choice.ran
        net.setPreferableBackend(choice.backend_id)
        net.setPreferableTarget(choice.target_id)
        net.enableWinograd(options.winograd)
        cv2.setNumThreads(options.threads or usable_cores())

    def forward(self, blob: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Input (B, C, H, W) → each output by its name; shapes are the family's own."""
        try:
            if self._cuda_device is not None:
                cv2.cuda.setDevice(self._cuda_device)
            self._feed(blob)
            arrays = self._net.forward(self._outputs)
        except cv2.error as error:
            shape = "x".join(map(str, blob.shape))
            cure = f"; a smaller {arg('batch')} or {arg('size')} needs less" if "out of memory" in str(error) else ""
            raise BackendError(
                f"OpenCV could not run the network on an input of {shape}: {_reason(error)}{cure}"
            ) from error
        return dict(zip(self._outputs, arrays, strict=True))

    def _feed(self, blob: NDArray[np.float32]) -> None:
        self._net.setInput(blob, self._image_input)
        if self._size_input:
            height, width = blob.shape[2:]
            # The third number is by what the picture was scaled. py-faster-rcnn multiplies the least side of a proposal
            # by it; OpenCV's Proposal has no least side, and takes proposals and boxes in pixels of the input.
            self._net.setInput(np.array([[height, width, 1]], np.float32), self._size_input)

    def layers(self) -> list[tuple[str, str]]:
        """Type and place ("OCV/CPU", "CUDA/CUDA_FP16", …) of each layer that runs by itself, after a first forward.

        Another backend hands layers that it lacks to OpenCV's own code on the CPU, "OCV/…"; fused layers go with the
        first of them.
        """
        return _PLACED.findall(self._net.dump())


def read_darknet(cfg: str, weights: Bytes, name: str, outputs: Sequence[str], options: RunOptions) -> OpenCVNetwork:
    """A Darknet network from its cfg's text and its weights file's content.

    Args:
        cfg: as it is to run (thresholds opened, see formats.darknet).
        weights: uint8 (size,).
        name: what errors call the model: the path of its file.
        outputs: names of the layers to return; empty takes all unconnected ones.
        options: what runs it.
    """
    reader = getattr(cv2.dnn, "readNetFromDarknet", None)
    if reader is None:
        raise MissingPackage(
            f"OpenCV {cv2.__version__} cannot read Darknet models (OpenCV 5 dropped them): run pip install '{NEEDS}'"
        )
    net = _read(name, reader, np.frombuffer(cfg.encode(), np.uint8), weights)
    return OpenCVNetwork(net, outputs or net.getUnconnectedOutLayersNames(), options)


def read_tensorflow(graph: Bytes, config: str, name: str, outputs: Sequence[str], options: RunOptions) -> OpenCVNetwork:
    """A TensorFlow frozen graph from its content and its OpenCV text graph ("" where it needs none)."""
    text = np.frombuffer(config.encode(), np.uint8)
    with quiet():
        net = _read(name, cv2.dnn.readNetFromTensorflow, graph, *([text] if config else []))
    return OpenCVNetwork(net, outputs or net.getUnconnectedOutLayersNames(), options)


def read_onnx(model: Bytes, name: str, outputs: Sequence[str], options: RunOptions) -> OpenCVNetwork:
    """An ONNX model from its content; `outputs` are the names of its graph's outputs."""
    with quiet():
        net = _read(name, cv2.dnn.readNetFromONNX, model)
    return OpenCVNetwork(net, outputs, options)


def read_caffe(
    prototxt: str, weights: Bytes, name: str, options: RunOptions, *, image_input: str = "", size_input: str = ""
) -> OpenCVNetwork:
    """A Caffe model from its prototxt's text and its caffemodel's content; its inputs as `OpenCVNetwork` has them."""
    reader = getattr(cv2.dnn, "readNetFromCaffe", None)
    if reader is None:
        raise MissingPackage(
            f"OpenCV {cv2.__version__} cannot read Caffe models (OpenCV 5 dropped them): run pip install '{NEEDS}'"
        )
    net = _read(name, reader, np.frombuffer(prototxt.encode(), np.uint8), weights)
    outputs = net.getUnconnectedOutLayersNames()
    return OpenCVNetwork(net, outputs, options, image_input=image_input, size_input=size_input)


def read_tflite(model: Bytes, name: str, outputs: Sequence[str], options: RunOptions) -> OpenCVNetwork:
    """A TensorFlow Lite model from its content; empty `outputs` take all unconnected ones."""
    with quiet():
        net = _read(name, cv2.dnn.readNetFromTFLite, model)
    return OpenCVNetwork(net, outputs or net.getUnconnectedOutLayersNames(), options)


def _read(name: str, reader: Any, *buffers: Bytes) -> Any:
    """OpenCV's network of `buffers`; what OpenCV throws becomes one sentence."""
    try:
        net = reader(*buffers)
    except cv2.error as error:
        raise ModelFileError(f"{name}: {_why(error)}") from error
    if net.empty():
        raise ModelFileError(f"{name}: OpenCV found no layers in this model")
    return net


_NODE = re.compile(r"Node \[([\w.]+)@[^\]]*\]|Unsupported operator type (\w+)")


def _why(error: Exception) -> str:
    """Why a model cannot be loaded: the operator that OpenCV's importer stumbled over, and what helps."""
    match = _NODE.search(str(error))
    if match is None:
        return f"OpenCV cannot load this model: {_reason(error)}"
    operator = match[1] or match[2]
    cure = (
        "no export helps, take a model without it (RT-DETR and Deformable DETR sample their features with it)"
        if operator.endswith("GridSample")
        else "export the model with a fixed input size and constants folded (simplified), or leave its last layers out"
    )
    return f"OpenCV {cv2.__version__} cannot run its operator {operator}: {cure}"


def _reason(error: Exception) -> str:
    """OpenCV's message without its file names and line breaks."""
    text = " ".join(str(getattr(error, "err", "") or error).split())
    return text.removesuffix(".")
