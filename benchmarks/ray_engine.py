"""What `annotate --engine ray` costs over `--engine local`: the same images, two nodes of one core, on one machine.

Each run is a process of its own, and the engines take turns. Timed separately: from the process's start until the first
network is ready, detecting (the last worker's start, handing out and recording included), and from there to the end
(the files, Ray's end). Also: how long an actor takes to start, and an empty chunk's way there and back.
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
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from annotate import picture_folder

from cvdetect.core.errors import CvdetectError
from cvdetect.core.options import ModelChoice
from cvdetect.core.progress import NullProgress
from cvdetect.jobs.annotate.inputs import ListedImage
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.ray.chunks import Chunk, Finished, Joined
from cvdetect.jobs.annotate.ray.connection import check_cluster
from cvdetect.jobs.annotate.ray.engine import ray_engine
from cvdetect.jobs.annotate.run import annotate
from cvdetect.storage import LocalFolder

NODES = 2
CHUNKS = 200  # with nothing in them
ROOT = Path(__file__).resolve().parent.parent


class Clock(NullProgress):
    """Records when detecting begins and ends."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def begin(self, _task: str, total: int | None = None, unit: str = "") -> None:
        self.at.append(time.time())

    def end(self) -> None:
        self.at.append(time.time())


def job_of(images: Path, out: Path, address: str | None) -> AnnotateJob:
    return AnnotateJob(
        images=str(images), out=out, formats=("voc",), model=ModelChoice(name="yolov3-tiny"), workers=NODES,
        engine="ray" if address else "local", ray_address=address,
    )  # fmt: skip


def be(images: Path, out: Path, address: str | None) -> None:
    """One run in this process."""
    clock = Clock()
    report = annotate(job_of(images, out, address), clock)
    assert report.exit_code == 0, report
    print(json.dumps(clock.at))


def run(images: Path, out: Path, address: str | None) -> list[float]:
    """One run in a process of its own → seconds until ready, of detecting, and to the end."""
    words = [sys.executable, __file__, "--be", str(images), str(out), address or ""]
    begin = time.time()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    at = [begin, *json.loads(done.stdout), time.time()]
    return [b - a for a, b in pairwise(at)]


@contextmanager
def cluster() -> Iterator[str]:
    """The address of a cluster of `NODES` nodes of one core each, and a head node that does no work."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(ROOT)
    check_cluster(None)
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        for _ in range(NODES):
            made.add_node(num_cpus=1, **small)
        yield str(made.address)
    finally:
        made.shutdown()


def overheads(folder: Path, address: str) -> tuple[float, float]:
    """Seconds until both actors have joined, from asking for them, and of a chunk with one image that is not there."""
    (folder / "none").mkdir()
    with Manifest(folder / "m.sqlite") as manifest:
        manifest.list_anew(ListedImage(f"{i}.jpg", 1, 1) for i in range(100))
        begin = time.perf_counter()
        with ray_engine(
            job_of(folder / "none", folder / "out", address), LocalFolder(folder / "none"), manifest, NullProgress()
        ) as engine:
            workers: list[int] = []
            while len(workers) < NODES:
                workers += [event.worker for event in engine.pool.events(1) if isinstance(event, Joined)]
            started = time.perf_counter() - begin
            begin = time.perf_counter()
            for _ in range(CHUNKS):
                engine.pool.give(workers[0], Chunk(("none.jpg",)))
                while not any(isinstance(event, Finished) for event in engine.pool.events(1)):
                    pass
            return started, (time.perf_counter() - begin) / CHUNKS


def measure(count: int, rounds: int) -> None:
    source = Path(os.environ.get("CVDETECT_SHARED", ROOT.parent / "shared")) / "data" / "coco-mini" / "images"
    if not source.is_dir():
        sys.exit("the images of coco-mini are not here: set CVDETECT_SHARED to the folder that has data/coco-mini")
    with tempfile.TemporaryDirectory() as name, cluster() as address:
        folder = Path(name)
        images, few = picture_folder(source, folder / "images", count), picture_folder(source, folder / "few", 16)
        engines: dict[str, str | None] = {"local": None, "ray": address}
        seconds: dict[str, list[list[float]]] = {engine: [] for engine in engines}
        for engine, where in engines.items():
            run(few, folder / f"{engine}-few", where)  # files are read, modules compiled
        for turn in range(rounds):
            for engine in list(engines)[:: 1 if turn % 2 else -1]:
                seconds[engine].append(run(images, folder / f"{engine}-{turn}", engines[engine]))
        started, chunk = overheads(folder, address)
    tell(count, seconds)
    print(f"both actors ready {started:.1f} s after connecting began; a chunk there and back: {chunk * 1e3:.1f} ms")


def tell(count: int, seconds: dict[str, list[list[float]]]) -> None:
    print(f"{count} images, medians of {len(seconds['ray'])} rounds; ratio ray / local: median, lowest to highest")
    for i, part in enumerate(("until ready", "detecting", "to the end")):
        local, ray = ([times[i] for times in seconds[engine]] for engine in ("local", "ray"))
        ratios = [b / a for a, b in zip(local, ray, strict=True)]
        spread = f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        told = spread if part == "detecting" else ""
        print(f"{part}: local {statistics.median(local):.2f} s, ray {statistics.median(ray):.2f} s {told}".rstrip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=300, help="images (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine (%(default)s)")
    parser.add_argument("--be", nargs=3, metavar=("IMAGES", "OUT", "ADDRESS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.be:
            be(Path(given.be[0]), Path(given.be[1]), given.be[2] or None)
        else:
            measure(given.images, given.rounds)
    except CvdetectError as error:
        sys.exit(str(error))
