"""``cvdetect --help`` against importing click alone, each a whole process.

Fails where the help imports OpenCV or NumPy.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import timing

_HEAVY = ("cv2", "numpy", "rich", "yaml", "requests", "pypi_simple")


def measure(rounds: int) -> None:
    with timing.clean_start() as (env, folder):
        times = timing.interleave(
            {
                "import click": timing.command(["-c", "import click"], env, folder),
                "cvdetect --help": timing.command(["-m", "cvdetect", "--help"], env, folder),
            },
            rounds,
        )
        heavy = sorted(imported(["-m", "cvdetect", "--help"], env, folder).intersection(_HEAVY))
    row = ("import click", times["import click"], "cvdetect --help", times["cvdetect --help"], "<= 2")
    timing.print_ratios([row])
    if heavy:
        sys.exit(f"cvdetect --help imports {', '.join(heavy)}")
    print(f"cvdetect --help imports none of {', '.join(_HEAVY)}")


def imported(arguments: list[str], env: Mapping[str, str], folder: Path) -> set[str]:
    """Names of all modules that a Python process with these arguments imports."""
    words = [sys.executable, "-X", "importtime", *arguments]
    told = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True).stderr
    lines = (line for line in told.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


if __name__ == "__main__":
    timing.main(measure, __doc__, rounds=21)
