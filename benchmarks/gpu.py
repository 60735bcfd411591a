"""Frames a second on an NVIDIA GPU: the network alone, `video` and `annotate`, in single and half precision.

python benchmarks/gpu.py [--rounds 5] [--frames 600] [--batch 8] [--tflops FP32,FP16]

Exits 3, with the reason, where there is no GPU that OpenCV can use. Where PyTorch with CUDA is installed, the same
network runs in it too, in turns. Each forward takes its blob from the computer's memory and gives its outputs back.
The floor is the network's multiplications and additions over the device's arithmetic rate.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timing
from gpu_networks import Named, networks
from gpu_torch import torch_forward
from video import make_input

from cvdetect.core.errors import BackendError, CvdetectError
from cvdetect.core.options import DetectOptions, RunOptions
from cvdetect.core.progress import NullProgress
from cvdetect.formats.darknet import flops
from cvdetect.inference.detector import Detector
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from cvdetect.jobs.video import VideoJob, detect_video
from cvdetect.runtime import choose

DETECT = DetectOptions(conf=0.5)
REPEATS = 30  # forwards a turn
# TFLOP/s without sparsity, from NVIDIA's data sheets: fp32 outside the tensor cores, fp16 in them.
RATES = {
    "H200": (67, 989), "H100": (67, 989), "A100": (19.5, 312), "L40S": (91.6, 362), "L4": (30.3, 121),
    "A10": (31.2, 125), "T4": (8.1, 65),
}  # fmt: skip


@dataclass(frozen=True)
class Device:
    """What is measured on; rates in operations a second by precision, {} where they are not known."""

    name: str
    rates: dict[str, float]


def find_device(tflops: str | None) -> Device:
    """Raises BackendError where OpenCV has no GPU to use."""
    name = choose(RunOptions(backend="cuda")).ran.device
    pair = [float(part) for part in tflops.split(",")] if tflops else next(
        (rates for key, rates in RATES.items() if key in name.split()), ()
    )  # fmt: skip
    return Device(name, dict(zip(("fp32", "fp16"), (rate * 1e12 for rate in pair), strict=False)))


def has_torch() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def forwards(network: Named, run: RunOptions, batch: int, rounds: int) -> dict[str, float]:
    """Images a second of OpenCV and, where it is there, PyTorch: medians over rounds in turn."""
    blob = np.random.default_rng(1).random((batch, 3, network.wh[1], network.wh[0]), np.float32)
    detector = Detector.load(network.choice, DETECT, run)
    contestants = {"opencv": repeated(detector.model.network.forward, blob)}
    if has_torch():
        contestants["torch"] = repeated(torch_forward(network.cfg, network.wh, run.precision), blob)
    times = timing.interleave(contestants, rounds)
    return {who: REPEATS * batch / statistics.median(seconds) for who, seconds in times.items()}


def repeated(forward: Callable[[np.ndarray], object], blob: np.ndarray) -> Callable[[], None]:
    def call() -> None:
        for _ in range(REPEATS):
            forward(blob)

    return call


class Pace(NullProgress):
    """Keeps the time of each frame or image that is done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def advance(self, amount: int = 1) -> None:
        self.times += [time.perf_counter()] * amount

    @property
    def rate(self) -> float:
        """Of the second half, a second: loading, warming up and filling queues are over by then."""
        late = self.times[len(self.times) // 2 :]
        return (len(late) - 1) / (late[-1] - late[0])


def video_rate(network: Named, run: RunOptions, batch: int, folder: Path, out: Path | None = None) -> float:
    """Frames a second of the whole `cvdetect video`, with JSON Lines or an annotated video written."""
    pace = Pace()
    json = None if out else str(folder / "found.jsonl")
    job = VideoJob(
        input=str(folder / "in.mp4"), model=network.choice, detect=DETECT, run=run, batch=batch, out=out, json=json
    )
    detect_video(job, pace)
    return pace.rate


def annotate_rate(network: Named, run: RunOptions, batch: int, folder: Path) -> float:
    """Images a second of the whole `cvdetect annotate`."""
    pace = Pace()
    job = AnnotateJob(
        images=str(folder / "images"), out=folder / "labels", model=network.choice, detect=DETECT, run=run,
        batch=batch, overwrite=True,
    )  # fmt: skip
    annotate(job, pace)
    return pace.rate


def prepare(folder: Path, frames: int) -> None:
    make_input(folder / "in.mp4", frames)
    (folder / "images").mkdir()
    for i in range(frames):
        (folder / "images" / f"{i:05d}.jpg").symlink_to(timing.DOG)


def measure(network: Named, precision: str, device: Device, given: argparse.Namespace, folder: Path) -> None:
    """Print what one network does in one precision."""
    run = RunOptions(backend=given.backend, precision=precision)
    lines = []
    for batch in sorted({1, given.batch}):
        rates = forwards(network, run, batch, given.rounds)
        lines += [(f"forward, batch {batch}, {who}", rate) for who, rate in rates.items()]
        lines.append((f"video to JSON, batch {batch}", video_rate(network, run, batch, folder)))
    lines.append(("video to AVI, batch 1", video_rate(network, run, 1, folder, folder / "out.avi")))
    lines.append((f"annotate, batch {given.batch}", annotate_rate(network, run, given.batch, folder)))
    work = flops(network.cfg, network.wh)
    floor = device.rates.get(precision)
    for what, rate in lines:
        share = f"{rate * work / floor:7.1%} of the device's rate" if floor else ""
        print(f"{network.name:32} {precision}  {what:32} {rate:8.1f} a second  {share}".rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each runtime (%(default)s)")
    parser.add_argument("--frames", type=int, default=600, help="of the video, and images (%(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="the larger batch (%(default)s)")
    parser.add_argument("--tflops", help="the device's rates in fp32 and fp16, where this script does not know them")
    parser.add_argument("--only", default="", help="only networks whose name contains this")
    parser.add_argument("--backend", default="cuda", help="cpu tests the script; its figures are not a GPU's")
    given = parser.parse_args()
    try:
        device = (
            find_device(given.tflops)
            if given.backend == "cuda"
            else Device(choose(RunOptions(backend=given.backend)).ran.device, {})
        )
        print(f"{device.name}; PyTorch with CUDA: {'yes' if has_torch() else 'no'}")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, given.frames)
            for network in networks(folder):
                for precision in ("fp32", "fp16") if given.backend == "cuda" else ("fp32",):
                    if given.only in network.name:
                        measure(network, precision, device, given, folder)
    except BackendError as error:
        print(f"Nothing is measured: {error}", file=sys.stderr)
        sys.exit(3)
    except CvdetectError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
