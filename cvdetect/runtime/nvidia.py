"""The NVIDIA driver of this machine, and its devices.

It is asked by its own C interface (CUDA Driver API: cuInit, cuDeviceGet*): it numbers devices as OpenCV does, heeds
CUDA_VISIBLE_DEVICES, and can be asked where OpenCV has no CUDA at all.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["LIBRARY", "Device", "Driver", "Version", "ask", "driver"]

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100  # cuda.h: CUDA_ERROR_NO_DEVICE
_MAJOR, _MINOR = 75, 76  # cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU; `memory` in bytes."""

    index: int
    name: str
    capability: Version
    memory: int


@dataclass(frozen=True, slots=True)
class Driver:
    """An NVIDIA driver: the newest CUDA it can serve, its devices, and why it does not answer where it does not."""

    cuda: Version
    devices: tuple[Device, ...] = ()
    failure: str | None = None


@cache
def driver() -> Driver | None:
    """The NVIDIA driver of this machine; None where there is none."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return ask(library)


def ask(library: Any) -> Driver:
    """What the driver's library says.

    Args:
        library: libcuda, loaded by ctypes.
    """
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    cuda = version.value // 1000, version.value % 1000 // 10
    status = library.cuInit(0)
    if status == _NO_DEVICE:
        return Driver(cuda)
    if status:
        return Driver(cuda, failure=_error(library, status))
    count = ctypes.c_int()
    library.cuDeviceGetCount(ctypes.byref(count))
    return Driver(cuda, tuple(_device(library, index) for index in range(count.value)))


def _error(library: Any, status: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorString(status, ctypes.byref(text))
    return (text.value or b"unknown error").decode() + f" (CUDA error {status})"


def _device(library: Any, index: int) -> Device:
    handle, major, minor, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(handle), index)
    library.cuDeviceGetName(name, len(name), handle)
    library.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, handle)
    library.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    return Device(index, name.value.decode(errors="replace"), (major.value, minor.value), memory.value)
