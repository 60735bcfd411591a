"""kill -9 at random moments, then --resume: is the tree that of an uninterrupted run, byte for byte?

Annotates images of COCO with the small model of the shared test data into all formats, with copies, crops and the
review page; kills the process again and again, each time after a random part of what an uninterrupted run takes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from annotate import picture_folder

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("CVDETECT_SHARED", ROOT.parent / "shared")) / "data"
FORMATS = "coco,voc,yolo,openimages,jsonl,csv,cvat"


def digests(folder: Path) -> dict[str, str]:
    """Every file's path and SHA-256, the manifest's folder apart."""
    found = {p.relative_to(folder): p for p in folder.rglob("*") if p.is_file()}
    return {str(n): hashlib.sha256(p.read_bytes()).hexdigest() for n, p in found.items() if ".cvdetect" not in n.parts}


def annotate(images: Path, folder: Path, seconds: float | None = None) -> int:
    """Run the command → its exit code; -9 where it was killed after `seconds`."""
    weights = SHARED / "models" / "yolo-fastest-1.1-xl.weights"
    words = [sys.executable, "-m", "cvdetect", "-q", "annotate", str(images), "--out", str(folder / "out"), "--review"]
    words += ["--format", FORMATS, "--draw", str(folder / "drawn"), "--crops", str(folder / "crops"), "--resume"]
    words += ["--cfg", str(weights.with_suffix(".cfg")), "--weights", str(weights)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def measure(count: int, kills: int, seed: int) -> bool:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        images = picture_folder(SHARED / "coco-mini" / "images", base / "images", count)
        begin = time.perf_counter()
        code = annotate(images, base / "undisturbed")
        whole = time.perf_counter() - begin
        expected = digests(base / "undisturbed")
        print(f"uninterrupted: exit {code}, {len(expected)} files, {whole:.1f} s", flush=True)
        same = killed = finished = 0
        while killed < kills:
            ended = annotate(images, base / "killed", chance.uniform(0.1, 1) * whole / 3)
            killed += ended == -9
            if ended == 0:  # all was done: look, and begin anew
                finished += 1
                same += digests(base / "killed") == expected
                shutil.rmtree(base / "killed")
        ended = annotate(images, base / "killed")
        finished, same = finished + 1, same + (digests(base / "killed") == expected)
    print(f"{killed} kills; {same} of {finished} finished trees equal the uninterrupted one")
    return code == ended == 0 and same == finished


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=500, help="images (%(default)s)")
    parser.add_argument("--kills", type=int, default=30, help="how often it is killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=3, help="of the random moments (%(default)s)")
    given = parser.parse_args()
    sys.exit(0 if measure(given.images, given.kills, given.seed) else 1)
