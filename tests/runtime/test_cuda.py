"""What is told of CUDA on machines of every kind; the driver and OpenCV's build are stood in for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cvdetect.core.errors import BackendError, UsageError
from cvdetect.core.options import RunOptions
from cvdetect.core.source import ModelSource
from cvdetect.runtime import choose, cuda
from cvdetect.runtime.cuda import Build, Device, Driver, ask, read_build
from cvdetect.runtime.opencv import OpenCV, OpenCVNetwork
from tests.conftest import Cli
from tests.runtime.layers import layer_places

H200 = Device(0, "NVIDIA H200", (9, 0), 140 << 30)
A10 = Device(1, "NVIDIA A10", (8, 6), 22 << 30)
OLD = Device(0, "Quadro M4000", (5, 2), 8 << 30)
NO_CUDA = Build()
FULL = Build("13.0.88", "9.13.0", ((9, 0),), ((9, 0),))
NATIVE_ONLY = Build("13.0.88", "9.13.0", ((9, 0),))

BUILD_INFORMATION = """
  NVIDIA CUDA:                   YES (ver 13.0.88, CUBLAS)
    NVIDIA GPU arch:             86 90 120
    NVIDIA PTX archs:            120

  cuDNN:                         YES (ver 9.13.0)
"""


class Machine:
    """Sets what the probes find."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set = monkeypatch.setattr

    def __call__(self, driver: Driver | None, build: Build, offers: bool = False) -> None:
        """`offers`: OpenCV's DNN module says that its CUDA targets are there."""
        self._set(cuda, "driver", lambda: driver)
        self._set(cuda, "build", lambda: build)
        real = cv2.dnn.getAvailableTargets
        targets = [cv2.dnn.DNN_TARGET_CUDA, cv2.dnn.DNN_TARGET_CUDA_FP16] if offers else []
        self._set(cv2.dnn, "getAvailableTargets", lambda b: targets if b == cv2.dnn.DNN_BACKEND_CUDA else real(b))


def opencv(backend: str, precision: str = "fp32", device_id: int | None = None) -> OpenCV:
    runtime = choose(RunOptions(backend=backend, precision=precision, device_id=device_id))
    assert isinstance(runtime, OpenCV)
    return runtime


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize(
    ("driver", "build", "reason", "hint"),
    [
        (None, NO_CUDA, "there is no NVIDIA driver", "install NVIDIA's driver"),
        (None, FULL, "there is no NVIDIA driver", "install NVIDIA's driver"),
        (
            Driver((13, 0), failure="driver mismatch (CUDA error 803)"),
            FULL,
            "does not answer: driver mismatch",
            "nvidia-smi",
        ),
        (Driver((13, 0)), FULL, "has no device for this process", "CUDA_VISIBLE_DEVICES"),
        (Driver((13, 0), (H200,)), NO_CUDA, "is built without CUDA", "build_opencv_cuda.sh --arch 9.0 "),
        (Driver((13, 0), (H200, A10)), NO_CUDA, "is built without CUDA", "--arch 8.6,9.0 "),
        (Driver((13, 0), (H200,)), Build("13.0.88"), "is built without cuDNN", "build_opencv_cuda.sh --arch 9.0"),
        (Driver((12, 4), (H200,)), FULL, "serves CUDA 12.4 at most", "for CUDA 13"),
        (Driver((13, 0), (A10,)), FULL, "compute capability 9.0, NVIDIA A10 has 8.6", "--arch 8.6"),
    ],
)
def test_the_error_names_the_reason_and_a_hint(
    driver: Driver | None, build: Build, reason: str, hint: str, machine: Machine
) -> None:
    machine(driver, build)
    with pytest.raises(BackendError) as caught:
        opencv("cuda")
    text = str(caught.value)
    assert reason in text
    assert hint in text
    assert "backend='cpu'" in text
    assert len(text.splitlines()) <= 2


def test_both_reasons_are_reported_where_driver_and_cuda_are_missing(machine: Machine) -> None:
    machine(None, NO_CUDA)
    with pytest.raises(BackendError, match=r"no NVIDIA driver.*, and this OpenCV .* is built without CUDA"):
        opencv("cuda")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("asked", ["cuda", "auto"])
def test_a_gpu_that_fits_is_taken_and_named(asked: str, precision: str, machine: Machine) -> None:
    machine(Driver((13, 0), (H200, A10)), FULL, offers=True)
    runtime = opencv(asked, precision)
    assert (runtime.cuda_device, runtime.backend, runtime.ran.precision) == (0, "cuda", precision)
    assert runtime.ran.device == "NVIDIA H200 (CUDA device 0)"


