"""kill -9 at any moment, then --resume: the same files as an undisturbed run, byte for byte."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cvdetect.annotate.run import annotate
from tests.annotate.conftest import FakeDetector, make_pictures, tree
from tests.annotate.killed import job
from tests.conftest import ROOT

NAMES = [f"d{i % 4}/img{i}.{'jpg' if i % 3 else 'png'}" for i in range(60)]


@pytest.mark.usefixtures("fake")
def test_four_kills_and_a_resume_give_the_tree_of_an_undisturbed_run(tmp_path: Path, fake: FakeDetector) -> None:
    photos = make_pictures(tmp_path / "photos", NAMES)
    (photos / "broken.jpg").write_bytes(b"")
    annotate(job(photos, tmp_path / "undisturbed"))
    whole = tree(tmp_path / "undisturbed")
    assert fake.seen == len(NAMES)
    chance = random.Random(4)
    kills = 0
    for _ in range(4):
        seconds = f"{chance.uniform(0.05, 0.45):.3f}"
        words = [sys.executable, "-m", "tests.annotate.killed", str(photos), str(tmp_path / "killed"), seconds]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, timeout=60)
        kills += done.returncode == -signal.SIGKILL
    assert kills >= 2, "they were killed in the midst of it"
    annotate(job(photos, tmp_path / "killed"))
    assert tree(tmp_path / "killed") == whole
