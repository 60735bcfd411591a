"""On a real NVIDIA GPU with an OpenCV that has CUDA: the same detections as on the CPU, and nothing falls back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cvdetect import DetectOptions, Detector, ModelChoice, RunOptions
from cvdetect.core.errors import BackendError
from cvdetect.core.progress import NullProgress
from cvdetect.runtime.opencv import OpenCVNetwork
from cvdetect.sources.images import read_image
from tests.conftest import ROOT, Cli
from tests.gpu.agreement import FP16, FP32, Tolerance, share_found
from tests.networks.test_full_networks import yolov2
from tests.runtime.layers import layer_places

CUDA32 = RunOptions(backend="cuda", precision="fp32")
CUDA16 = RunOptions(backend="cuda", precision="fp16")
CPU = RunOptions(backend="cpu")

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


@pytest.fixture(scope="module")
def gpu() -> None:
    """Skips, with the reason, where CUDA cannot run."""
    from cvdetect.runtime import RUNTIMES, cuda

    if "fp32" not in RUNTIMES["opencv"].offered()["cuda"]:
        pytest.skip(f"no CUDA here: {cuda.why_not().splitlines()[0]}")


@dataclass(frozen=True)
class Case:
    """One model of a family.

    Attributes:
        choice: the shared folder and a folder of one's own → the model.
        conf: detections of this score on are compared.
        share: so many of them must have a partner; less than all where random weights make nearly equal boxes, of which
            suppression may keep either.
        two_stage: OpenCV runs it on CUDA in fp32 only.
    """

    choice: Callable[[Path, Path], ModelChoice]
    conf: float = 0.25
    share: float = 1.0
    two_stage: bool = False


def darknet(stem: str) -> Callable[[Path, Path], ModelChoice]:
    return lambda shared, _: ModelChoice(
        cfg=shared / f"data/models/{stem}.cfg", weights=shared / f"data/models/{stem}.weights"
    )


def tensorflow(stem: str, folder: str = "reference") -> Callable[[Path, Path], ModelChoice]:
    return lambda shared, _: ModelChoice(
        graph=shared / f"data/{folder}/{stem}.pb", config=shared / f"data/{folder}/{stem}.pbtxt"
    )


def onnx(stem: str) -> Callable[[Path, Path], ModelChoice]:
    return lambda shared, _: ModelChoice(onnx=shared / f"data/models/{stem}.onnx")


def random_region(_: Path, folder: Path) -> ModelChoice:
    """YOLOv2 has no small trained network here; one with random weights takes the same way."""
    cfg = yolov2((416, 416))
    (folder / "region.cfg").write_text(cfg.text)
    (folder / "region.weights").write_bytes(b"".join(cfg.weights(seed=7)))
    return ModelChoice(cfg=folder / "region.cfg", weights=folder / "region.weights")


CASES = {
    "yolo, depthwise": Case(darknet("yolo-fastest-1.1-xl")),
    "yolo, residual": Case(darknet("mobilenetv2-yolov3-nano")),
    "yolo, faces": Case(darknet("yoloface-500k-v2")),
    "region": Case(random_region, conf=0.1, share=0.98),
    "detection_output, SSDLite": Case(tensorflow("pedestrian_ssdlite")),
    "detection_output, Faster R-CNN": Case(tensorflow("faster_rcnn_tiny"), conf=0.1, share=0.98, two_stage=True),
    "mask_rcnn": Case(tensorflow("mask_rcnn_tiny"), conf=0.3, share=0.98, two_stage=True),
    "yolox": Case(onnx("yolox_nano")),
    "nanodet": Case(onnx("nanodet_m")),
}


def compare(case: Case, run: RunOptions, tolerance: Tolerance, shared: Path, folder: Path) -> None:
    choice = case.choice(shared, folder)
    detect = DetectOptions(conf=max(0.01, case.conf - 2 * tolerance.score), max_det=5000)
    on_cpu, on_gpu = (Detector.load(choice, detect, options) for options in (CPU, run))
    assert on_gpu.ran.backend == "cuda"
    compared = 0
    for name in ("dog", "person", "giraffe"):
        image = read_image(shared / f"data/pictures/{name}.jpg")
        expected, found = on_cpu.detect(image), on_gpu.detect(image)
        compared += int((expected.score >= case.conf).sum())
        assert share_found(expected, found, case.conf, tolerance) >= case.share, (name, expected, found)
        assert share_found(found, expected, case.conf, tolerance) >= case.share, (name, expected, found)
    assert compared, "no detections to compare"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_gpu_finds_in_single_precision_what_the_cpu_finds(case: Case, shared: Path, tmp_path: Path) -> None:
    compare(case, CUDA32, FP32, shared, tmp_path)


ONE_STAGE = {name: case for name, case in CASES.items() if not case.two_stage}
TWO_STAGE = {name: case for name, case in CASES.items() if case.two_stage}


@pytest.mark.parametrize("case", ONE_STAGE.values(), ids=ONE_STAGE)
def test_the_gpu_finds_in_half_precision_what_the_cpu_finds(case: Case, shared: Path, tmp_path: Path) -> None:
    compare(case, CUDA16, FP16, shared, tmp_path)


@pytest.mark.parametrize("case", TWO_STAGE.values(), ids=TWO_STAGE)
def test_two_stages_in_half_precision_are_refused_and_single_is_named(case: Case, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="use precision='fp32'"):
        Detector.load(case.choice(shared, tmp_path), run=CUDA16)


@pytest.mark.usefixtures("yolov3_tiny")
@pytest.mark.parametrize(("run", "tolerance"), [(CUDA32, FP32), (CUDA16, FP16)], ids=["fp32", "fp16"])
def test_the_default_model_agrees_on_the_sample(run: RunOptions, tolerance: Tolerance, samples: Path) -> None:
    image = read_image(samples / "dog.jpg")
    expected, found = (Detector.load(None, DetectOptions(conf=0.2), o).detect(image) for o in (CPU, run))
    assert share_found(expected, found, 0.3, tolerance) == 1.0
    assert share_found(found, expected, 0.3, tolerance) == 1.0


def free_bytes() -> int:
    """Free memory of the first GPU."""
    import cv2

    return int(cv2.cuda.DeviceInfo(0).freeMemory())


@pytest.mark.parametrize("run", [CUDA32, CUDA16], ids=["fp32", "fp16"])
def test_no_convolution_falls_back_to_the_cpu(run: RunOptions, shared: Path, samples: Path, tmp_path: Path) -> None:
    before = free_bytes()
    detector = Detector.load(darknet("yolo-fastest-1.1-xl")(shared, tmp_path), run=run)
    detector.detect(read_image(samples / "dog.jpg"))
    assert free_bytes() < before, "nothing came to lie on the GPU"
    assert isinstance(detector.model.network, OpenCVNetwork)
    places = {place for kind, place in layer_places(detector.model.network) if kind == "Convolution"}
    assert places == {"CUDA/CUDA" if run.precision == "fp32" else "CUDA/CUDA_FP16"}


def test_auto_takes_the_gpu_and_says_which(cli: Cli, xl: list[str], samples: Path) -> None:
    done = cli("-v", "image", samples / "dog.jpg", *xl, "--json", "-", "--no-save")
    assert done.code == 0, done
    assert "backend cuda" in done.err
    assert "CUDA device 0" in json.loads(done.out)["ran"]["device"]


def test_a_device_that_is_not_there_is_told_with_those_that_are(cli: Cli, xl: list[str], samples: Path) -> None:
    done = cli("image", samples / "dog.jpg", *xl, "--backend", "cuda", "--device-id", 99)
    assert done.code == 3
    assert "--device-id 99: no such CUDA device" in done.err
    assert "CUDA device 0" in done.err


def test_the_first_device_can_be_named(cli: Cli, xl: list[str], samples: Path) -> None:
    first = cli("image", samples / "dog.jpg", *xl, "--backend", "cuda", "--json", "-", "--no-save")
    named = cli("image", samples / "dog.jpg", *xl, "--backend", "cuda", "--device-id", 0, "--json", "-", "--no-save")
    assert (named.code, named.out) == (0, first.out)


def test_a_batch_on_the_gpu_gives_what_each_picture_gives_alone(shared: Path, tmp_path: Path) -> None:
    detector = Detector.load(darknet("yolo-fastest-1.1-xl")(shared, tmp_path), DetectOptions(conf=0.2), CUDA32)
    images = [read_image(shared / f"data/pictures/{name}.jpg") for name in ("dog", "person", "giraffe")]
    alone = [detector.detect(image) for image in images]
    for one, together in zip(alone, detector.detect_batch(images), strict=True):
        assert share_found(one, together, 0.25, FP32) == 1.0


def test_a_video_keeps_all_its_frames_and_the_warm_up_is_told(cli: Cli, xl: list[str], samples: Path) -> None:
    done = cli("-v", "video", samples / "street.mp4", *xl, "--backend", "cuda", "--json", "gpu.jsonl")
    assert done.code == 0, done
    assert "warmed up in" in done.err
    assert cli("video", samples / "street.mp4", *xl, "--backend", "cpu", "--json", "cpu.jsonl").code == 0
    frames = [len(Path(f"{where}.jsonl").read_text().splitlines()) for where in ("gpu", "cpu")]
    assert frames[0] == frames[1] > 0


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident size is read from /proc")
def test_memory_stays_flat_over_a_thousand_frames(shared: Path, tmp_path: Path) -> None:
    detector = Detector.load(darknet("yolo-fastest-1.1-xl")(shared, tmp_path), run=CUDA16)
    image = np.random.default_rng(3).integers(0, 255, (720, 1280, 3), np.uint8)
    for _ in range(200):
        detector.detect(image)
    free, resident = free_bytes(), resident_bytes()
    for _ in range(1000):
        detector.detect(image)
    assert free - free_bytes() <= 16 << 20
    assert resident_bytes() - resident <= 16 << 20


def test_two_processes_share_one_gpu(xl: list[str], samples: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cvdetect", "image", str(samples / "dog.jpg"), *xl]
    command += ["--backend", "cuda", "--json", "-", "--no-save"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    assert told[0][0] == told[1][0]


def test_networks_side_by_side_give_what_one_gives(shared: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from cvdetect.inference.detector import load_detectors

    choice = darknet("yolo-fastest-1.1-xl")(shared, tmp_path)
    detectors = load_detectors(choice, DetectOptions(conf=0.2), CUDA32, NullProgress(), workers=2)
    image = read_image(shared / "data/pictures/dog.jpg")
    expected = detectors[0].detect(image)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda detector: [detector.detect(image) for _ in range(20)], detectors))
    for one in (f for many in found for f in many):
        assert share_found(expected, one, 0.25, FP32) == 1.0
