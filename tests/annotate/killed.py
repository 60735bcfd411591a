"""``python -m tests.annotate.killed DIR OUT SECONDS``: annotates with the fake model until it kills itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from cvdetect.annotate.job import AnnotateJob
from cvdetect.annotate.run import annotate
from tests.annotate.conftest import FakeDetector, install


def job(photos: Path, out: Path) -> AnnotateJob:
    """All that a run can write."""
    return AnnotateJob(
        images=str(photos), out=out / "out", formats=("coco", "voc", "yolo", "jsonl"), review=True, draw=out / "drawn",
        crops=out / "crops", resume=True,
    )  # fmt: skip


def die(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        install(patch, [FakeDetector(0.01), FakeDetector(0.015)])
        threading.Thread(target=die, args=(float(sys.argv[3]),), daemon=True).start()
        annotate(job(Path(sys.argv[1]), Path(sys.argv[2])))
