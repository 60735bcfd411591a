"""``cvdetect image``."""

from __future__ import annotations

from typing import Any

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import OUT_EITHER, OUT_FILE, OUT_FOLDER, detecting, drawing, max_pixels

__all__ = ["command"]


@click.command("image", short_help="Detect objects in images.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o", "--out", type=OUT_EITHER, help="A file for one input; a folder for several, or where it ends in a slash."
)
@click.option("--no-save", is_flag=True, help="Write no annotated copy.")
@click.option("--show", is_flag=True, help="Show each picture in a window; q or Esc ends.")
@click.option("--json", type=OUT_FILE, help="Write JSON Lines, one object an image; - is standard output.")
@click.option("--crops", type=OUT_FOLDER, help="A folder for a picture of each detection.")
@max_pixels
@drawing
@detecting("image")
@click.pass_obj
def command(settings: Settings, /, no_save: bool, **job: Any) -> int:
    """Detect objects in one or more images: files, patterns in quotes, @FILE for a list of paths, - for an image from
    standard input.

    Prints a table and writes an annotated copy, <name>_detected, in the current folder (stdin_detected.jpg, or the
    suffix that fits, for standard input).

    \b
    cvdetect image photo.jpg
    cvdetect image 'photos/*.jpg' -o annotated/ --conf 0.3 --classes person,dog
    cvdetect image photo.jpg --json - --no-save
    curl -s https://example.org/photo.jpg | cvdetect image - -o found.jpg
    """
    from cvdetect.cli.console import ConsoleProgress, DetectionTable
    from cvdetect.jobs.image import ImageJob, detect_images

    extra = [] if job["json"] == "-" else [DetectionTable]
    progress = ConsoleProgress(settings.quiet, settings.verbose)
    return detect_images(ImageJob(save=not no_save, **job), extra, progress).exit_code
