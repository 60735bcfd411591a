"""``cvdetect models``: the model zoo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from cvdetect.cli.main import Settings
from cvdetect.core.printable import printable

if TYPE_CHECKING:
    from cvdetect.core.spec import Accuracy, InputSpec, Speed
    from cvdetect.jobs.models import ListModelsReport, ModelStatus, VerifyModelsReport
    from cvdetect.models.store import FileState

__all__ = ["command", "overview"]

Rows = list[list[str]]


@click.group("models", short_help="List, pull and verify models.")
def command() -> None:
    """List, pull and verify the models of models.yaml. Weights lie in the cache directory (--cache-dir)."""


def _zoo(settings: Settings) -> dict[str, Any]:
    """What every job of models takes."""
    return {"registry": settings.registry, "cache": settings.cache}


@command.command("list")
@click.pass_obj
def list_models(settings: Settings) -> int:
    """List all models: family, input, size, accuracy, and whether the files are here."""
    from cvdetect.cli.console import print_table
    from cvdetect.jobs.models import ListModelsJob, list_models

    report = list_models(ListModelsJob(**_zoo(settings)))
    print_table(*overview(report))
    return report.exit_code


@command.command()
@click.argument("name")
@click.pass_obj
def show(settings: Settings, name: str) -> int:
    """Show all that models.yaml states of one model."""
    from cvdetect.cli.console import print_table
    from cvdetect.jobs.models import ShowModelJob, show_model

    report = show_model(ShowModelJob(name=name, **_zoo(settings)))
    print_table(["key", "value"], _details(report.model))
    return report.exit_code


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--all", "everything", envvar="CVDETECT_MODELS_PULL_ALL", is_flag=True, help="Pull every model of models.yaml."
)
@click.pass_obj
def pull(settings: Settings, names: tuple[str, ...], everything: bool) -> int:
    """Pull the files of models (without a name: of the default model). Files that are here already stay as they are."""
    from cvdetect.jobs.models import PullModelsJob, pull_models

    job = PullModelsJob(names=names, everything=everything, offline=settings.offline, **_zoo(settings))
    return pull_models(job, settings.progress()).exit_code


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def verify(settings: Settings, names: tuple[str, ...]) -> int:
    """Check the digests of the files that are here (without a name: of every model). Exits 3 where one is wrong."""
    from cvdetect.cli.console import print_table
    from cvdetect.jobs.models import VerifyModelsJob, verify_models

    report = verify_models(VerifyModelsJob(names=names, **_zoo(settings)))
    print_table(["model", "~file", ">size", "~state"], _verdicts(report))
    return report.exit_code


@command.command()
@click.argument("name")
@click.pass_obj
def path(settings: Settings, name: str) -> int:
    """Print the path of each of a model's files, one a line; what is not here is pulled first."""
    from cvdetect.jobs.models import ModelPathsJob, model_paths

    job = ModelPathsJob(name=name, offline=settings.offline, **_zoo(settings))
    report = model_paths(job, settings.progress())
    for local in map(str, report.paths.values()):
        # A script wants the path as it is; a terminal must not obey it.
        click.echo(printable(local) if sys.stdout.isatty() else local, file=sys.stdout)
    return report.exit_code


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def rm(settings: Settings, names: tuple[str, ...]) -> int:
    """Delete the files of models from the cache."""
    from cvdetect.jobs.models import RemoveModelsJob, remove_models

    return remove_models(RemoveModelsJob(names=names, **_zoo(settings)), settings.progress()).exit_code


def overview(report: ListModelsReport) -> tuple[list[str], Rows]:
    """The table of all models: headers, and one row a model; the default model is marked."""
    rows = [
        [
            f"{model.spec.name} *" if model.spec.name == report.default else model.spec.name,
            model.spec.family,
            _size(model.spec.input),
            _bytes(sum(f.size or 0 for f in model.spec.files)),
            _accuracy(model.spec.accuracy[0]) if model.spec.accuracy else "",
            _presence(model),
        ]
        for model in report.models
    ]
    return ["model (* default)", "-family", ">input", ">size", "-~published accuracy", "files"], rows


def _size(spec: InputSpec) -> str:
    return f"{spec.wh[0]}x{spec.wh[1]}" if spec.wh else "the file's"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "?"


def _accuracy(accuracy: Accuracy) -> str:
    return f"{accuracy.metric} {accuracy.value:g}"


def _presence(model: ModelStatus) -> str:
    total = len(model.files)
    return "here" if model.present == total else f"{model.present} of {total}" if model.present else "-"


def _details(model: ModelStatus) -> Rows:
    """Key and value of all that is known of one model."""
    spec = model.spec
    pixels = spec.input
    labels = spec.labels if isinstance(spec.labels, str) else ", ".join(spec.labels or ("by number of classes",))
    rows = [
        ["name", spec.name],
        ["family", spec.family],
        ["input", f"{_size(pixels)}, {pixels.resize or 'as the file says'}, {'RGB' if pixels.swap_rb else 'BGR'}"],
        ["pixels", f"(x - {_triple(pixels.mean)}) * {pixels.scale:.6g} / {_triple(pixels.std)}"],
        ["labels", labels],
        ["class id offset", str(spec.class_id_offset)],
        ["default conf, nms", f"{spec.conf:g}, {spec.nms:g}"],
        ["licence", spec.licence],
        *(["accuracy", f"{_accuracy(a)} ({a.source})"] for a in spec.accuracy),
        *([["speed", f"{_speed(spec.speed)} ({spec.speed.source})"]] if spec.speed else []),
        ["tested", spec.tested or "no"],
    ]
    return [*rows, *(row for state in model.files for row in _file_rows(state))]


def _triple(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{v:g}' for v in values)})"


def _speed(speed: Speed) -> str:
    from cvdetect.jobs.models import speed_class

    named = f"class {speed_class(speed)}: {speed.forward:g} times yolov3-tiny's forward pass" if speed.forward else ""
    return ", ".join(part for part in (named, f"{speed.gflop:g} GFLOP" if speed.gflop else "") if part)


def _file_rows(state: FileState) -> Rows:
    file = state.file
    digest = (
        f"sha256 {file.sha256}" if file.sha256 else f"sha1 {file.sha1}" if file.sha1 else "unverified (no digest known)"
    )
    size = f"{file.size:,} bytes" if file.size else "size unknown"
    return [
        [file.role, f"{state.path} ({'not here' if state.state == 'missing' else 'here'})"],
        ["", f"{size}, {digest}"],
        *(["", f"from {source}"] for source in file.sources),
    ]


def _verdicts(report: VerifyModelsReport) -> Rows:
    """One row a file."""
    return [
        [
            name,
            state.file.name,
            _bytes(state.size or 0),
            f"{state.state}: {state.detail}" if state.detail else state.state,
        ]
        for name, state in report.files
    ]
