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
    from cvdetect.jobs.bench.report import Result

__all__ = ["command"]

_LEAST_1 = click.IntRange(min=1)


@click.command("bench", short_help="Time models stage by stage.")
@click.option(
    "--batch", type=_LEAST_1, multiple=True, default=[1], show_default=True, metavar="N",
    help="Images through the network at once.",
)  # fmt: skip
@click.option("--rounds", type=_LEAST_1, default=10, show_default=True, help="Turns of each configuration.")
@click.option("--passes", type=_LEAST_1, default=5, show_default=True, help="Timed passes of a turn.")
@click.option("--image", type=PATH, help="The picture to look at.  [default: a synthetic one of 1280x720]")
@click.option("--json", type=OUT_FILE, help="Write all figures as JSON; - is standard output.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@comparing("bench")
@click.pass_obj
def command(settings: Settings, /, batch: tuple[int, ...], json: str | None, markdown: bool, **job: Any) -> int:
    """Time loading, preprocessing, forward, decoding, suppression, and all of it end to end.

    --model, --size, --backend, --precision and --batch may be given more than once: every combination is a
    configuration. They take turns, each turn in a fresh process, so that other work on the machine hurts all alike, and
    the first pass of a turn is not counted. What cannot run as asked is refused before anything is timed.

    \b
    cvdetect bench -m yolov3-tiny
    cvdetect bench -m yolov3-tiny -m yolov4-tiny --size 416 --size 608 --image photo.jpg --markdown
    cvdetect bench --batch 1 --batch 4 --threads 2 --json figures.json
    """
    if json == "-" and markdown:
        raise UsageError("--json - and --markdown both want standard output: give one of them a file or leave it out")

    from cvdetect.cli.console import ConsoleProgress
    from cvdetect.jobs.bench.job import BenchJob, bench
    from cvdetect.jobs.bench.report import markdown as as_markdown
    from cvdetect.jobs.bench.report import to_json

    progress = ConsoleProgress(settings.quiet, settings.verbose)
    results = bench(BenchJob(batches=batch, json=None if json == "-" else json, **job), progress)
    if job["image"] is None:
        progress.note("a synthetic picture holds nothing to find: decode and suppress take longer on --image of yours")
    if json == "-":
        click.echo(json_text(to_json(results), sys.stdout), nl=False)
    elif markdown:
        click.echo(printable(as_markdown(results), lines=True), file=sys.stdout, nl=False)
    else:
        _print(results)
    return 0


def _print(results: list[Result]) -> None:
    """A configuration a column, so that a screen holds them."""
    from cvdetect.cli.console import print_table
    from cvdetect.jobs.bench.report import HEADERS, cells

    (_, *names), *rows = [list(row) for row in zip(HEADERS, *map(cells, results), strict=True)]
    print_table(["times: median / p95, ms", *(f">{name}" for name in names)], rows)
