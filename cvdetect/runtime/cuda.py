"""What CUDA needs, piece by piece: a driver, a device that answers, and an OpenCV that was built for it."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from cvdetect.core.arguments import arg
from cvdetect.core.cv import cv2
from cvdetect.core.errors import BackendError

__all__ = [
    "LIBRARY",
    "Build",
    "Device",
    "Driver",
    "Problem",
    "Version",
    "ask",
    "build",
    "driver",
    "find_device",
    "name_of",
    "read_build",
    "report",
    "why_not",
]

Version = tuple[int, int]

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
SCRIPT = "scripts/build_opencv_cuda.sh"
_NO_DEVICE = 100  # cuda.h: CUDA_ERROR_NO_DEVICE
_MAJOR, _MINOR = 75, 76  # cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_HALF_FROM = (5, 3)  # older devices have no half precision, and OpenCV would take single without a word


@dataclass(frozen=True, slots=True)
class Build:
    """How this OpenCV was built: CUDA's and cuDNN's version ("" without), native code and PTX by compute capability."""

    cuda: str = ""
    cudnn: str = ""
    native: tuple[Version, ...] = ()
    ptx: tuple[Version, ...] = ()

    def runs_on(self, capability: Version) -> bool:
        """Native code serves its own generation from its minor version on; PTX is compiled for every later device."""
        major, minor = capability
        return any(p <= capability for p in self.ptx) or any(n[0] == major and n[1] <= minor for n in self.native)


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why CUDA does not run, and a hint."""

    reason: str
    hint: str


def build() -> Build:
    """How this OpenCV was built, by its build information."""
    return read_build(cv2.getBuildInformation())


def read_build(text: str) -> Build:
    """OpenCV's build information → what it states of CUDA."""

    def value(key: str) -> str:
        match = re.search(rf"^\s*{key}:\s*(.*)$", text, re.MULTILINE)
        return match[1].strip() if match else ""

    def version(key: str) -> str:
        text = value(key)
        match = re.search(r"ver ([\d.]+)", text)
        return "" if not text.startswith("YES") else match[1] if match else "unknown"

    return Build(
        version("NVIDIA CUDA"),
        version("cuDNN"),
        _capabilities(value("NVIDIA GPU arch")),
        _capabilities(value("NVIDIA PTX archs")),
    )


