"""``python -m tests.jobs.annotate.killed DIR OUT SECONDS [IMAGES]``: annotates with a fake model until it kills itself.

DIR and OUT are paths or addresses. SECONDS count from the start, or from when so many IMAGES are recorded; "before 7"
and "after 7" instead of them are right before and after the seventh rename of a file to its place.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from cvdetect.jobs.annotate import manifest as parts
from cvdetect.jobs.annotate.job import AnnotateJob
from cvdetect.jobs.annotate.manifest.manifest import Manifest
from cvdetect.jobs.annotate.manifest.outcome import Outcome
from cvdetect.jobs.annotate.run import annotate
from cvdetect.storage import Found, local
from tests.jobs.annotate.conftest import FakeDetector, install


def job(photos: Path | str, out: Path | str) -> AnnotateJob:
    """All that a run can write."""
    return AnnotateJob(
        images=str(photos), out=f"{out}/out", formats=("coco", "voc", "yolo", "jsonl"), review=True,
        draw=f"{out}/drawn", crops=f"{out}/crops", resume=True,
    )  # fmt: skip


def die(seconds: float, images: int, recorded: list[str]) -> None:
    while len(recorded) < images:
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_rename(patch: pytest.MonkeyPatch, when: str, number: int) -> None:
    rename, count = local._rename, itertools.count(1)

    def counted(temporary: Path, target: Path, over: Found | None) -> None:
        last = next(count) == number
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rename(temporary, target, over)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    patch.setattr(local, "_rename", counted)


def main(photos: str, out: str, seconds: str, images: str = "0") -> None:
    recorded: list[str] = []
    record_all = Manifest.record_all

    def counted(manifest: Manifest, outcomes: Iterable[Outcome]) -> None:
        some = list(outcomes)
        record_all(manifest, some)
        recorded.extend(outcome.name for outcome in some)

    with pytest.MonkeyPatch.context() as patch:
        install(patch, [FakeDetector(0.01), FakeDetector(0.015)])
        patch.setattr(Manifest, "record_all", counted)
        patch.setattr(parts, "_MOST_EVENTS", 5)
        if seconds in ("before", "after"):
            die_at_rename(patch, seconds, int(images))
        else:
            threading.Thread(target=die, args=(float(seconds), int(images), recorded), daemon=True).start()
        annotate(job(photos, out))


if __name__ == "__main__":
    main(*sys.argv[1:])
