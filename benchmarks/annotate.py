"""A folder of images into PASCAL VOC files: `cvdetect annotate` against the usual script.

The script does one thing after another: imread, blobFromImage, forward, a Python loop over the rows, NMSBoxes, write
the XML. Both load yolov3-tiny, detect in the same images (COCO's, repeated), and write the same number of files. A
third contestant runs the same number of forwards and nothing else, on as many networks side by side as cvdetect runs.

Each is a process, and they take turns of a second: the others are stopped meanwhile (SIGSTOP). So other work on the
machine slows all alike.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import timing

from cvdetect import Detector, load_models, read_image
from cvdetect.core.errors import CvdetectError
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions, usable_cores
from cvdetect.core.progress import NullProgress
from cvdetect.inference.detector import load_detectors
from cvdetect.inference.preprocess import preprocess
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.run import annotate
from cvdetect.models.store import Store

CONF, NMS = 0.5, 0.4
STEADY = 500  # image from which memory should not grow
TURN = 1.0  # seconds


def script(images: Path, out: Path, files: Mapping[str, Path], names: Mapping[int, str]) -> None:
    """What tutorials do."""
    cv2.setNumThreads(usable_cores())
    net = cv2.dnn.readNetFromDarknet(str(files["cfg"]), str(files["weights"]))
    layers = net.getUnconnectedOutLayersNames()
    out.mkdir(exist_ok=True)
    for path in sorted(images.iterdir()):
        image = cv2.imread(str(path))
        height, width = image.shape[:2]
        net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (416, 416), swapRB=True, crop=False))
        boxes, scores, classes = [], [], []
        for output in net.forward(layers):
            for row in output:
                class_id = int(np.argmax(row[5:]))
                score = float(row[5 + class_id])
                if score > CONF:
                    w, h = int(row[2] * width), int(row[3] * height)
                    boxes.append([int(row[0] * width) - w // 2, int(row[1] * height) - h // 2, w, h])
                    scores.append(score)
                    classes.append(class_id)
        kept = [int(i) for i in np.array(cv2.dnn.NMSBoxes(boxes, scores, CONF, NMS)).flatten()]
        objects = "".join(_object(names[classes[i]], boxes[i]) for i in kept)
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{path.name}</filename>{size}{objects}</annotation>"
        (out / f"{path.stem}.xml").write_text(text)


def _object(name: str, box: list[int]) -> str:
    x, y, w, h = box
    corners = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"


class Memory(NullProgress):
    """A progress that samples the process's memory after each image, and reports it at the end."""

    def __init__(self) -> None:
        self._megabytes: list[float] = []

    def advance(self, _amount: int = 1) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self._megabytes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

    def tell(self) -> str:
        if len(self._megabytes) <= STEADY:
            return f"memory: {max(self._megabytes):.0f} MB at most"
        steady, rest = self._megabytes[STEADY], self._megabytes[STEADY:]
        return f"memory: {steady:.0f} MB at image {STEADY}, {max(rest) - steady:+.1f} MB at most from there to the end"


def ours(images: Path, out: Path, batch: int) -> None:
    job = AnnotateJob(
        images=str(images), out=out, formats=("voc",), model=ModelChoice(name="yolov3-tiny"),
        detect=DetectOptions(conf=CONF, nms=NMS), batch=batch,
    )  # fmt: skip
    memory = Memory()
    report = annotate(job, memory)
    assert report.exit_code == 0, report
    print(memory.tell())


def forwards(count: int) -> Callable[[], None]:
    """Makes ready; then `count` forwards on the networks that annotate would run, with nothing else going on."""
    choice = ModelChoice(name="yolov3-tiny")
    detectors = load_detectors(choice, DetectOptions(), RunOptions(), NullProgress(), most=count)
    blob, _ = preprocess([read_image(timing.DOG)], detectors[0].model.input_wh, detectors[0].model.input)

    def forward(detector: Detector, times: int) -> None:
        for _ in range(times):
            detector.model.network.forward(blob)

    def run() -> None:
        shares = [count // len(detectors) + (i < count % len(detectors)) for i in range(len(detectors))]
        threads = [threading.Thread(target=forward, args=pair) for pair in zip(detectors, shares, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for detector in detectors:
        forward(detector, 2)
    return run


def be(contestant: str, images: Path, out: Path, batch: int) -> None:
    """A contestant's process: get ready, report it, wait for the first turn, work, print the processor time."""
    files = Store().ensure(load_models().get("yolov3-tiny"), NullProgress())
    names = Detector.load("yolov3-tiny").labels.names if contestant == "script" else {}
    work = {
        "script": lambda: partial(script, images, out, files, names),
        "annotate": lambda: partial(ours, images, out, batch),
        "forward alone": lambda: forwards(len(list(images.iterdir()))),
    }[contestant]()
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    begin = time.process_time()
    work()
    print(f"{time.process_time() - begin:.1f} s of processor time")


def take_turns(commands: Mapping[str, list[str]]) -> tuple[dict[str, float], dict[str, str]]:
    """Run processes in turns until all have ended → the seconds of each one's turns, and its last lines."""
    running = {name: subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for name, words in commands.items()}
    seconds = dict.fromkeys(commands, 0.0)
    told: dict[str, str] = {}
    for process in running.values():
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # until the last one has stopped
    try:
        while running:
            for name, process in list(running.items()):
                begin = time.perf_counter()
                process.send_signal(signal.SIGCONT)
                try:
                    process.wait(TURN)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGSTOP)
                else:
                    told[name] = "; ".join(process.communicate()[0].splitlines())
                    del running[name]
                seconds[name] += time.perf_counter() - begin
    finally:
        for process in running.values():
            process.kill()
    return seconds, told


def picture_folder(source: Path, folder: Path, count: int) -> Path:
    """`count` images: those of `source`, repeated."""
    pictures = sorted(source.iterdir())
    folder.mkdir()
    for i in range(count):
        (folder / f"{i:06d}.jpg").symlink_to(pictures[i % len(pictures)].resolve())
    return folder


def measure(count: int, batch: int) -> None:
    shared = Path(os.environ.get("CVDETECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    source = shared / "data" / "coco-mini" / "images"
    if not source.is_dir():
        sys.exit("the images of coco-mini are not here: set CVDETECT_SHARED to the folder that has data/coco-mini")
    Store().ensure(load_models().get("yolov3-tiny"), NullProgress())
    with tempfile.TemporaryDirectory() as name:
        images = picture_folder(source, Path(name) / "images", count)
        program = [sys.executable, __file__, "--batch", str(batch)]
        seconds, told = take_turns({
            contestant: [*program, "--be", contestant, str(images), str(Path(name) / contestant)]
            for contestant in ("script", "annotate", "forward alone")
        })  # fmt: skip
    for contestant, spent in seconds.items():
        print(f"{contestant}: {spent:.1f} s for {count} images, {count / spent:.1f} a second; {told[contestant]}")
    print(f"script / annotate: {seconds['script'] / seconds['annotate']:.2f} (goal >= 1.25)")
    print(f"beyond the forwards alone: {1 - seconds['forward alone'] / seconds['annotate']:.1%} (goal <= 10 %)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000, help="images (%(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="annotate's --batch (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="100 images")
    parser.add_argument("--be", nargs=3, metavar=("CONTESTANT", "IMAGES", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.be:
            be(given.be[0], Path(given.be[1]), Path(given.be[2]), given.batch)
        else:
            measure(100 if given.quick else given.images, given.batch)
    except CvdetectError as error:
        sys.exit(str(error))
