"""What an object store costs `cvdetect annotate`: recording in parts, and requests to an S3 server on this machine.

Recording: the manifest's row of an image (ten detections), into SQLite on disk as for a local OUT, and into SQLite plus
parts as for a remote one, to fsspec's store in memory (what the log itself costs) and to S3. Then what `--resume` reads
back. Requests: images put and fetched one after another, and with as many on their way as annotate has.

The server is moto's (pip install 'cvdetect[test]'): it has no network and no disk, answers one request at a time, and
takes most of a request's time itself. A real store waits longer and serves any number at once.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.jobs.annotate.inputs import ListedImage
from cvdetect.jobs.annotate.manifest import LoggedManifest, LogSegments
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome
from cvdetect.jobs.annotate.prefetch import AT_ONCE, prefetch
from cvdetect.storage import Folder, open_folder

BOXES = 10
SIZE = 200_000  # bytes of an image


@contextmanager
def s3_server() -> Iterator[None]:
    """An S3 server with a bucket, and the environment that leads to it."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(200):
                with closing(socket.socket()) as client:
                    if not client.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.05)
            import fsspec

            fsspec.filesystem("s3").mkdir("bucket")
            yield
        finally:
            server.kill()


def outcomes(count: int) -> Iterator[Outcome]:
    corner = np.random.default_rng(1).uniform(0, 300, (BOXES, 2)).astype(np.float32)
    found = Detections(np.hstack([corner, corner + 50]), np.arange(BOXES), np.linspace(0.9, 0.3, BOXES))
    return (Outcome(f"folder/{i:09d}.jpg", (640, 480), found) for i in range(count))


def recording(manifest: Manifest, count: int) -> float:
    """µs an image."""
    with manifest:
        manifest.begin(options={}, folders={})
        manifest.list_anew(ListedImage(outcome.name, 1, 1) for outcome in outcomes(count))
        done = list(outcomes(count))
        start = time.perf_counter()
        for outcome in done:
            manifest.record(outcome)
        return (time.perf_counter() - start) / count * 1e6


def reading_back(path: Path, log: Folder, count: int) -> float:
    """µs an image."""
    start = time.perf_counter()
    with LoggedManifest(path, LogSegments(log)) as manifest:
        seconds = time.perf_counter() - start
        if manifest.counts().done != count:
            sys.exit("the log is incomplete")
    return seconds / count * 1e6


def requests(folder: Folder, count: int) -> dict[str, list[float]]:
    """ms a request, by kind."""
    data, names = bytes(SIZE), [f"{i}.jpg" for i in range(count)]

    def each(act: Callable[[str], object]) -> list[float]:
        times = []
        for name in names:
            start = time.perf_counter()
            act(name)
            times.append((time.perf_counter() - start) * 1e3)
        return times

    def together(act: Callable[[str], object]) -> list[float]:
        start = time.perf_counter()
        for _ in prefetch(act, names):
            pass
        return [(time.perf_counter() - start) / count * 1e3]

    def busy(act: Callable[[str], object]) -> list[float]:
        """Of this process alone, without the server's."""
        start = time.process_time()
        each(act)
        return [(time.process_time() - start) / count * 1e3]

    put, get = (lambda name: folder.write(name, data)), folder.start
    found = {"put": each(put), "get": each(get)}
    found |= {"put, our processor time": busy(put), "get, our processor time": busy(get)}
    found |= {f"put, {AT_ONCE} at once": together(put), f"get, {AT_ONCE} at once": together(get)}
    start, own = time.perf_counter(), time.process_time()
    listed = sum(1 for _ in folder.entries())
    ends = time.perf_counter(), time.process_time()
    found["list, an entry"] = [(ends[0] - start) * 1e3 / listed]
    return found | {"list, an entry, our processor time": [(ends[1] - own) * 1e3 / listed]}


def main(images: int, count: int, rounds: int) -> None:
    lines: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, s3_server():
        for turn in range(rounds):
            here = Path(name) / str(turn)
            for kind, url in (("memory", f"memory://log{turn}"), ("S3", f"s3://bucket/log{turn}")):
                log = open_folder(url)
                parted = LoggedManifest(here / f"{kind}.sqlite", LogSegments(log))
                lines.setdefault(f"record, SQLite and parts to {kind}", []).append(recording(parted, images))
                back = reading_back(here / f"{kind}-again.sqlite", log, images)
                lines.setdefault(f"read back from {kind}", []).append(back)
            local = recording(Manifest(here / "local.sqlite"), images)
            lines.setdefault("record, SQLite on disk", []).append(local)
        size = sum(entry.state.size for entry in log.entries() if entry.state)
        print(f"recording: µs an image, {images:,} images of {BOXES} detections, median of {rounds}")
        for line, values in sorted(lines.items()):
            print(f"  {line}: {statistics.median(values):.0f}")
        print(f"  {size / images:.0f} bytes an image in parts")
        print(f"requests: ms, {count} images of {SIZE:,} bytes, median")
        for line, values in requests(open_folder("s3://bucket/pictures"), count).items():
            print(f"  {line}: {statistics.median(values):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=20_000, help="images to record (%(default)s)")
    parser.add_argument("--requests", type=int, default=200, help="images to put and get (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    given = parser.parse_args()
    main(given.images, given.requests, given.rounds)
