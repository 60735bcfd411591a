"""``cvdetect image``."""

from __future__ import annotations

from typing import Any

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import PATH, detecting, drawing

__all__ = ["command"]


@click.command("image", short_help="Detect objects in images.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--out", type=PATH, help="A file for one input, a folder for several.")
@click.option("--no-save", is_flag=True, help="Write no annotated copy.")
@click.option("--show", is_flag=True, help="Show each picture in a window; q or Esc ends.")
@click.option("--json", metavar="PATH", help="Write JSON Lines, one object an image; - is standard output.")
@click.option("--crops", type=PATH, help="A folder for a picture of each detection.")
@drawing
@detecting("image")
@click.pass_obj
def command(settings: Settings, /, no_save: bool, **job: Any) -> int:
    """Detect objects in one or more images (files, or patterns in quotes).

    Prints a table and writes an annotated copy, <name>_detected, in the current folder.

    \b
    cvdetect image photo.jpg
    cvdetect image 'photos/*.jpg' -o annotated/ --conf 0.3 --classes person,dog
    cvdetect image photo.jpg --json - --no-save
    """
    from cvdetect.console import ConsoleProgress, DetectionTable
    from cvdetect.detect_images import ImageJob, detect_images

    extra = [] if job["json"] == "-" else [DetectionTable]
    progress = ConsoleProgress(settings.quiet, settings.verbose)
    return detect_images(ImageJob(save=not no_save, **job), extra, progress).exit_code
