"""The oldest dependencies: what pyproject.toml promises, what ``.ci/run`` tries, and what an older OpenCV is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cvdetect.core.cv import NEEDS, version_hint
from tests.conftest import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_floor_of_opencv_is_the_same_everywhere() -> None:
    assert f'"{NEEDS}"' in PROJECT
    for name in ("README.md", "docs/models.md"):
        assert not re.search(r"4\.1[0-2]\b", (ROOT / name).read_text(encoding="utf-8"))


def test_ci_tries_the_floor_of_every_extra() -> None:
    script = ROOT / ".ci" / "run"
    if not script.is_file():
        pytest.skip("not a checkout of the repository")
    (tried,) = re.findall(r"^extras=\((.*)\)$", script.read_text(encoding="utf-8"), re.MULTILINE)
    table = PROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = ", table, re.MULTILINE)) - {"test", "all", "gpu"}
    assert set(tried.split()) == extras


@pytest.mark.parametrize("version", ["4.13.0", "4.14.0", "4.13.0-dev", "4.20.1", "unknown"])
def test_an_opencv_that_is_suitable_needs_no_hint(version: str) -> None:
    assert version_hint(version) == ""


COMMANDS = ["image x.jpg", "video x.mp4", "webcam", "annotate x --out y", "bench", "eval --images x --truth y"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("version", ["4.12.0", "5.0.0"])
def test_another_opencv_is_one_sentence_with_the_hint(version: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(f"__version__ = {version!r}\n")
    done = subprocess.run(
        [sys.executable, "-m", "cvdetect", *command.split()],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert f"OpenCV {version} is not suitable" in done.stderr and f"pip install '{NEEDS}'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_empty_folder_in_opencvs_place_is_one_sentence() -> None:
    assert "uninstall all opencv packages" in version_hint(None)
