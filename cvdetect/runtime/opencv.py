"""Networks that OpenCV's DNN module runs. The only file that names ``cv2.dnn.readNet*``.

A backend and target are checked before they are set: OpenCV itself falls back in silence.
"""

from __future__ import annotations

import os
import platform
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.cv import NEEDS, cv2, quiet
from cvdetect.core.errors import BackendError, MissingPackage, ModelFileError, UsageError
from cvdetect.core.options import RunOptions, usable_cores
from cvdetect.core.printable import closest
from cvdetect.core.source import Bytes, ModelSource
from cvdetect.runtime import cuda
from cvdetect.runtime.base import Ran, Runtime

__all__ = ["BACKENDS", "OpenCV", "OpenCVNetwork"]

_NODE = re.compile(r"Node \[([\w.]+)@[^\]]*\]|Unsupported operator type (\w+)")


@dataclass(frozen=True, slots=True)
class _Backend:
    """One backend: OpenCV's constants by name (a build may lack some), targets by precision."""

    backend: str
    targets: dict[str, str]
    hint: str


BACKENDS = {
    "cpu": _Backend("OPENCV", {"fp32": "CPU", "fp16": "CPU_FP16"}, "OpenCV's half precision on the CPU needs ARMv8"),
    "cuda": _Backend("CUDA", {"fp32": "CUDA", "fp16": "CUDA_FP16"}, "see docs/gpu.md"),
    "opencl": _Backend(
        "OPENCV",
        {"fp32": "OPENCL", "fp16": "OPENCL_FP16"},
        "OpenCL needs a GPU and its OpenCL driver; without one use {cpu}",
    ),
    "openvino": _Backend("INFERENCE_ENGINE", {"fp32": "CPU"}, "an OpenCV built with OpenVINO is needed"),
    "vulkan": _Backend("VKCOM", {"fp32": "VULKAN"}, "an OpenCV built with Vulkan and a device are needed"),
    "webnn": _Backend("WEBNN", {"fp32": "CPU"}, "an OpenCV built with WebNN is needed"),
    "timvx": _Backend("TIMVX", {"fp32": "NPU"}, "an OpenCV built with TIM-VX and an NPU are needed"),
    "cann": _Backend("CANN", {"fp32": "NPU"}, "an OpenCV built with CANN and an NPU are needed"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCV(Runtime):
    """OpenCV's DNN module.

    Attributes:
        backend_id, target_id: OpenCV's numbers.
        cuda_device: which device runs it, where that is CUDA. CUDA keeps it by thread, so each thread has to set it.
    """

    formats: ClassVar[frozenset[str]] = frozenset({"darknet", "tensorflow", "caffe", "onnx", "tflite"})
    device_backends: ClassVar[tuple[str, ...]] = ("cuda",)

    backend_id: int
    target_id: int
    cuda_device: int | None = None

    @classmethod
    def offered(cls) -> dict[str, tuple[str, ...]]:
        """As in `Runtime`."""
        return {name: tuple(p for p in b.targets if _ids(name, p)) for name, b in BACKENDS.items()}

    @classmethod
    def choose(cls, run: RunOptions) -> OpenCV:
        """As in `Runtime`; "auto" takes CUDA where OpenCV has it and a device answers, else the CPU."""
        backend, precision = run.backend, run.precision
        if backend == "auto":
            backend = "cuda" if _ids("cuda", precision) else "cpu"
        if backend not in BACKENDS:
            raise UsageError(f"{arg('backend')} {backend}: no such backend{_nearest(backend)}")
        ids = _ids(backend, precision)
        if ids is None:
            raise BackendError(
                f"{arg('backend', backend)} {arg('precision', precision)} cannot run here: "
                f"{_why_not(backend, precision)}"
            )
        device = cuda.find_device(run.device_id, precision) if backend == "cuda" else None
        names = BACKENDS[backend]
        device_name = cuda.name_of(device) if device else _device_name(backend)
        return cls(
            run=run,
            backend=backend,
            ran=Ran("opencv", names.backend.lower(), names.targets[precision].lower(), device_name, precision),
            networks=_networks(backend, names.targets[precision]),
            # It takes another batch as another network, whose weights it brings to the GPU again
            # (Net::Impl::setInput, initCUDABackend).
            one_batch_size=backend == "cuda",
            backend_id=ids[0],
            target_id=ids[1],
            cuda_device=device.index if device else None,
        )

    def load(self, source: ModelSource) -> OpenCVNetwork:
        """As in `Runtime`."""
        net = _READERS[source.format](source)
        outputs = source.outputs or net.getUnconnectedOutLayersNames()
        return OpenCVNetwork(net, outputs, self, image_input=source.image_input, size_input=source.size_input)

    def takes_one_image(self, source: ModelSource) -> bool:
        """As in `Runtime`: it proposes and crops regions of one image only, and keeps shapes that are for one image."""
        return source.two_stage or source.one_image or source.format in ("onnx", "tflite")

    def check_two_stage(self, name: str) -> None:
        """Refuse CUDA in fp16, which OpenCV's own tests leave out for Faster and Mask R-CNN.

        They let R-FCN through where boxes overlap by 0.88 or more (test_caffe_importer.cpp); that is not enough here.
        """
        if self.backend == "cuda" and self.ran.precision == "fp16":
            raise BackendError(
                f"{name}: Faster and Mask R-CNN and R-FCN do not run well enough in OpenCV on CUDA in fp16; "
                f"use {arg('precision', 'fp32')}"
            )


def _ids(name: str, precision: str) -> tuple[int, int] | None:
    """OpenCV's numbers of a backend and target that are really there, else None."""
    row = BACKENDS[name]
    backend = getattr(cv2.dnn, f"DNN_BACKEND_{row.backend}", None)
    target = getattr(cv2.dnn, f"DNN_TARGET_{row.targets.get(precision)}", None)
    if backend is None or target is None or target not in cv2.dnn.getAvailableTargets(backend):
        return None
    return backend, target


def _why_not(name: str, precision: str) -> str:
    row = BACKENDS[name]
    if precision not in row.targets:
        return f"OpenCV's {name} backend has no {precision}, only {', '.join(row.targets)}"
    others = [p for p in row.targets if _ids(name, p)]
    if name == "cuda" and not others:
        return cuda.why_not()
    hint = row.hint.format(cpu=arg("backend", "cpu"))
    if others:
        return f"{hint}; {name} runs here in {', '.join(others)}"
    return f"OpenCV {cv2.__version__} offers no such backend on this machine; {hint}"


def _nearest(name: str) -> str:
    near = closest(name.lower(), BACKENDS)
    return f"; did you mean {near}?" if near else f"; there are auto, {', '.join(BACKENDS)}"


def _device_name(backend: str) -> str:
    """The name of the device behind a backend."""
    if backend == "opencl":
        return str(cv2.ocl.Device_getDefault().name())
    return _cpu_name()


@cache
def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or f"{os.cpu_count()} cores"


def _networks(backend: str, target: str) -> int:
    """How many networks run best side by side.

    On a GPU two: while it runs one, the other's images are prepared and its output is decoded. On a CPU one a core, up
    to eight: beyond, memory and the caches that cores share set the limit.
    """
    return 2 if backend == "cuda" else 8 if target == "CPU" else 1


class _ThreadCount:
    """OpenCV's number of threads, which is one for the whole process; each forward pass runs with its own.

    The first pass to begin remembers the number that it found, and the last to end sets that again: a detector changes
    neither another's number nor the application's. Of passes with different numbers at the same time, the latest to
    begin decides.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[int] = []
        self._found = 0

    @contextmanager
    def __call__(self, count: int) -> Iterator[None]:
        with self._lock:
            if not self._running:
                self._found = cv2.getNumThreads()
            self._running.append(count)
            self._set(count)
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(count)
                self._set(self._running[-1] if self._running else self._found)

    @staticmethod
    def _set(count: int) -> None:
        if count != cv2.getNumThreads():
            cv2.setNumThreads(count)


_threads = _ThreadCount()


class OpenCVNetwork:
    """A `Network` that OpenCV's DNN module runs.

    Args:
        net: OpenCV's.
        outputs: names of the layers to return.
        runtime: what is to run it.
        image_input: the name of the input that takes the images; "" for the first.
        size_input: that of an input (1, 3) that takes the images' height and width; "" where there is none.
    """

    def __init__(
        self, net: Any, outputs: Sequence[str], runtime: OpenCV, *, image_input: str = "", size_input: str = ""
    ) -> None:
        self._net = net
        self._cuda_device = runtime.cuda_device
        self._threads = runtime.run.threads or usable_cores()
        self._outputs = list(outputs)
        self._image_input, self._size_input = image_input, size_input
        net.setPreferableBackend(runtime.backend_id)
        net.setPreferableTarget(runtime.target_id)
        net.enableWinograd(runtime.run.winograd)

    def forward(self, blob: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Input (B, C, H, W) → each output by its name; shapes are the family's own."""
        try:
            if self._cuda_device is not None:
                cv2.cuda.setDevice(self._cuda_device)
            self._set_inputs(blob)
            with _threads(self._threads):
                arrays = self._net.forward(self._outputs)
        except cv2.error as error:
            shape = "x".join(map(str, blob.shape))
            hint = f"; a smaller {arg('batch')} or {arg('size')} needs less" if "out of memory" in str(error) else ""
            raise BackendError(
                f"OpenCV could not run the network on an input of {shape}: {_reason(error)}{hint}"
            ) from error
        return dict(zip(self._outputs, arrays, strict=True))

    def _set_inputs(self, blob: NDArray[np.float32]) -> None:
        self._net.setInput(blob, self._image_input)
        if self._size_input:
            height, width = blob.shape[2:]
            # The third number is by what the image was scaled. py-faster-rcnn multiplies the least side of a proposal
            # by it; OpenCV's Proposal has no least side, and takes proposals and boxes in pixels of the input.
            self._net.setInput(np.array([[height, width, 1]], np.float32), self._size_input)


# One reader a format.


def _read_darknet(source: ModelSource) -> Any:
    """Its text is as it is to run (thresholds at 0, see formats.darknet)."""
    return _read(source.name, _reader("Darknet"), _as_bytes(source.text), source.content)


def _read_tensorflow(source: ModelSource) -> Any:
    with quiet():
        return _read(source.name, cv2.dnn.readNetFromTensorflow, source.content, _as_bytes(source.text))


def _read_caffe(source: ModelSource) -> Any:
    return _read(source.name, _reader("Caffe"), _as_bytes(source.text), source.content)


def _read_onnx(source: ModelSource) -> Any:
    with quiet():
        return _read(source.name, cv2.dnn.readNetFromONNX, source.content)


def _read_tflite(source: ModelSource) -> Any:
    with quiet():
        return _read(source.name, cv2.dnn.readNetFromTFLite, source.content)


_READERS = {
    "darknet": _read_darknet,
    "tensorflow": _read_tensorflow,
    "caffe": _read_caffe,
    "onnx": _read_onnx,
    "tflite": _read_tflite,
}


def _reader(format_name: str) -> Any:
    """OpenCV's reader of a format that OpenCV 5 has dropped."""
    reader = getattr(cv2.dnn, f"readNetFrom{format_name}", None)
    if reader is None:
        raise MissingPackage(
            f"OpenCV {cv2.__version__} cannot read {format_name} models (OpenCV 5 dropped them): "
            f"run pip install '{NEEDS}'"
        )
    return reader


def _as_bytes(text: str) -> Bytes:
    return np.frombuffer(text.encode(), np.uint8)


def _read(name: str, reader: Any, *buffers: Bytes) -> Any:
    """OpenCV's network of `buffers`; what OpenCV throws becomes one sentence."""
    try:
        net = reader(*buffers)
    except cv2.error as error:
        raise ModelFileError(f"{name}: {_why(error)}") from error
    if net.empty():
        raise ModelFileError(f"{name}: OpenCV found no layers in this model")
    return net


def _why(error: Exception) -> str:
    """Why a model cannot be loaded: the operator that OpenCV's importer stumbled over, and what helps."""
    match = _NODE.search(str(error))
    if match is None:
        return f"OpenCV cannot load this model: {_reason(error)}"
    operator = match[1] or match[2]
    hint = (
        "no export helps, take a model without it (RT-DETR and Deformable DETR sample their features with it)"
        if operator.endswith("GridSample")
        else "export the model with a fixed input size and constants folded (simplified), or leave its last layers out"
    )
    return f"OpenCV {cv2.__version__} cannot run its operator {operator}: {hint}"


def _reason(error: Exception) -> str:
    """OpenCV's message without its file names and line breaks."""
    text = " ".join(str(getattr(error, "err", "") or error).split())
    return text.removesuffix(".")
