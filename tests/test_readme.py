"""The README cannot rot: its first command is run, the others are parsed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from cvdetect.cli.main import Settings, cli
from tests.conftest import ROOT
from tests.readme import README, main_command, test_command


@pytest.mark.usefixtures("yolov3_tiny")
def test_the_first_command_works_as_written_in_a_copy_of_the_project(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE", "models.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("cvdetect", "samples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        ["sh", "-ec", main_command()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    if done.returncode and re.search(r"No matching distribution|Could not fetch|Connection", done.stderr):
        pytest.skip(f"packages cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    for label in ("dog", "car", "bicycle"):
        assert label in done.stdout
    assert (tmp_path / "dog_detected.jpg").stat().st_size > 10_000


def test_the_test_command_is_one_line_that_installs_and_runs_pytest() -> None:
    command = test_command()
    assert "\n" not in command
    assert shlex.split(command)[-2:] == ["-m", "pytest"]
    assert "pip install -e .[test]" in " ".join(shlex.split(command))


def readme_calls() -> list[str]:
    """Every ``cvdetect …`` line of the README's sh blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("cvdetect ")]


@pytest.mark.parametrize("line", readme_calls())
def test_every_command_of_the_readme_is_understood(line: str) -> None:
    args = shlex.split(line, comments=True)[1:]
    with cli.make_context("cvdetect", args, obj=Settings()) as context:
        while isinstance(context.command, click.Group):
            name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
            assert command is not None and name is not None
            context = command.make_context(name, rest, parent=context)  # noqa: PLW2901


def test_enough_of_the_readme_is_checked() -> None:
    assert len(readme_calls()) >= 12
