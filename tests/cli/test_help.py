"""Every command has help, stands in the README, and is lazily imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
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
            record = option.get_help_record(click.Context(command))
            assert record and record[1], f"{name} {option.opts}"


def test_the_groups_list_has_the_short_help_of_each_command() -> None:
    for name, command in commands():
        if " " not in name:
            assert command.short_help == COMMANDS[name][1]


def every_option() -> Iterator[tuple[str, click.Context, click.Option]]:
    """Each option of the group and of every command, and the variable that click names after it."""
    waiting = [click.Context(cli, info_name="cvdetect", auto_envvar_prefix="CVDETECT")]
    for context in waiting:
        for option in context.command.params:
            if isinstance(option, click.Option):
                name = max(option.opts, key=len).removeprefix("--").upper().replace("-", "_")
                yield f"{context.auto_envvar_prefix}_{name}", context, option
        if isinstance(context.command, click.Group):
            for sub in context.command.list_commands(context):
                command = context.command.get_command(context, sub)
                assert command is not None
                waiting.append(click.Context(command, context, info_name=sub))


def test_every_option_comes_from_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for variable, context, option in every_option():
        with monkeypatch.context() as patch:
            patch.setenv(variable, "a value")
            assert option.resolve_envvar_value(context) == "a value", variable
        seen.append(variable)
    few = {"CVDETECT_QUIET", "CVDETECT_IMAGE_CONF", "CVDETECT_MODELS_PULL_ALL", "CVDETECT_BENCH_BATCH"}
    assert few < set(seen)


@pytest.mark.parametrize("words", [["--help"], ["annotate", "--help"], ["eval", "--help"]], ids=" ".join)
def test_help_imports_neither_opencv_nor_numpy_nor_rich(words: list[str]) -> None:
    code = (
        f"import sys; from cvdetect.cli.main import run; run({words}); "
        "print([m for m in ('cv2', 'numpy', 'rich', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_reported(cli: Cli) -> None:
    import cvdetect

    assert cvdetect.__version__ in cli("--version").out


def test_a_system_library_that_is_missing_becomes_one_sentence_with_a_hint(tmp_path: Path) -> None:
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

    import cvdetect.core.cv  # noqa: F401 - it checks the version when it is imported, and would speak first

    monkeypatch.delattr(cv2.dnn, "readNetFromDarknet")
    monkeypatch.setattr(cv2, "__version__", "5.0.0")
    done = cli("image", samples / "dog.jpg", *xl)
    assert done.code == 3
    assert "OpenCV 5.0.0 cannot read Darknet models" in done.err and "opencv-python>=4.13,<5" in done.err
