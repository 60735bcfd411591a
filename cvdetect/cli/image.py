"""``cvdetect image``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import OUT_EITHER, OUT_FILE, OUT_FOLDER, detecting, drawing, max_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cvdetect.jobs.image import ImageResult

__all__ = ["command", "print_result"]


@click.command("image", short_help="Detect objects in images.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o",
    "--out",
    type=OUT_EITHER,
    help="A file for one input; a folder for several, or where the path ends in a slash.",
)
@click.option("--no-save", is_flag=True, help="Write no annotated copy.")
@click.option("--show", is_flag=True, help="Show each image in a window; q or Esc ends.")
@click.option("--json", type=OUT_FILE, help="Write JSON Lines, one object per image; - is standard output.")
@click.option("--crops", type=OUT_FOLDER, help="A folder for a cut-out of each detection.")
@max_pixels
@drawing
@detecting("image")
@click.pass_obj
def command(settings: Settings, /, no_save: bool, **job: Any) -> int:
    """Detect objects in one or more images: files, patterns in quotes, @FILE for a list of paths, - for an image from
    standard input.

    Prints a table and writes an annotated copy, <name>_detected, into the current folder (for standard input:
    stdin_detected with the suffix of its format).

    \b
    cvdetect image photo.jpg
    cvdetect image 'photos/*.jpg' -o annotated/ --conf 0.3 --classes person,dog
    cvdetect image photo.jpg --json - --no-save
    curl -s https://example.org/photo.jpg | cvdetect image - -o found.jpg
    """
    from cvdetect.jobs.image import ImageJob, detect_images

    on_result = None if job["json"] == "-" else print_result
    return detect_images(ImageJob(save=not no_save, on_result=on_result, **job), settings.progress()).exit_code


def print_result(result: ImageResult) -> None:
    """Print a table of one image's detections, and where its annotated copy lies."""
    from cvdetect.cli.console import print_line, print_path, print_table

    width, height = result.frame.wh
    title = f"{result.frame.name} ({width}x{height})"
    if len(result.found):
        print_table(["label", ">score", ">x1", ">y1", ">x2", ">y2"], list(_rows(result)), title)
    else:
        print_line(f"{title}: nothing found")
    if result.out:
        print_path(result.out)


def _rows(result: ImageResult) -> Iterator[list[str]]:
    found = result.found
    for class_id, score, box in zip(found.class_id, found.score, found.xyxy, strict=True):
        yield [found.label(int(class_id)), f"{score:.2f}", *(f"{v:.0f}" for v in box)]
