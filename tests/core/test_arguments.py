from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cvdetect import DetectOptions, ModelChoice, RunOptions, UsageError
from cvdetect.cli.main import COMMANDS, cli, option
from cvdetect.core.arguments import arg, current_spelling, spelled_by
from cvdetect.runtime import choose

PACKAGE = Path(__file__).parents[2] / "cvdetect"
# Options of other programs, in what a person is to run, and the notes that annotate leaves in a data.yaml.
FOREIGN = {"--gpus", "--arch", "--force-reinstall", "--grid", "--link-images", "--copy-images"}
# Keys of the manifest, a line's style, what parts the images of a stream, and an option of pip.
OTHER_DASHES = {"jobs/annotate/resume.py", "jobs/evaluate/images.py", "models/index.py", "sinks/page_server.py"}


def library() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("cli/"):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> Iterator[str]:
    """Every text of a module that is no docstring."""
    parents = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    alone = {id(node.value) for parent in parents for node in parent.body if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def asked(tree: ast.Module) -> Iterator[str]:
    """Every name that a module hands to `arg`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="arg"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def options() -> set[str]:
    """Every option of every command, and those before it."""
    commands: list[click.Command] = [cli]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        commands += [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    parameters = [parameter for command in commands for parameter in command.params]
    return {name for one in parameters for name in (*one.opts, *one.secondary_opts)}


def test_the_library_names_no_option_in_its_texts() -> None:
    for name, tree in library():
        found = {option for text in texts(tree) for option in re.findall(r"(?<![\w-])--(?:[a-z][a-z-]*|$)", text)}
        assert not found - FOREIGN or name in OTHER_DASHES, name


def test_every_argument_that_a_message_names_is_an_option_of_some_command() -> None:
    names = {name for _, tree in library() for name in asked(tree)}
    assert len(names) > 30
    known = options()
    assert {name for name in names if option(name) not in known and option(name, False) not in known} == set()


def test_a_message_names_an_argument_as_python_does_and_within_the_command_line_as_its_option() -> None:
    with pytest.raises(UsageError, match=r"^nms 2: it must lie"):
        DetectOptions(nms=2)
    with pytest.raises(UsageError, match=r"^device_id 1 goes with backend='cuda', not cpu$"):
        choose(RunOptions(backend="cpu", device_id=1))
    with spelled_by(option), pytest.raises(UsageError, match=r"^--device-id 1 goes with --backend cuda, not cpu$"):
        choose(RunOptions(backend="cpu", device_id=1))
    assert arg("nms") == "nms"


def test_the_spelling_is_what_it_was_after_an_error() -> None:
    before = current_spelling()
    with pytest.raises(UsageError), spelled_by(option):
        DetectOptions(nms=2)
    assert current_spelling() is before


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        (("max_det",), "--max-det"),
        (("precision", "fp32"), "--precision fp32"),
        (("resume", True), "--resume"),
        (("window", False), "--no-window"),
        (("formats",), "--format"),
        (("cache",), "--cache-dir"),
    ],
)
def test_options_are_spelled_by_the_names_of_arguments(given: tuple[str], spelled: str) -> None:
    assert option(*given) == spelled


def test_files_of_a_model_are_named_by_their_arguments() -> None:
    assert ModelChoice(onnx=Path("a.onnx")).files == {"onnx": Path("a.onnx")}
