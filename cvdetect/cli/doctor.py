"""``cvdetect doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from cvdetect.cli.main import Settings

__all__ = ["command"]


@click.command("doctor", short_help="Tell what this machine can run.")
@click.pass_obj
def command(settings: Settings) -> int:
    """Tell what this machine can run: versions, OpenCV's build, backends, windows, codecs, models on disk.

    Everything is tried, nothing is believed. Exits 3 where something needs mending.
    """
    from cvdetect.cli.console import print_findings
    from cvdetect.jobs.doctor import diagnose
    from cvdetect.models.registry import load_models
    from cvdetect.models.store import Store

    registry = load_models(Path(settings.models) if settings.models else None)
    store = Store(Path(settings.cache_dir) if settings.cache_dir else None)
    return 0 if print_findings(diagnose(registry, store)) else 3