def _capabilities(text: str) -> tuple[Version, ...]:
    """``86 90 120`` → (8, 6), (9, 0), (12, 0)."""
    return tuple((int(number) // 10, int(number) % 10) for number in re.findall(r"\d+", text))


def problems() -> list[Problem]:
    """All that keeps CUDA from running here; empty where nothing is known to."""
    there, built = driver(), build()
    found = [*_driver_problems(there), *_build_problems(built, there)]
    if not found and there:
        found += _match_problems(built, there, _first_that_fits(there.devices))
    return found


def _driver_problems(there: Driver | None) -> list[Problem]:
    if there is None:
        return [Problem(f"there is no NVIDIA driver ({LIBRARY} was not found)", "install NVIDIA's driver for the GPU")]
    if there.failure:
        return [Problem(f"the NVIDIA driver does not answer: {there.failure}", "see what nvidia-smi reports")]
    if not there.devices:
        hint = "look at CUDA_VISIBLE_DEVICES, and start containers with --gpus all"
        return [Problem("the NVIDIA driver has no device for this process", hint)]
    return []


def _build_problems(built: Build, there: Driver | None) -> list[Problem]:
    if built.cuda and built.cudnn:
        return []
    lack = "cuDNN" if built.cuda else "CUDA"
    return [Problem(f"this OpenCV {cv2.__version__} is built without {lack}", f"run {_command(there)}")]


def _match_problems(built: Build, there: Driver, device: Device) -> list[Problem]:
    """What a driver, a device and a build that are all there may still have against each other."""
    found = []
    needed = tuple(int(part) for part in re.findall(r"\d+", built.cuda)[:1])
    if needed and there.cuda[0] < needed[0]:
        had = _dotted(there.cuda)
        reason = f"the NVIDIA driver serves CUDA {had} at most, this OpenCV is built with CUDA {built.cuda}"
        found.append(Problem(reason, f"update NVIDIA's driver to one for CUDA {needed[0]}"))
    if not built.runs_on(device.capability):
        wanted = ", ".join(_dotted(c) for c in sorted({*built.native, *built.ptx}))
        reason = f"this OpenCV is built for compute capability {wanted}, {device.name} has {_dotted(device.capability)}"
        found.append(Problem(reason, f"run {SCRIPT} --arch {_dotted(device.capability)}"))
    return found


def _command(there: Driver | None) -> str:
    """The command that builds an OpenCV for the devices that are here."""
    capabilities = sorted({device.capability for device in there.devices}) if there else []
    arch = f" --arch {','.join(map(_dotted, capabilities))}" if capabilities else ""
    return f"{SCRIPT}{arch} (docs/gpu.md)"


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def find_device(device_id: int | None, precision: str) -> Device:
    """The device that is to run a network, checked; None takes the first that fits this OpenCV.

    Raises:
        BackendError: there is no such device, it cannot run that precision, or this OpenCV was not built for it.
    """
    there = driver()
    devices = there.devices if there else ()
    if (device_id or 0) >= len(devices):
        have = ", ".join(map(name_of, devices)) or "none"
        raise BackendError(f"{arg('device_id')} {device_id or 0}: no such CUDA device; there are: {have}")
    device = devices[device_id] if device_id is not None else _first_that_fits(devices)
    if precision == "fp16" and device.capability < _HALF_FROM:
        raise BackendError(
            f"{arg('precision', 'fp16')}: {device.name} has no half precision; use {arg('precision', 'fp32')}"
        )
    # OpenCV offers CUDA where any of the devices fits its build; the one asked for may be another.
    found = _match_problems(build(), there, device) if there else []
    if found:
        raise BackendError(
            f"{arg('backend', 'cuda')} cannot run on {name_of(device)}: {found[0].reason}; {found[0].hint}"
        )
    return device


def _first_that_fits(devices: tuple[Device, ...]) -> Device:
    built = build()
    return next((device for device in devices if built.runs_on(device.capability)), devices[0])


def name_of(device: Device) -> str:
    """A device's name and number."""
    return f"{device.name} (CUDA device {device.index})"


def why_not() -> str:
    """Why CUDA does not run here, and on a second line what helps."""
    found = problems()
    if not found:
        return "OpenCV does not offer it, though driver, device and build fit each other; see cvdetect doctor"
    hints = "; then ".join(problem.hint for problem in found)
    reasons = ", and ".join(problem.reason for problem in found)
    return f"{reasons}.\nTo use a GPU: {hints}. Without one: {arg('backend', 'cpu')}"


def report() -> list[tuple[str, str, bool]]:
    """For `doctor`: (what, what is found, whether it is as it should be), and the command to run next.

    A machine without a GPU, or an OpenCV without CUDA, is as it should be; parts that contradict each other are not.
    """
    there, built = driver(), build()
    lacking = problems()
    rows = [("driver", _driver_text(there), there is None or not there.failure)]
    for device in there.devices if there else ():
        about = f"{device.name}, compute capability {_dotted(device.capability)}, {device.memory / 2**30:.0f} GiB"
        rows.append((f"device {device.index}", about, True))
    rows.append(("OpenCV build", _build_text(built), True))
    contradiction = bool(lacking and built.cuda and built.cudnn and there and there.devices)
    rows += [("missing", problem.reason, not contradiction) for problem in lacking]
    rows.append(("next", "; then ".join(p.hint for p in lacking) or f"nothing: {arg('backend', 'cuda')} can run", True))
    return rows


def _driver_text(there: Driver | None) -> str:
    if there is None:
        return "none"
    return there.failure or f"serves CUDA up to {_dotted(there.cuda)}, {len(there.devices)} device(s)"


def _build_text(built: Build) -> str:
    if not built.cuda:
        return "without CUDA"
    native, ptx = (" ".join(map(_dotted, c)) or "none" for c in (built.native, built.ptx))
    return f"CUDA {built.cuda}, cuDNN {built.cudnn or 'missing'}, code for {native}, PTX for {ptx}"


# The NVIDIA driver of this machine, and its devices.
#
# It is asked by its own C interface (CUDA Driver API: cuInit, cuDeviceGet*): it numbers devices as OpenCV does, heeds
# CUDA_VISIBLE_DEVICES, and can be asked where OpenCV has no CUDA at all.


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
    """The driver's version and devices.

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
