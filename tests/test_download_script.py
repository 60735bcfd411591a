"""scripts/download_weights.sh asks cvdetect, wherever it is installed, and hands its exit status on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "download_weights.sh"
SAYS_HOW_IT_WAS_CALLED = '#!/bin/sh\necho "$0" "$@"\nexit "${STATUS:-0}"\n'

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the script, and a bin folder for PATH with nothing but what the script needs."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "dirname", "cat"):
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def install(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SAYS_HOW_IT_WAS_CALLED)
    path.chmod(0o755)


def run(checkout: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout / "bin"), "STATUS": str(status)}
    script = checkout / "scripts" / SCRIPT.name
    return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, cwd="/", check=False)


@pytest.mark.parametrize("arguments", [[], ["yolov4"], ["yolov4", "yolov3-tiny"], ["--all"]])
def test_it_hands_its_arguments_to_models_pull(checkout: Path, arguments: list[str]) -> None:
    install(checkout / "bin/cvdetect")
    done = run(checkout, *arguments)
    assert done.returncode == 0
    assert done.stdout.split()[1:] == ["models", "pull", *arguments]


def test_the_checkout_s_own_environment_goes_before_path_and_path_before_the_module(checkout: Path) -> None:
    install(checkout / "bin/python3")
    assert run(checkout, "x").stdout.split()[1:] == ["-m", "cvdetect", "models", "pull", "x"]
    install(checkout / "bin/cvdetect")
    assert run(checkout, "x").stdout.split()[0] == str(checkout / "bin/cvdetect")
    install(checkout / ".venv/bin/cvdetect")
    assert run(checkout, "x").stdout.split()[0] == str(checkout / ".venv/bin/cvdetect")


@pytest.mark.parametrize("status", [1, 3, 130])
def test_a_failure_is_handed_on(checkout: Path, status: int) -> None:
    install(checkout / "bin/cvdetect")
    assert run(checkout, status=status).returncode == status


def test_without_cvdetect_it_says_how_to_install_it(checkout: Path) -> None:
    done = run(checkout)
    assert done.returncode == 3
    assert "cvdetect is not installed" in done.stderr


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_it_has_help(checkout: Path, option: str) -> None:
    done = run(checkout, option)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: scripts/download_weights.sh [NAME... | --all]")


@pytest.mark.parametrize("arguments", [["-x"], ["--al"], ["--all", "yolov4"], ["yolov4", "--all"]])
def test_wrong_options_are_refused(checkout: Path, arguments: list[str]) -> None:
    install(checkout / "bin/cvdetect")
    done = run(checkout, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "download_weights.sh: " in done.stderr


def test_it_may_be_run_as_it_lies() -> None:
    assert os.access(SCRIPT, os.X_OK)
