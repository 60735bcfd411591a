"""What one image costs the driver of `annotate --engine ray`, in processor time: the figures of benchmarks/scale.py.

Listing (rows only, without the walk), handing out names, receiving outcomes of five objects, recording them, and a
chunk's way through Ray (without its outcomes) beside others that are pending; and how large the manifest gets.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.errors import CvdetectError
from cvdetect.core.labels import BUILT_IN
from cvdetect.jobs.annotate.image_outputs import ImageOutputs
from cvdetect.jobs.annotate.inputs import ListedImage
from cvdetect.jobs.annotate.local import Recorder
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome
from cvdetect.jobs.annotate.ownership import FileStats
from cvdetect.jobs.annotate.ray.connection import check_cluster, connected
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.render import Renderer

CHUNK, OBJECTS = 55, 5
PENDING = (64, 640, 6400)  # calls of two a worker: 1, 10 and 100 machines of 32 cores


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    begin = time.process_time()
    yield
    print(f"{what}: {(time.process_time() - begin) / count * 1e6:.1f} µs each")


def outcome(number: int) -> Outcome:
    rng = np.random.default_rng(number)
    corners = np.sort(rng.uniform(0, 400, (OBJECTS, 2, 2)), axis=1).reshape(OBJECTS, 4)
    found = Detections(corners, rng.integers(0, 80, OBJECTS), rng.uniform(0, 1, OBJECTS))
    return Outcome(f"{number // 1000:05d}/{number:09d}.jpg", (640, 480), found)


def book(count: int, folder: Path) -> None:
    """List, hand out, receive and record `count` images."""
    outcomes = [outcome(number) for number in range(count)]
    chunks = [pickle.dumps(outcomes[i : i + CHUNK], 5) for i in range(0, count, CHUNK)]
    labels = BUILT_IN["coco80"](0)
    path = folder / "manifest.sqlite"
    with Manifest(path) as manifest:
        with timed("rows listed", count):
            manifest.list_anew(ListedImage(each.name, 1, 1) for each in outcomes)
        with timed("names handed out", count):
            assert sum(1 for _ in manifest.waiting()) == count
        with timed("outcomes received", count):
            received = [pickle.loads(chunk) for chunk in chunks]
        nothing = ImageOutputs({}, labels, Renderer(labels, DrawStyle(), frozenset()), manifest, manifest.holds)
        recorder = Recorder(manifest, nothing, {}, FileStats())
        with timed(f"outcomes recorded, {CHUNK} together", count):
            for chunk in received:
                recorder.record(*chunk)
    print(f"manifest: {path.stat().st_size / count:.0f} bytes an image")


def _actor() -> type:
    class Actor:
        def wait(self, seconds: float) -> None:
            time.sleep(seconds)

        def do(self, _names: Any, _taken: Any) -> None: ...

    return Actor


def chunks(ray: Any, pending: int, times: int) -> None:
    """Give an actor the names of a chunk and wait for its end, while so many other calls are pending."""
    actor = ray.remote(_actor())
    busy = [actor.remote() for _ in range(-(-pending // 3200))]  # Ray warns of more than 5,000 calls of one actor
    waiting = [member.wait.remote(1000) for member in busy]
    waiting += [busy[i % len(busy)].wait.remote(0) for i in range(pending - len(busy))]
    worker, names = actor.remote(), tuple(outcome(number).name for number in range(CHUNK))

    def once() -> None:
        call = worker.do.remote(names, frozenset())
        ray.wait([*waiting, call], num_returns=1, timeout=10)
        ready, _ = ray.wait([*waiting, call], num_returns=pending + 1, timeout=0)
        ray.get(ready)

    once()
    with timed(f"chunks through Ray, {pending} calls pending", times):
        _repeat(once, times)
    for member in (*busy, worker):
        ray.kill(member)


def _repeat(once: Callable[[], None], times: int) -> None:
    for _ in range(times):
        once()


def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        book(count, Path(name))
    check_cluster(None)
    with connected(None) as ray:
        for pending in PENDING:
            chunks(ray, pending, 100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=20_000, help="images (%(default)s)")
    try:
        measure(parser.parse_args().images)
    except CvdetectError as error:
        sys.exit(str(error))
