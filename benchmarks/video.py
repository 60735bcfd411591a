"""`cvdetect video` against the usual script, and against its own floor.

python benchmarks/video.py [--rounds 3] [--frames 120]      speed: yolov3-tiny on 1280x720, MPEG-4 in, XVID out
python benchmarks/video.py --memory                         resident size after 300 and after 3,000 frames

Each contestant is a process of its own, because OpenCV's number of threads is one for a whole process. Times are those
of the loop over frames, without imports, loading and warming up. The script reads, makes a blob, forwards, decodes in a
Python loop over boxes, draws and writes, one after the other, with all cores for the network.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "street.mp4"


def model_files() -> tuple[str, str]:
    """The default model's cfg and weights, pulled if they are not here."""
    from cvdetect.core.progress import NullProgress
    from cvdetect.models.registry import load_models
    from cvdetect.models.store import Store

    files = Store().ensure(load_models().get("yolov3-tiny"), NullProgress())
    return str(files["cfg"]), str(files["weights"])


def make_input(path: Path, frames: int) -> None:
    """The sample clip, over and over, as 1280x720 MPEG-4."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (1280, 720))
    capture = cv2.VideoCapture(str(SAMPLE))
    for _ in range(frames):
        done, image = capture.read()
        if not done:
            capture = cv2.VideoCapture(str(SAMPLE))
            image = capture.read()[1]
        writer.write(cv2.resize(image, (1280, 720)))
    writer.release()


def script(video: str, folder: Path) -> None:
    """What tutorials show."""
    import cv2
    import numpy as np

    net = cv2.dnn.readNetFromDarknet(*model_files())
    names = net.getUnconnectedOutLayersNames()
    net.setInput(np.zeros((1, 3, 416, 416), np.float32))
    net.forward(names)
    capture = cv2.VideoCapture(video)
    writer = cv2.VideoWriter(str(folder / "script.avi"), cv2.VideoWriter.fourcc(*"XVID"), 30, (1280, 720))
    with measured():
        while True:
            done, image = capture.read()
            if not done:
                break
            h, w = image.shape[:2]
            net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (416, 416), swapRB=True, crop=False))
            boxes, scores, classes = [], [], []
            for output in net.forward(names):
                for row in output:
                    chances = row[5:]
                    best = np.argmax(chances)
                    if chances[best] > 0.25:
                        cx, cy, bw, bh = row[0] * w, row[1] * h, row[2] * w, row[3] * h
                        boxes.append([int(cx - bw / 2), int(cy - bh / 2), int(bw), int(bh)])
                        scores.append(float(chances[best]))
                        classes.append(int(best))
            for i in np.array(cv2.dnn.NMSBoxes(boxes, scores, 0.25, 0.4)).flatten():
                x, y, bw, bh = boxes[i]
                cv2.rectangle(image, (x, y), (x + bw, y + bh), (0, 255, 0), 2)
                cv2.putText(image, str(classes[i]), (x, y - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 255, 0), 2)
            writer.write(image)
        writer.release()


def forward(video: str, _folder: Path) -> None:
    """The network alone, once a frame, with all cores."""
    import cv2
    import numpy as np

    net = cv2.dnn.readNetFromDarknet(*model_files())
    names = net.getUnconnectedOutLayersNames()
    blob = np.random.default_rng(0).random((1, 3, 416, 416), np.float32)
    net.setInput(blob)
    net.forward(names)
    frames = int(cv2.VideoCapture(video).get(cv2.CAP_PROP_FRAME_COUNT))
    with measured():
        for _ in range(frames):
            net.setInput(blob)
            net.forward(names)


def ours(video: str, folder: Path) -> None:
    """`cvdetect video` as a library call; the clock runs from the first frame to the finished file."""
    from cvdetect.core.progress import NullProgress
    from cvdetect.jobs.video import VideoJob, detect_video

    class Clock(NullProgress):
        cpu = 0.0

        def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
            if unit == "frames":
                self.cpu = -time.process_time()

        def end(self) -> None:
            self.cpu += time.process_time()

    clock = Clock()
    report = detect_video(VideoJob(input=video, out=folder / "ours.avi"), clock)
    print(json.dumps({"wall": report.seconds, "cpu": clock.cpu}))


class measured:  # noqa: N801 - reads like contextlib's
    """Prints wall and CPU seconds of its block as JSON."""

    def __enter__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        print(json.dumps({"wall": time.perf_counter() - self.wall, "cpu": time.process_time() - self.cpu}))


CONTESTANTS = {"ours": ours, "script": script, "forward": forward}


def compete(rounds: int, frames: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder / "in.mp4", frames)
        rows = [{who: call(who, folder) for who in CONTESTANTS} for _ in range(rounds)]
    print(f"{frames} frames of 1280x720, {cores} cores, {rounds} rounds in turn; ms a frame, median")
    for who in CONTESTANTS:
        wall, cpu = (statistics.median(r[who][key] for r in rows) / frames * 1e3 for key in ("wall", "cpu"))
        print(f"  {who:8} wall {wall:6.1f}   cpu {cpu:6.1f}")
    told = (
        ("script / ours (goal: 1.3 or more)", [r["script"]["wall"] / r["ours"]["wall"] for r in rows]),
        ("forward alone / ours", [r["forward"]["wall"] / r["ours"]["wall"] for r in rows]),
        (
            "ours / (its CPU time / cores) (goal: 1.08 or less)",
            [r["ours"]["wall"] * cores / r["ours"]["cpu"] for r in rows],
        ),
    )  # fmt: skip
    for what, values in told:
        print(f"  {what}: {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")


def call(who: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", who, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} failed: {done.stderr.strip()}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def memory() -> None:
    """Resident size along a long run; the network is the default one, the video 3,000 frames."""
    from cvdetect.core.progress import NullProgress
    from cvdetect.jobs.video import VideoJob, detect_video

    class Watches(NullProgress):
        done = 0

        def advance(self, amount: int = 1) -> None:
            self.done += amount
            if self.done in (300, 1000, 2000, 3000):
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                print(f"  after {self.done} frames: {pages * os.sysconf('SC_PAGE_SIZE') / 1e6:.0f} MB", flush=True)

    with tempfile.TemporaryDirectory() as name:
        make_input(Path(name) / "in.mp4", 3000)
        detect_video(VideoJob(input=f"{name}/in.mp4", out=Path(name) / "out.avi"), Watches())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", choices=CONTESTANTS)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    if given.only:
        CONTESTANTS[given.only](str(given.folder / "in.mp4"), given.folder)
    elif given.memory:
        memory()
    else:
        model_files()
        compete(given.rounds, given.frames)


if __name__ == "__main__":
    main()
