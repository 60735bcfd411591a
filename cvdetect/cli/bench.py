"""``cvdetect bench``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import OUT_FILE, PATH, comparing
from cvdetect.core.errors import UsageError
from cvdetect.core.printable import json_text, printable

if TYPE_CHECKING:
    from cvdetect.jobs.bench import BenchReport

__all__ = ["command"]

_LEAST_1 = click.IntRange(min=1)


@click.command("bench", short_help="Time models stage by stage.")
@click.option(
    "--batch", type=_LEAST_1, multiple=True, default=[1], show_default=True, metavar="N",
    help="Images in one pass through the network.",
)  # fmt: skip
@click.option("--rounds", type=_LEAST_1, default=10, show_default=True, help="Fresh processes for each configuration.")
@click.option("--passes", type=_LEAST_1, default=5, show_default=True, help="Timed passes in each process.")
@click.option("--image", type=PATH, help="The image to detect in.  [default: a synthetic one of 1280x720]")
@click.option("--json", type=OUT_FILE, help="Write all figures as JSON; - is standard output.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@comparing("bench")
@click.pass_obj
def command(settings: Settings, /, batch: tuple[int, ...], json: str | None, markdown: bool, **job: Any) -> int:
    """Time loading, preprocessing, forward, decoding, non-maximum suppression, and all of it end to end.

    --model, --size, --backend, --precision and --batch may be given more than once: every combination is a
    configuration. They take turns, each time in a fresh process, so that other work on the machine slows all alike, and
    the first pass of a process is not counted. What cannot run as asked is refused before anything is timed.

    \b
    cvdetect bench -m yolov3-tiny
    cvdetect bench -m yolov3-tiny -m yolov4-tiny --size 416 --size 608 --image photo.jpg --markdown
    cvdetect bench --batch 1 --batch 4 --threads 2 --json figures.json
    """
    if json == "-" and markdown:
        raise UsageError("--json - and --markdown both want standard output: give one of them a file or leave it out")

    from cvdetect.jobs.bench import BenchJob, bench

    progress = settings.progress()
    report = bench(BenchJob(batches=batch, json=None if json == "-" else json, **job), progress)
    if job["image"] is None:
        progress.note("a synthetic image holds no objects: decoding and NMS take longer on your own --image")
    if json == "-":
        click.echo(json_text(report.to_json(), sys.stdout), nl=False)
    elif markdown:
        click.echo(printable(report.to_markdown(), lines=True), file=sys.stdout, nl=False)
    else:
        _print(report)
    return report.exit_code


def _print(report: BenchReport) -> None:
    """A configuration a column, so that a screen holds them."""
    from cvdetect.cli.console import print_table
    from cvdetect.jobs.bench.report import HEADERS

    (_, *names), *rows = [list(row) for row in zip(HEADERS, *(one.cells() for one in report.results), strict=True)]
    print_table(["times: median / p95, ms", *(f">{name}" for name in names)], rows)
