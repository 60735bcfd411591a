"""A runtime that is registered is one that can be chosen, and it runs images through the detector."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from cvdetect.core.errors import BackendError, UsageError
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.progress import NullProgress
from cvdetect.core.source import ModelSource
from cvdetect.inference.detector import Detector, load_detectors
from cvdetect.runtime import RUNTIMES, Network, Ran, Runtime, choose, device_backends
from tests.families.test_onnx_decoders import KNOWN, WH, WRITERS, assert_same
from tests.models.onnx_models import constant_model

IMAGE = np.zeros((WH[1], WH[0], 3), np.uint8)


class Constant:
    """A network that gives what it holds."""

    def __init__(self, outputs: Mapping[str, np.ndarray]) -> None:
        self.outputs = outputs

    def forward(self, blob: np.ndarray) -> Mapping[str, np.ndarray]:
        return {name: np.repeat(array, len(blob), axis=0) for name, array in self.outputs.items()}


class Other(Runtime):
    """Reads ONNX only, and has two devices."""

    formats: ClassVar[frozenset[str]] = frozenset({"onnx"})
    device_backends: ClassVar[tuple[str, ...]] = ("npu",)
    loaded: ClassVar[list[ModelSource]] = []

    @classmethod
    def offered(cls) -> dict[str, tuple[str, ...]]:
        return {"npu": ("fp16",)}

    @classmethod
    def choose(cls, run: RunOptions) -> Runtime:
        ran = Ran("other", "npu", "npu", f"device {run.device_id or 0}", "fp16")
        return cls(run=run, backend="npu", ran=ran, networks=3)

    def load(self, source: ModelSource) -> Network:
        self.loaded.append(source)
        return Constant(WRITERS["yolo_v8"]([KNOWN]))


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    monkeypatch.setitem(RUNTIMES, "other", Other)
    monkeypatch.setattr(Other, "loaded", [])
    return RunOptions(runtime="other", backend="npu", device_id=1)


@pytest.fixture
def model(tmp_path: Path) -> ModelChoice:
    return ModelChoice(onnx=constant_model(tmp_path / "m.onnx", WRITERS["yolo_v8"]([KNOWN]), raw=False))


def test_it_runs_images_through_the_detector(other: RunOptions, model: ModelChoice) -> None:
    detector = Detector.load(model, DetectOptions(conf=0.25), other)
    assert str(detector.ran) == "other, backend npu, target npu, fp16, on device 1"
    one, two = detector.detect_batch([IMAGE, IMAGE])
    assert_same(one, KNOWN)
    assert_same(two, KNOWN)
    (source,) = Other.loaded
    assert (source.format, source.wh, source.shapes) == ("onnx", WH, {"output0": (1, 10, 2457)})


def test_it_decides_how_many_networks_run_side_by_side(other: RunOptions, model: ModelChoice) -> None:
    detectors = load_detectors(model, DetectOptions(), other_with_threads(other), NullProgress())
    assert len(detectors) == len(Other.loaded) == 3
    assert {detector.model.runtime.run.threads for detector in detectors} == {2}


def other_with_threads(run: RunOptions) -> RunOptions:
    return RunOptions(runtime=run.runtime, backend=run.backend, threads=6)


def test_a_format_that_it_does_not_read_is_refused_before_anything_is_pulled(other: RunOptions) -> None:
    with pytest.raises(BackendError, match=r"yolov3: runtime other cannot read Darknet models \(it reads ONNX\)"):
        Detector.load(ModelChoice(name="yolov3", offline=True), run=other)


@pytest.mark.usefixtures("other")
def test_a_device_goes_with_a_backend_of_its_own_that_has_several() -> None:
    assert device_backends(RunOptions(runtime="other")) == ("npu",)
    with pytest.raises(UsageError, match="device_id 1 goes with backend='npu', not cuda"):
        choose(RunOptions(runtime="other", backend="cuda", device_id=1))


def test_an_unknown_runtime_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="runtime 'other': no such runtime; there are opencv"):
        choose(RunOptions(runtime="other"))


# ---- OpenCV's number of threads ----


@pytest.fixture
def threads() -> Iterator[int]:
    """An application's own number of threads, set back at the end."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(5)
    yield 5
    cv2.setNumThreads(before)


class Recording:
    """Stands in for cv2.dnn's network: remembers OpenCV's number of threads during each pass."""

    def __init__(self, net: object, gate: threading.Barrier | None = None) -> None:
        self._net, self._gate = net, gate
        self.seen: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._net, name)

    def forward(self, outputs: list[str]) -> object:
        self.seen.append(cv2.getNumThreads())
        if self._gate is not None:
            self._gate.wait(timeout=20)
            self._gate.wait(timeout=20)
        return self._net.forward(outputs)  # type: ignore[attr-defined]


def recorded(model: ModelChoice, count: int, gate: threading.Barrier | None = None) -> tuple[Detector, Recording]:
    detector = Detector.load(model, run=RunOptions(backend="cpu", threads=count))
    recording = Recording(detector.model.network._net, gate)  # type: ignore[attr-defined]
    detector.model.network._net = recording  # type: ignore[attr-defined]
    return detector, recording


def test_each_detector_runs_with_its_own_number_of_threads_and_leaves_the_applications(
    model: ModelChoice, threads: int
) -> None:
    (first, one), (second, three) = recorded(model, 1), recorded(model, 3)
    for detector in (first, second, first):
        detector.detect(IMAGE)
        assert cv2.getNumThreads() == threads
    assert (one.seen, three.seen) == ([1, 1], [3])


def test_the_applications_number_comes_back_when_the_last_of_several_passes_ends(
    model: ModelChoice, threads: int
) -> None:
    gate = threading.Barrier(2)
    detector, recording = recorded(model, 1, gate)
    thread = threading.Thread(target=detector.detect, args=(IMAGE,))
    thread.start()
    gate.wait(timeout=20)  # the first pass runs
    other, its = recorded(model, 2)
    other.detect(IMAGE)
    assert cv2.getNumThreads() == 1, "the first pass still runs"
    gate.wait(timeout=20)
    thread.join(timeout=20)
    assert (recording.seen, its.seen, cv2.getNumThreads()) == ([1], [2], threads)


def test_loading_and_running_leave_opencvs_log_level_as_the_application_has_set_it(model: ModelChoice) -> None:
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_INFO)
    try:
        Detector.load(model, run=RunOptions(backend="cpu")).detect(IMAGE)
        assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_INFO
    finally:
        cv2.utils.logging.setLogLevel(before)
