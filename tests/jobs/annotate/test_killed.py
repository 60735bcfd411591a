"""kill -9 at any moment, then --resume: the same files as an undisturbed run, byte for byte."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cvdetect.jobs.annotate.run import annotate
from tests.conftest import ROOT
from tests.jobs.annotate.conftest import FakeDetector, make_images, touch_later, tree
from tests.jobs.annotate.killed import job

NAMES = [f"d{i % 4}/img{i}.{'jpg' if i % 3 else 'png'}" for i in range(60)]


@pytest.mark.usefixtures("fake")
def test_four_kills_and_a_resume_give_the_tree_of_an_undisturbed_run(tmp_path: Path, fake: FakeDetector) -> None:
    photos = make_images(tmp_path / "photos", NAMES)
    (photos / "broken.jpg").write_bytes(b"")
    annotate(job(photos, tmp_path / "undisturbed"))
    whole = tree(tmp_path / "undisturbed")
    assert fake.seen == len(NAMES)
    chance = random.Random(4)
    kills = 0
    for _ in range(4):
        seconds = f"{chance.uniform(0.05, 0.45):.3f}"
        words = [sys.executable, "-m", "tests.jobs.annotate.killed", str(photos), str(tmp_path / "killed"), seconds]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, timeout=60)
        kills += done.returncode == -signal.SIGKILL
    assert kills >= 2, "they were killed in the midst of it"
    annotate(job(photos, tmp_path / "killed"))
    assert tree(tmp_path / "killed") == whole


# Of 3 images with one crop each: 9 renames of images (as they come), then 12 of annotation files and the page.
@pytest.mark.parametrize(
    "moments", [("before 1", "after 5", "before 8"), ("after 9", "before 2", "after 8", "before 3")]
)
def test_kills_between_log_and_rename_and_between_renames(
    tmp_path: Path, fake: FakeDetector, moments: tuple[str, ...]
) -> None:
    photos = make_images(tmp_path / "photos", ["a.png", "d/b.png", "c.gif.png"])
    annotate(job(photos, tmp_path / "undisturbed"))
    whole = tree(tmp_path / "undisturbed")
    for moment in moments:
        words = [
            sys.executable,
            "-m",
            "tests.jobs.annotate.killed",
            str(photos),
            str(tmp_path / "killed"),
            *moment.split(),
        ]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL, done.stderr
    report = annotate(job(photos, tmp_path / "killed"))
    assert (report.exit_code, report.kept, report.occupied) == (0, 0, 0)
    assert tree(tmp_path / "killed") == whole


def test_an_image_that_changes_after_a_kill_leaves_nothing_of_its_earlier_state(
    tmp_path: Path, fake: FakeDetector
) -> None:
    photos = make_images(tmp_path / "photos", ["a.png", "b.png"])
    words = [sys.executable, "-m", "tests.jobs.annotate.killed", str(photos), str(tmp_path / "killed"), "after", "5"]
    assert subprocess.run(words, cwd=ROOT, check=False, timeout=60).returncode == -signal.SIGKILL
    assert len(tree(tmp_path / "killed")) >= 5
    for name, other in (("a.png", "b.png"), ("b.png", "a.png")):
        (photos / name).rename(photos / f"{other}.png")
    for path in [*photos.iterdir()]:
        path.rename(photos / path.name.removesuffix(".png"))
        touch_later(photos / path.name.removesuffix(".png"))
    report = annotate(job(photos, tmp_path / "killed"))
    annotate(job(photos, tmp_path / "undisturbed"))
    assert report.exit_code == 0 and tree(tmp_path / "killed") == tree(tmp_path / "undisturbed")
