"""What this machine's OpenCV really offers. A pair is checked before it is set, so nothing falls back in silence."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.cv import cv2
from cvdetect.core.errors import BackendError, UsageError
from cvdetect.core.printable import closest
from cvdetect.runtime import cuda
from cvdetect.runtime.base import Ran

__all__ = ["BACKENDS", "Choice", "check_two_stage", "choose", "offered"]


@dataclass(frozen=True, slots=True)
class _Backend:
    """One backend: OpenCV's constants by name (a build may lack some), targets by precision."""

    backend: str
    targets: dict[str, str]
    cure: str


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


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and target that this machine has, as OpenCV's numbers, and how to name them.

    Attributes:
        cuda_device: which device runs it, where that is CUDA. CUDA keeps it by thread, so each thread has to set it.
    """

    backend_id: int
    target_id: int
    ran: Ran
    cuda_device: int | None = None


def offered() -> dict[str, tuple[str, ...]]:
    """Each backend's name → the precisions that really run here (empty: it cannot run)."""
    return {name: tuple(p for p in b.targets if _ids(name, p)) for name, b in BACKENDS.items()}


def choose(backend: str = "auto", precision: str = "fp32", device_id: int | None = None) -> Choice:
    """The backend and target to set; "auto" takes CUDA where OpenCV has it and a device answers, else the CPU.

    Args:
        device_id: which CUDA device; None for the first that fits.

    Raises:
        UsageError: no such backend or precision.
        BackendError: this machine cannot run it; the message says why and what to do.
    """
    if backend == "auto":
        backend = "cuda" if _ids("cuda", precision) else "cpu"
    if backend not in BACKENDS:
        raise UsageError(f"{arg('backend')} {backend}: no such backend{_nearest(backend)}")
    ids = _ids(backend, precision)
    if ids is None:
        raise BackendError(
            f"{arg('backend', backend)} {arg('precision', precision)} cannot run here: {_why_not(backend, precision)}"
        )
    names = BACKENDS[backend]
    device = cuda.find_device(device_id, precision) if backend == "cuda" else None
    device_name = cuda.name_of(device) if device else _device_name(backend)
    ran = Ran("opencv", names.backend.lower(), names.targets[precision].lower(), device_name, precision)
    return Choice(*ids, ran, device.index if device else None)


def check_two_stage(name: str, ran: Ran) -> None:
    """Refuse CUDA in fp16, which OpenCV's own tests leave out for Faster and Mask R-CNN.

    They let R-FCN through where boxes overlap by 0.88 or more (test_caffe_importer.cpp); that is not enough here.

    Raises:
        BackendError: `ran` is that.
    """
    if ran.backend == "cuda" and ran.precision == "fp16":
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
    cure = row.cure.format(cpu=arg("backend", "cpu"))
    if precision not in row.targets:
        return f"OpenCV's {name} backend has no {precision}, only {', '.join(row.targets)}"
    others = [p for p in row.targets if _ids(name, p)]
    if name == "cuda" and not others:
        return cuda.why_not()
    if others:
        return f"{cure}; {name} runs here in {', '.join(others)}"
    return f"OpenCV {cv2.__version__} offers no such backend on this machine; {cure}"


def _nearest(name: str) -> str:
    near = closest(name.lower(), BACKENDS)
    return f"; did you mean {near}?" if near else f"; there are auto, {', '.join(BACKENDS)}"


def _device_name(backend: str) -> str:
    """The device behind a backend, as a person knows it."""
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
