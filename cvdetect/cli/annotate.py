"""``cvdetect annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import LazyHelp, Output, detecting, drawing, given_arguments, max_pixels, split
from cvdetect.storage.urls import is_url

__all__ = ["FOLDER", "command"]


class _Folder(Output):
    """A path, or an address (``s3://bucket/labels``), which stays a string."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, str) and is_url(value) else super().convert(value, param, ctx)


FOLDER = _Folder(path_type=Path)


def _given(settings: Settings) -> frozenset[str]:
    """The arguments that a person set, of the group too."""
    return given_arguments() | ({"registry"} if settings.models else set())


def _formats_help() -> str:
    from cvdetect.annotations.formats import list_formats

    return f"{list_formats()}: one, or several with a folder each."


def _link_images_help() -> str:
    from cvdetect.annotations.formats import list_formats

    return f"Put links to the images into OUT, for a whole data set ({list_formats(with_images=True)})."


@click.command("annotate", short_help="Write annotation files for a folder of images.")
@click.argument("images", metavar="DIR")
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="The folder for annotation files.")
@click.option(
    "--format", "formats", multiple=True, metavar="A,B", default=("coco",), show_default=True,
    envvar="CVDETECT_ANNOTATE_FORMAT",  # as of other options: by the option's name
    cls=LazyHelp, make_help=_formats_help,
)  # fmt: skip
@click.option("--recursive/--no-recursive", default=True, help="Go into sub-folders.  [default: recursive]")
@click.option("--root", type=FOLDER, metavar="DIR", help="What names are relative to, for a list of paths.")
@click.option("--draw", type=FOLDER, metavar="DIR", help="A folder for annotated copies, in the tree of the images.")
@click.option("--crops", type=FOLDER, metavar="DIR", help="A folder for an image of each detection.")
@click.option("--review", is_flag=True, help="Write a page to look through the results: OUT/review/index.html.")
@click.option("--yolo-conf", is_flag=True, help="Write the score as a sixth column of yolo's label files.")
@click.option("--link-images", is_flag=True, cls=LazyHelp, make_help=_link_images_help)
@click.option("--copy-images", is_flag=True, help="Put copies of the images into OUT instead.")
@click.option(
    "--resume", is_flag=True,
    help="Continue where an earlier run stopped, with its options; others are refused. Begin where there was none.",
)  # fmt: skip
@click.option(
    "--overwrite", is_flag=True,
    help="Start again: delete an earlier run's results, and replace files that are not its own or were edited.",
)  # fmt: skip
@click.option("--fail-fast", is_flag=True, help="Stop at the first image that fails.")
@click.option("--workers", type=int, metavar="N", help="Networks side by side.  [default: what is usually fastest]")
@click.option(
    "--batch", type=int, default=1, show_default=True, metavar="N", help="Images in one pass through a network."
)
@max_pixels
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="Where it runs: on this machine, or on a Ray cluster (extra [ray]).",
)  # fmt: skip
@click.option(
    "--ray-address", metavar="ADDR",
    help="The cluster: HOST:PORT, ray://HOST:PORT or auto.  [default: one started on this machine]",
)  # fmt: skip
@drawing
@detecting("annotate")
@click.pass_obj
def command(settings: Settings, /, formats: tuple[str, ...], **job: Any) -> int:
    """Detect in all images of a folder and write annotation files.

    DIR is a folder, a pattern in quotes, @FILE for a file of paths (one a line, or NUL between them), or - for such a
    list from standard input. It and every folder that is written may be in an object store (s3://, gs://, az:// …;
    docs/cloud.md). What is done is never lost: run it again with --resume after an interruption.

    \b
    cvdetect annotate photos/ --out labels/ --format voc
    cvdetect annotate photos/ --out labels/ --format coco,yolo --review
    cvdetect annotate 'photos/**/*.jpg' --out labels/ --resume
    cvdetect annotate s3://bucket/photos --out s3://bucket/labels --draw drawn/
    """
    from cvdetect.core.printable import counted
    from cvdetect.jobs.annotate.job import AnnotateJob
    from cvdetect.jobs.annotate.run import annotate

    progress = settings.progress()
    names = tuple(dict.fromkeys(name for text in formats for name in split(text)))
    report = annotate(AnnotateJob(formats=names, given=_given(settings), **job), progress)
    parts = [f"{counted(report.done, 'image')} annotated"]
    parts += [f"{report.failed} failed"] if report.failed else []
    parts += [f"{report.waiting} still to be done: continue with --resume"] if report.waiting else []
    progress.note(", ".join(parts))
    for path in report.outputs:
        progress.note(f"→ {path}")
    return report.exit_code
