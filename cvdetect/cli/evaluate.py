"""``cvdetect eval``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cvdetect.cli.main import Settings
from cvdetect.cli.options import OUT_FILE, OUT_FOLDER, PATH, LazyHelp, detecting, drawing, given_arguments, max_pixels
from cvdetect.core.errors import UsageError
from cvdetect.core.printable import json_text

if TYPE_CHECKING:
    from cvdetect.jobs.evaluate import EvalReport
    from cvdetect.jobs.evaluate.score import Rates

__all__ = ["command"]

_FOR_WORST = frozenset({"worst_dir", "blur", "line_width", "font_scale", "hide_scores"})
# All that acts on a results file; the others need a model.
_WITH_PREDICTIONS = _FOR_WORST | frozenset(
    "images max_pixels truth predictions at plots json worst conf classes".split()
)

_NARROW = 12  # columns of a confusion matrix in the terminal


def _truth_help() -> str:
    from cvdetect.annotations.formats import list_readers

    return f"The ground truth: {list_readers()}."


@click.command("eval", short_help="Measure a model against ground truth.")
@click.option("--images", type=PATH, metavar="DIR", help="The folder that the ground truth's images are in.")
@click.option("--truth", type=PATH, required=True, cls=LazyHelp, make_help=_truth_help)
@click.option("--predictions", type=PATH, help="A COCO results file to score instead of running a model.")
@click.option(
    "--at", type=float, metavar="X", help="Score threshold of precision, recall and counts.  [default: best F1]"
)
@click.option("--plots", type=OUT_FOLDER, metavar="DIR", help="For curves and the confusion matrix (matplotlib).")
@click.option("--json", type=OUT_FILE, help="Write all figures as one JSON object; - is standard output.")
@click.option("--worst", type=click.IntRange(min=0), default=0, metavar="N", help="Write the N worst images.")
@click.option("--worst-dir", type=OUT_FOLDER, metavar="DIR", default="worst", show_default=True, help="For --worst.")
@max_pixels
@drawing
@detecting("eval", scoring=True)
@click.pass_context
def command(context: click.Context, /, **job: Any) -> int:
    """Measure how good a model is on your images: COCO AP and VOC AP, precision, recall and F1 by class, confusions.

    By default it detects with --conf 0.001 --multi-label --max-det 100, as the benchmarks do; graphs with their own
    non-maximum suppression have no --multi-label. Classes are matched by name, images by file name.

    \b
    cvdetect eval --images photos/ --truth instances.json
    cvdetect eval --images photos/ --truth labels/ -m yolov4-tiny --plots plots/ --worst 20
    cvdetect eval --truth instances.json --predictions results.json --json figures.json
    """
    from cvdetect.jobs.evaluate import EvalJob, evaluate

    given = given_arguments()
    if job["predictions"] is not None:
        _check_predictions(context, given)
    if not job["worst"] and given & _FOR_WORST:
        raise UsageError(f"--{min(given & _FOR_WORST).replace('_', '-')} goes with --worst N")
    asked = job["detect"].multi_label if "multi_label" in given else None
    settings: Settings = context.obj
    progress = settings.progress()
    json = job.pop("json")
    file = None if json == "-" else json
    report = evaluate(EvalJob(multi_label=asked, json=file, **job), progress)
    if json == "-":
        click.echo(json_text(report.to_json(), sys.stdout), nl=False)
    else:
        _print(report)
    for path in (job["plots"], job["worst_dir"] if job["worst"] else None):
        if path is not None:
            progress.note(f"→ {path}")
    return report.exit_code


def _check_predictions(context: click.Context, given: frozenset[str]) -> None:
    """Refuse what would act on a model: there is none."""
    typed = [name for name in given - _WITH_PREDICTIONS
             if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]  # fmt: skip
    options = [param.opts[0] for param in context.command.params if param.name in typed]
    if options:
        act = "acts" if len(options) == 1 else "act"
        raise UsageError(f"{', '.join(options)}: {act} on a model, but --predictions scores a file without one")


def _print(report: EvalReport) -> None:
    from cvdetect.cli.console import print_table

    figures = {**report.coco, "VOC_AP_11": report.voc_11, "VOC_AP_all": report.voc_all}
    ran = [["model", str(report.ran["model"])], ["images", str(report.images.evaluated)]]
    shares = [[name, _share(value, 4)] for name, value in figures.items()]
    print_table(["figure", ">value"], [*ran, *shares, ["by", str(report.ran["evaluator"])]])
    heads = [">objects", ">AP", ">AP50", ">VOC 11", ">VOC all", ">precision", ">recall", ">F1", ">TP", ">FP", ">FN"]
    why = "the best F1 of all classes together" if report.at_is_best else "as asked"
    print_table(["class", *heads], _class_rows(report), f"precision to FN: score ≥ {report.at:.4g} ({why}), IoU 0.5")
    _print_confusion(report)


def _class_rows(report: EvalReport) -> list[list[str]]:
    """Every class that has objects or detections at the threshold, and all together."""
    rows = []
    for one in report.classes:
        if one.objects or one.rates.fp:
            shares = one.ap, one.ap50, one.voc_11, one.voc_all
            rows.append([one.label, str(one.objects), *map(_share, shares), *_rates(one.rates)])
    objects = str(sum(one.objects for one in report.classes))
    shares = report.coco["AP"], report.coco["AP50"], report.voc_11, report.voc_all
    return [*rows, ["all", objects, *map(_share, shares), *_rates(report.rates)]]


def _rates(rates: Rates) -> list[str]:
    return [*map(_share, (rates.precision, rates.recall, rates.f1)), str(rates.tp), str(rates.fp), str(rates.fn)]


def _share(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _print_confusion(report: EvalReport) -> None:
    """The whole matrix where it fits a screen, else the commonest mistakes; --plots has it all."""
    from cvdetect.cli.console import print_table
    from cvdetect.jobs.evaluate.score import most_confused

    title = f"mistaken for each other, score ≥ {report.at:.4g}"
    names = [*report.labels, "background"]
    if len(names) <= _NARROW:
        rows = [[name, *map(str, row)] for name, row in zip(names, report.confusion.tolist(), strict=True)]
        print_table(["is \\ detected as", *(f">{name}" for name in names)], rows, title)
        return
    rows = [[names[a], names[b], str(n)] for a, b, n in most_confused(report.confusion, 10)]
    rows.append(["(any)", "background: not found", str(report.confusion[:-1, -1].sum())])
    rows.append(["background: false alarm", "(any)", str(report.confusion[-1, :-1].sum())])
    print_table(["is", "detected as", ">times"], rows, title)
