"""What scripts/build_opencv_cuda.sh tells before it starts; the build itself takes too long for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("bash") is None, reason="the script is for bash on Linux"
)


class Machine:
    """Runs the script with an nvidia-smi of our own in front, which knows `capability` and `driver`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *args: object, capability: str = "", driver: str = "") -> tuple[int, str]:
        smi = self._folder / "nvidia-smi"
        smi.write_text(f'#!/bin/sh\ncase $1 in *compute_cap*) echo "{capability}" ;; *) echo "{driver}" ;; esac\n')
        smi.chmod(0o755)
        done = subprocess.run(
            ["bash", str(ROOT / "scripts/build_opencv_cuda.sh"), *map(str, args)],
            env={**os.environ, "PATH": f"{self._folder}:{os.environ['PATH']}", "HOME": str(self._folder)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--arch", "9"], "--arch 9: expected e.g. 9.0 or 8.6,9.0"),
        (["--arch", "sm_90"], "--arch sm_90"),
        (["--jobs", "0", "--arch", "9.0"], "--jobs 0"),
        (["--arch"], "--arch needs a value"),
        (["--wrok", "x"], "no such option: --wrok"),
        (["--arch", "9.0", "--work", "a b"], "a path without spaces"),
        (["--check"], "name its compute capability, e.g. --arch 9.0"),
    ],
)
def test_wrong_usage_is_told(args: list[str], words: str, machine: Machine) -> None:
    code, told = machine(*args)
    assert code == 2
    assert words in told


def test_the_gpu_that_is_here_is_taken_and_one_too_old_for_cuda_is_told(machine: Machine) -> None:
    code, told = machine("--check", capability="6.1", driver="580.65.06")
    assert code == 3
    assert "newer GPU than compute capability 6.1" in told
    assert "driver" not in told


def test_an_old_driver_is_a_warning_and_none_a_note(machine: Machine) -> None:
    assert "driver 535.104.05 is too old" in machine("--check", "--arch", "9.0", driver="535.104.05")[1]
    assert "no NVIDIA driver answers" in machine("--check", "--arch", "9.0")[1]


def test_a_toolkit_that_is_not_there_is_missing(machine: Machine, tmp_path: Path) -> None:
    code, told = machine("--check", "--arch", "9.0", "--cuda", tmp_path / "cuda")
    assert code == 3
    assert "cuda/bin/nvcc" in told


def test_a_check_starts_nothing(machine: Machine, tmp_path: Path) -> None:
    machine("--check", "--arch", "9.0", "--work", tmp_path / "work")
    assert not (tmp_path / "work").exists()
