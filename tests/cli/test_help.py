"""Every command has help, stands in the README, and is lazily imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from cvdetect.cli.main import COMMANDS, cli
from tests.conftest import ROOT, Cli

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[tuple[str, click.Command]]:
    """Every command and subcommand with its full name."""
    context = click.Context(cli)
    found = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
    return found


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_command_has_help_and_stands_in_the_readme(name: str, command: click.Command) -> None:
    assert command.help and len(command.help) > 20
    assert f"cvdetect {name}" in README
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in ("precision",):
            assert option.help, f"{name} {option.opts}"


def test_the_groups_list_says_what_the_commands_say_of_themselves() -> None:
    for name, command in commands():
        if " " not in name:
            assert command.short_help == COMMANDS[name][1]


def test_help_imports_neither_opencv_nor_numpy_nor_rich() -> None:
    code = (
        "import sys; from cvdetect.cli.main import run; run(['--help']); "
        "print([m for m in ('cv2', 'numpy', 'rich', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told(cli: Cli) -> None:
    import cvdetect

    assert cvdetect.__version__ in cli("--version").out


def test_a_system_library_that_is_missing_becomes_one_sentence_with_the_cure(tmp_path: Path) -> None:
    fake = tmp_path / "cv2"
    fake.mkdir()
    (fake / "__init__.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    )
    picture = ROOT / "samples" / "dog.jpg"
    done = subprocess.run(
        [sys.executable, "-m", "cvdetect", "image", str(picture)],
        capture_output=True, text=True, check=False, cwd=ROOT, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 3
    for word in ("libGL.so.1", "apt-get install libgl1 libglib2.0-0", "opencv-python-headless"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_opencv_5_becomes_one_sentence_that_names_the_version_to_install(
    cli: Cli, xl: list[str], samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    monkeypatch.delattr(cv2.dnn, "readNetFromDarknet")
    monkeypatch.setattr(cv2, "__version__", "5.0.0")
    done = cli("image", samples / "dog.jpg", *xl)
    assert done.code == 3
    assert "OpenCV 5.0.0 cannot read Darknet models" in done.err and "opencv-python>=4.13,<5" in done.err