def test_auto_takes_the_cpu_where_opencv_has_no_cuda(machine: Machine) -> None:
    machine(Driver((13, 0), (H200,)), NO_CUDA)
    assert opencv("auto").ran.target == "cpu"


def test_without_a_number_the_first_device_that_opencv_was_built_for_is_taken(machine: Machine) -> None:
    machine(Driver((13, 0), (Device(0, "NVIDIA T4", (7, 5), 1), A10, Device(2, "NVIDIA H100", (9, 0), 1))), FULL, True)
    assert opencv("cuda").cuda_device == 2


@pytest.mark.parametrize(
    ("device_id", "precision", "words"),
    [
        (2, "fp32", ["device_id 2: no such CUDA device", "NVIDIA H200 (CUDA device 0)", "NVIDIA A10"]),
        (1, "fp32", ["cannot run on NVIDIA A10 (CUDA device 1)", "--arch 8.6"]),
    ],
)
def test_a_device_that_cannot_run_it_is_refused(
    device_id: int, precision: str, words: list[str], machine: Machine
) -> None:
    machine(Driver((13, 0), (H200, A10)), FULL, offers=True)
    with pytest.raises(BackendError) as caught:
        opencv("cuda", precision, device_id)
    for word in words:
        assert word in str(caught.value)


def test_a_device_without_half_precision_is_not_given_single_in_silence(machine: Machine) -> None:
    machine(Driver((12, 4), (OLD,)), Build("12.4", "9.1", ((5, 2),)), offers=True)
    assert opencv("cuda").cuda_device == 0
    with pytest.raises(BackendError, match="has no half precision; use precision='fp32'"):
        opencv("cuda", "fp16")


def test_two_stages_on_cuda_in_half_precision_are_refused(machine: Machine) -> None:
    machine(Driver((13, 0), (H200,)), FULL, offers=True)
    with pytest.raises(
        BackendError,
        match="Faster and Mask R-CNN and R-FCN do not run well enough in OpenCV on CUDA in fp16; use precision='fp32'",
    ):
        opencv("cuda", "fp16").check_two_stage("m")
    opencv("cuda", "fp32").check_two_stage("m")
    opencv("cpu").check_two_stage("m")


@pytest.mark.parametrize("name", ["mask-rcnn-inception-v2-coco", "faster-rcnn-resnet50-coco"])
def test_two_stages_in_half_precision_are_refused_before_anything_is_pulled(
    name: str, machine: Machine, cli: Cli, samples: Path
) -> None:
    machine(Driver((13, 0), (H200,)), FULL, offers=True)
    done = cli(
        "--cache-dir", "cache", "image", samples / "dog.jpg",
        "-m", name, "--backend", "cuda", "--precision", "fp16",
    )  # fmt: skip
    assert done.code == 3, done
    assert "use --precision fp32" in done.err
    assert not Path("cache").exists()


def test_a_graph_with_two_stages_in_half_precision_is_refused(
    machine: Machine, cli: Cli, samples: Path, shared: Path
) -> None:
    machine(Driver((13, 0), (H200,)), FULL, offers=True)
    graph = shared / "data/reference/faster_rcnn_tiny.pb"
    done = cli("image", samples / "dog.jpg", "--graph", graph, "--backend", "cuda", "--precision", "fp16")
    assert done.code == 3, done
    assert "use --precision fp32" in done.err


@pytest.mark.parametrize(
    ("build", "capability", "runs"),
    [
        (FULL, (9, 0), True),
        (FULL, (12, 0), True),  # from PTX
        (FULL, (8, 9), False),
        (NATIVE_ONLY, (9, 0), True),
        (NATIVE_ONLY, (12, 0), False),
        (Build(native=((8, 0),)), (8, 6), True),  # native code runs on later devices of its generation
        (Build(native=((8, 6),)), (8, 0), False),
        (Build(), (9, 0), False),
    ],
)
def test_native_code_serves_its_generation_and_ptx_all_later_ones(
    build: Build, capability: tuple[int, int], runs: bool
) -> None:
    assert build.runs_on(capability) is runs


def test_opencvs_build_information_is_read() -> None:
    expected = Build("13.0.88", "9.13.0", ((8, 6), (9, 0), (12, 0)), ((12, 0),))
    assert read_build(BUILD_INFORMATION) == expected
    assert read_build("  NVIDIA CUDA:     NO\n") == Build()
    assert read_build("") == Build()


