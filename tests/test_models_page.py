"""docs/models.md is what its script writes of models.yaml."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from cvdetect.models.registry import load_models
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "models.md"
SCRIPT = ROOT / "benchmarks" / "models_page.py"


def check(script: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_the_page_is_what_its_script_writes() -> None:
    done = check(SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_is_not_what_models_yaml_says_is_told(tmp_path: Path) -> None:
    for name in ("models_page.py", "model_files.py"):
        (tmp_path / "benchmarks" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "benchmarks" / name).write_text(
            (SCRIPT.parent / name).read_text(encoding="utf-8"), encoding="utf-8"
        )
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "accuracy.md").write_text("", encoding="utf-8")
    (tmp_path / "docs" / "models.md").write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    done = check(tmp_path / "benchmarks" / "models_page.py")  # the measured column is empty now
    assert done.returncode == 1 and "stale" in done.stdout, done


def test_every_model_has_a_row_with_its_licence() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    for spec in load_models(users=False):
        (row,) = [line for line in lines if re.match(rf"\| \**{re.escape(spec.name)}[ *].*\| fp32", line)]
        assert f"| {spec.licence} |" in row


def test_every_picture_is_there_and_small() -> None:
    pictures = [PAGE.parent / path for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE.read_text("utf-8"))]
    assert pictures
    assert {path.stem for path in pictures} <= set(load_models(users=False).names())
    for path in pictures:
        data = path.read_bytes()
        assert data.startswith(b"\xff\xd8\xff") and len(data) <= 60_000
