"""The job of ``cvdetect doctor``: what this machine can run, found out by trying it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from cvdetect.core.errors import CvdetectError, MissingPackage
from cvdetect.core.options import usable_cores
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.jobs.models import ListModelsJob, ListModelsReport, list_models

__all__ = ["DoctorJob", "DoctorReport", "Finding", "cv2_owners", "diagnose"]

_IMPORTERS = {
    "Darknet": "readNetFromDarknet",
    "TensorFlow": "readNetFromTensorflow",
    "ONNX": "readNetFromONNX",
    "Caffe": "readNetFromCaffe",
    "TFLite": "readNetFromTFLite",
}
_BUILD_KEYS = (
    "GUI", "FFMPEG", "GStreamer", "NVIDIA CUDA", "cuDNN", "OpenCL", "Parallel framework", "Dispatched code generation",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorJob(ListModelsJob):
    """Which models to look for, and where."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis; `good` is False where something needs repair."""

    topic: str
    name: str
    value: str
    good: bool = True


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All findings, in the order a person reads them."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0, or 3 where something needs repair."""
        return 0 if all(finding.good for finding in self.findings) else 3


def diagnose(job: DoctorJob, progress: Progress = LoggingProgress(), controls: Controls | None = None) -> DoctorReport:
    """Try what this machine can run. A test that fails is a finding itself.

    Raises:
        RegistryError: a models.yaml cannot be read.
    """
    models = partial(_models, list_models(job), job.store.root)
    tests: list[Callable[[], Iterator[Finding]]]
    tests = [_versions, _opencv, _backends, _cuda, _windows, _video_writing, models]
    findings: list[Finding] = []
    progress.begin("testing", len(tests), "topics")
    try:
        for test in tests:
            if controls is not None and controls.stopping:
                break
            findings += _run_test(test)
            progress.advance()
    finally:
        progress.end()
    return DoctorReport(tuple(findings))


def _run_test(test: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from test()
    except CvdetectError as error:
        yield Finding("problem", type(error).__name__, str(error), good=False)


def _versions() -> Iterator[Finding]:
    from cvdetect import __version__

    yield Finding("versions", "cvdetect", __version__)
    yield Finding("versions", "Python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("versions", "system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Finding("versions", "NumPy", np.__version__)
    yield Finding("versions", "cores", f"{usable_cores()} usable of {os.cpu_count()}")
    yield _owners()


def cv2_owners() -> list[str]:
    """The installed packages that own the folder ``cv2``, with their versions; two or more overwrite each other."""
    names = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def _owners() -> Finding:
    owners = cv2_owners()
    if len(owners) > 1:
        hint = "they overwrite each other's cv2 folder: uninstall all of them, then install one"
        return Finding("versions", "OpenCV package", f"{', '.join(owners)}: {hint}", good=False)
    return Finding("versions", "OpenCV package", owners[0] if owners else "none (your own build)")


def _opencv() -> Iterator[Finding]:
    from cvdetect.core.cv import NEEDS, cv2

    yield Finding("OpenCV", "version", f"{cv2.__version__} at {Path(cv2.__file__).parent}")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        raise MissingPackage(f"OpenCV {cv2.__version__} cannot read Darknet models: install '{NEEDS}'")
    readers = [name for name, function in _IMPORTERS.items() if hasattr(cv2.dnn, function)]
    yield Finding("OpenCV", "model formats", ", ".join(readers))
    build = _build_information(cv2.getBuildInformation())
    for key in _BUILD_KEYS:
        yield Finding("OpenCV", f"built with {key}", build.get(key, "NO"))
    yield Finding("OpenCV", "threads", str(cv2.getNumThreads()))


def _build_information(text: str) -> dict[str, str]:
    """OpenCV's build information as key → value."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {key.strip(): " ".join(value.split()) for key, _, value in pairs}


def _backends() -> Iterator[Finding]:
    from cvdetect.runtime import RUNTIMES, choose

    for runtime in RUNTIMES.values():
        for name, precisions in runtime.offered().items():
            yield Finding("backends", name, ", ".join(precisions) or "not available")
    ran = choose().ran
    yield Finding("backends", "auto takes", str(ran))


def _cuda() -> Iterator[Finding]:
    from cvdetect.runtime.cuda import report

    for name, value, good in report():
        yield Finding("CUDA", name, value, good)


def _windows() -> Iterator[Finding]:
    from cvdetect.sinks.window import why_no_window

    yield Finding("windows", "cv2.imshow", why_no_window() or "works")


def _video_writing() -> Iterator[Finding]:
    """What writes videos, and for each container the FOURCCs that `video` can write into it here."""
    from cvdetect import media
    from cvdetect.media.codecs import CONTAINERS
    from cvdetect.sinks.video import writable

    if media.available():
        yield Finding("video writing", "by", f"PyAV {media.installed()}")
    else:
        yield Finding("video writing", "by", f"OpenCV: {media.why_absent()}, so {media.LIMITS}")
    with _silent_stderr():
        found = {suffix: ", ".join(writable(suffix)) or "none" for suffix in CONTAINERS}
    for suffix, codecs in found.items():
        yield Finding("video writing", suffix, codecs)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard file descriptor 2, to which FFmpeg's C code prints its messages about codecs that fail the test."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123 - a device
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _models(report: ListModelsReport, cache: Path) -> Iterator[Finding]:
    yield Finding("models", "cache", str(cache))
    for model in report.models:
        if model.present:
            default = " (the default)" if model.spec.name == report.default else ""
            total = len(model.files)
            state = "complete" if model.present == total else f"{model.present} of {total} files"
            yield Finding("models", model.spec.name, state + default)
