"""Networks that cv2.dnn runs. The only file that names ``cv2.dnn.readNet*``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.cv import NEEDS, cv2
from cvdetect.errors import BackendError, MissingPackage, ModelFileError
from cvdetect.network.backends import choose
from cvdetect.network.base import Ran
from cvdetect.options import RunOptions

__all__ = ["OpenCVNetwork", "read_darknet", "read_tensorflow"]

Bytes = NDArray[np.uint8]  # (size,), a file's content


class OpenCVNetwork:
    """A `Network` that OpenCV's DNN module runs, with the backend and target that `options` names.

    Raises:
        BackendError: the backend cannot run here, or refused this network.
    """

    def __init__(self, net: Any, outputs: Sequence[str], options: RunOptions) -> None:
        choice = choose(options.backend, options.precision)
        self._net = net
        self._outputs = list(outputs)
        self.ran: Ran = choice.ran
        net.setPreferableBackend(choice.backend_id)
        net.setPreferableTarget(choice.target_id)
        net.enableWinograd(options.winograd)
        cv2.setNumThreads(options.threads or os.cpu_count() or 1)

    def forward(self, blob: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Input (B, 3, H, W) → each output by its name; shapes are the family's own."""
        self._net.setInput(blob)
        try:
            arrays = self._net.forward(self._outputs)
        except cv2.error as error:
            shape = "x".join(map(str, blob.shape))
            raise BackendError(f"OpenCV could not run the network on an input of {shape}: {_reason(error)}") from error
        return dict(zip(self._outputs, arrays, strict=True))


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
    net = _read(name, cv2.dnn.readNetFromTensorflow, graph, *([text] if config else []))
    return OpenCVNetwork(net, outputs or net.getUnconnectedOutLayersNames(), options)


def _read(name: str, reader: Any, *buffers: Bytes) -> Any:
    """OpenCV's network of `buffers`; what OpenCV throws becomes one sentence."""
    try:
        net = reader(*buffers)
    except cv2.error as error:
        raise ModelFileError(f"{name}: OpenCV cannot load this model: {_reason(error)}") from error
    if net.empty():
        raise ModelFileError(f"{name}: OpenCV found no layers in this model")
    return net


def _reason(error: Exception) -> str:
    """OpenCV's message without its file names and line breaks."""
    text = " ".join(str(getattr(error, "err", "") or error).split())
    return text.removesuffix(".")
