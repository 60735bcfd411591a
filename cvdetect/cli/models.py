"""``cvdetect models``: the zoo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cvdetect.cli.main import Settings
from cvdetect.core.printable import printable

if TYPE_CHECKING:
    from cvdetect.models.registry import Registry
    from cvdetect.models.store import Store

__all__ = ["command"]


@click.group("models", short_help="List, fetch and check models.")
def command() -> None:
    """List, fetch and check the models of models.yaml. Weights lie in the cache directory (--cache-dir)."""


def _zoo(settings: Settings) -> tuple[Registry, Store]:
    from cvdetect.models.registry import load_models
    from cvdetect.models.store import Store

    registry = load_models(Path(settings.models) if settings.models else None)
    return registry, Store(Path(settings.cache_dir) if settings.cache_dir else None)


def _progress(settings: Settings) -> Any:
    from cvdetect.cli.console import ConsoleProgress

    return ConsoleProgress(settings.quiet, settings.verbose)


@command.command("list")
@click.pass_obj
def list_models(settings: Settings) -> None:
    """List all models: family, input, size, accuracy, and whether the files are here."""
    from cvdetect.cli.console import print_table
    from cvdetect.models.describe import overview

    print_table(*overview(*_zoo(settings)))


@command.command()
@click.argument("name")
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show all that models.yaml says of one model."""
    from cvdetect.cli.console import print_table
    from cvdetect.models.describe import details

    registry, store = _zoo(settings)
    print_table(["key", "value"], details(registry.get(name), store))


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--all", "everything", envvar="CVDETECT_MODELS_PULL_ALL", is_flag=True, help="Pull every model of models.yaml."
)
@click.pass_obj
def pull(settings: Settings, names: tuple[str, ...], everything: bool) -> int:
    """Fetch the files of models (without a name: the default model). What is here already is left alone."""
    from cvdetect.models.describe import pull_models

    registry, store = _zoo(settings)
    wanted = registry.names() if everything else names or (registry.default,)
    return pull_models([registry.get(n) for n in wanted], store, _progress(settings), offline=settings.offline)


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def verify(settings: Settings, names: tuple[str, ...]) -> int:
    """Check the digests of the files that are here (without a name: of every model). Exits 3 where one is wrong."""
    from cvdetect.cli.console import print_table
    from cvdetect.models.describe import verification

    registry, store = _zoo(settings)
    headers, rows, sound = verification([registry.get(n) for n in names or registry.names()], store, bool(names))
    print_table(headers, rows)
    return 0 if sound else 3


@command.command()
@click.argument("name")
@click.pass_obj
def path(settings: Settings, name: str) -> None:
    """Print the path of each of a model's files, one a line; what is not here is pulled first."""
    registry, store = _zoo(settings)
    spec = registry.get(name)
    files = store.ensure(spec, _progress(settings), offline=settings.offline)
    for file in spec.files:
        # A script wants the path as it is; a terminal must not obey it.
        local = str(files[file.role])
        click.echo(printable(local) if sys.stdout.isatty() else local, file=sys.stdout)


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def rm(settings: Settings, names: tuple[str, ...]) -> None:
    """Delete the files of models from the cache."""
    registry, store = _zoo(settings)
    progress = _progress(settings)
    for spec in [registry.get(n) for n in names]:
        removed = store.remove(spec, progress)
        progress.note(f"{spec.name}: {'removed' if removed else 'nothing to remove'}")