class FakeLibrary:
    """libcuda, as far as it is asked."""

    def __init__(self, devices: list[Device], status: int = 0) -> None:
        self._devices, self._status = devices, status

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 13010
        return 0

    def cuInit(self, _flags: int) -> int:
        return self._status

    def cuGetErrorString(self, status: int, text: Any) -> int:
        text._obj.value = f"error number {status}".encode()
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self._devices)
        return 0

    def cuDeviceGet(self, handle: Any, index: int) -> int:
        handle._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, handle: Any) -> int:
        name.value = self._devices[handle.value].name.encode()[: size - 1]
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, handle: Any) -> int:
        value._obj.value = self._devices[handle.value].capability[{75: 0, 76: 1}[attribute]]
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, handle: Any) -> int:
        memory._obj.value = self._devices[handle.value].memory
        return 0


def test_the_drivers_devices_are_read_with_name_capability_and_memory() -> None:
    assert ask(FakeLibrary([H200, A10])) == Driver((13, 1), (H200, A10))


def test_a_driver_without_a_device_is_no_failure() -> None:
    assert ask(FakeLibrary([], status=100)) == Driver((13, 1))


def test_a_driver_that_does_not_answer_is_reported_in_its_own_words() -> None:
    assert ask(FakeLibrary([], status=803)).failure == "error number 803 (CUDA error 803)"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"device_id": 1}, "device_id 1 goes with backend='cuda', not auto"),
        ({"device_id": 0, "backend": "cpu"}, "device_id 0 goes with backend='cuda', not cpu"),
        ({"device_id": -1, "backend": "cuda"}, "device_id -1: devices are counted from 0"),
    ],
)
def test_a_device_id_that_means_nothing_is_a_usage_error(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        choose(RunOptions(**options))


def doctor(cli: Cli) -> tuple[int, str]:
    done = cli("doctor")
    return done.code, " ".join(done.out.split())


def test_doctor_reports_what_is_missing_and_what_to_run(machine: Machine, cli: Cli) -> None:
    machine(Driver((13, 0), (H200,)), NO_CUDA)
    code, out = doctor(cli)
    assert code == 0
    for words in ("NVIDIA H200, compute capability 9.0, 140 GiB", "without CUDA", "build_opencv_cuda.sh --arch 9.0"):
        assert words in out


def test_doctor_calls_for_mending_where_opencv_has_cuda_for_another_gpu(machine: Machine, cli: Cli) -> None:
    machine(Driver((13, 0), (A10,)), FULL)
    code, out = doctor(cli)
    assert code == 3
    assert "this OpenCV is built for compute capability 9.0, NVIDIA A10 has 8.6" in out


def test_doctor_reports_where_nothing_is_missing(machine: Machine, cli: Cli) -> None:
    machine(Driver((13, 0), (H200,)), FULL, offers=True)
    code, out = doctor(cli)
    assert code == 0
    assert "nothing: --backend cuda can run" in out
    assert "CUDA 13.0.88, cuDNN 9.13.0, code for 9.0, PTX for 9.0" in out


def test_each_forward_sets_its_device_as_cuda_keeps_it_by_thread(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Net:
        def __getattr__(self, _name: str) -> Any:
            return lambda *_: [np.zeros((1, 6), np.float32)]

    machine(Driver((13, 0), (H200, Device(1, "NVIDIA H200", (9, 0), 1))), FULL, offers=True)
    seen: list[int] = []
    monkeypatch.setattr(cv2.cuda, "setDevice", seen.append)
    network = OpenCVNetwork(Net(), ["out"], opencv("cuda", device_id=1))
    network.forward(np.zeros((1, 3, 32, 32), np.float32))
    network.forward(np.zeros((1, 3, 32, 32), np.float32))
    assert seen == [1, 1]


def test_the_place_of_every_layer_can_be_read(shared: Path) -> None:
    models = shared / "data/models"
    weights = np.fromfile(models / "yolo-fastest-1.1-xl.weights", np.uint8)
    text = (models / "yolo-fastest-1.1-xl.cfg").read_text()
    source = ModelSource(format="darknet", name="xl", content=weights, text=text, wh=(320, 320))
    network = opencv("cpu").load(source)
    network.forward(np.zeros((1, 3, 320, 320), np.float32))
    layers = layer_places(network)
    assert {place for _, place in layers} == {"OCV/CPU"}
    kinds = [kind for kind, _ in layers]
    assert kinds.count("Convolution") == text.count("[convolutional]")
    assert kinds.count("Region") == text.count("[yolo]")
