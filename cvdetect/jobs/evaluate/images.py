"""The images that an evaluation writes: curves and the confusion matrix (matplotlib), and those with the worst misses.

Only this module imports matplotlib, and only where plots are made.
"""

from __future__ import annotations

import importlib.util
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import MissingPackage, UsageError
from cvdetect.core.files import write_whole
from cvdetect.core.frame import Image
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.evaluate.arrays import Floats, Ints
from cvdetect.jobs.evaluate.report import EvalReport
from cvdetect.jobs.evaluate.score import RIGHT, Ranking, Scored, precision_envelope, unmatched
from cvdetect.sinks.draw import DrawStyle, draw, pixelate
from cvdetect.sinks.images import write_image
from cvdetect.sources.images import read_image_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "Gallery", "check_plots", "check_worst", "write_plots", "write_worst"]

PLOTS = ("precision_recall.png", "precision_recall_classes.png", "f1.png", "confusion.png", "confusion.csv")
_FEW = 10  # classes that a legend can name
_NAMED = 5  # of more classes, so many of the commonest
_RECALLS = np.linspace(0, 1, 1001)
_THRESHOLDS = np.linspace(0, 1, 501)
_GREY, _BLUE, _RED, _DARK = "#c3c8cf", "#1f5fa8", "#c0392b", "#1b2430"
# Class numbers whose colours in the palette are green, orange and red. Colours repeat after 2^32 classes, so that
# number + 2^32 * row has the colour of the number and still holds the row.
_RIGHT, _WRONG, _MISSED = 28, 39, 0
_ROW_SHIFT = 32  # bits
_LONG_SIDE = 1000  # pixels: smaller images are enlarged, so that labels hide less of them
_SMALL = 0.42  # font scale


def check_plots() -> None:
    """Raise MissingPackage where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingPackage(
            f"{arg('plots')} needs matplotlib: run pip install 'cvdetect[plots]' (or pip install matplotlib)"
        )


def write_plots(folder: Path, report: EvalReport) -> None:
    """Write `PLOTS`; precision, recall and F1 are those of VOC's rules at IoU 0.5.

    Raises:
        SinkError: a file cannot be written.
    """
    shown = [i for i, one in enumerate(report.classes) if one.objects]
    figures = (
        _precision_recall(report, shown),
        _small_multiples(report, shown),
        _f1(report, shown),
        _confusion(report),
    )
    for name, figure in zip(PLOTS[:-1], figures, strict=True):
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=120)
        write_whole(folder / name, data.getvalue())
    write_whole(folder / PLOTS[-1], _confusion_csv(report).encode())


def _figure(width: float, height: float) -> Figure:
    """A figure without pyplot, which would keep it and look for a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, x: str, y: str, title: str) -> Axes:
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(title, loc="left")
    axes.grid(color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _precision_recall(report: EvalReport, shown: Sequence[int]) -> Figure:
    figure = _figure(7.2, 5.4)
    axes = _axes(figure, "recall", "precision", f"Precision and recall at IoU 0.5, {len(shown)} classes")
    curves = [_precision_at(report.scored.rankings[i]) for i in shown]
    names = [f"{report.classes[i].label} {report.classes[i].voc_all:.2f}" for i in shown]
    _draw_curves(axes, _RECALLS, curves, names, _named(report, shown))
    mean = f"mean, AP {report.voc_all:.3f} (VOC, all points)"
    axes.plot(_RECALLS, np.mean(curves, axis=0), color=_DARK, lw=2.6, label=mean)
    axes.legend(fontsize=8, loc="upper right", framealpha=0.9)
    return figure


def _precision_at(ranking: Ranking) -> Floats:
    """The best precision at each of `_RECALLS` or a higher recall, (1001,)."""
    hits = np.cumsum(ranking.right)
    first = np.searchsorted(hits, np.ceil(_RECALLS * ranking.positives - 1e-9))  # the first detection that gets there
    return np.append(precision_envelope(ranking.right), 0.0)[first]


def _small_multiples(report: EvalReport, shown: Sequence[int]) -> Figure:
    """One small plot a class, the commonest first."""
    order = sorted(shown, key=lambda i: (-report.classes[i].objects, i))
    columns = min(8, max(3, int(np.ceil(np.sqrt(len(order))))))
    rows = -(-len(order) // columns)
    figure = _figure(1.75 * columns, 1.7 * rows + 0.7)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, i in zip(grid, order, strict=False):
        one = report.classes[i]
        curve = _precision_at(report.scored.rankings[i])
        axes.fill_between(_RECALLS, curve, color=_BLUE, alpha=0.18, lw=0)
        axes.plot(_RECALLS, curve, color=_BLUE, lw=1.3)
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.set_title(f"{one.label}\nAP {one.voc_all:.2f} · {one.objects}", fontsize=8, loc="left")
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(order) :]:
        axes.set_visible(False)
    figure.suptitle("Precision (up) over recall (right) at IoU 0.5; VOC AP by all points · objects", fontsize=10)
    return figure


def _f1(report: EvalReport, shown: Sequence[int]) -> Figure:
    figure = _figure(7.2, 5.4)
    axes = _axes(figure, "score threshold", "F1", f"F1 against the score threshold at IoU 0.5, {len(shown)} classes")
    curves = [_f1_at(report.scored.rankings[i]) for i in shown]
    _draw_curves(axes, _THRESHOLDS, curves, [report.classes[i].label for i in shown], _named(report, shown))
    axes.plot(_THRESHOLDS, _f1_at(report.scored.together), color=_DARK, lw=2.6, label="all classes together")
    axes.axvline(report.at, color=_RED, lw=1, ls="--")
    f1 = report.rates.f1 or 0.0
    label = f"{'best' if report.at_is_best else 'at'} {report.at:.3f}: F1 {f1:.3f}"
    axes.plot([report.at], [f1], "o", color=_RED, label=label)
    axes.legend(fontsize=8, loc="upper right", framealpha=0.9)
    return figure


def _f1_at(ranking: Ranking) -> Floats:
    """F1 at each of `_THRESHOLDS`, (501,)."""
    return np.array([ranking.at(float(t)).f1 or 0.0 for t in _THRESHOLDS])


def _named(report: EvalReport, shown: Sequence[int]) -> list[bool]:
    """Which curves a legend names: all of a few, else the commonest classes."""
    if len(shown) <= _FEW:
        return [True] * len(shown)
    commonest = sorted(shown, key=lambda i: (-report.classes[i].objects, i))[:_NAMED]
    return [i in commonest for i in shown]


def _draw_curves(axes: Axes, x: Floats, curves: Sequence[Floats], names: Sequence[str], named: Sequence[bool]) -> None:
    """One thin curve a class: coloured where the legend names it, else grey and below."""
    others = [curve for curve, is_named in zip(curves, named, strict=True) if not is_named]
    for number, curve in enumerate(others):
        axes.plot(
            x, curve, lw=0.7, color=_GREY, alpha=0.6, label=f"{len(others)} other classes" if not number else None
        )
    for curve, name, is_named in zip(curves, names, named, strict=True):
        if is_named:
            axes.plot(x, curve, lw=1.3, label=name)


def _confusion(report: EvalReport) -> Figure:
    """Shares of each row; empty rows and columns are left out."""
    matrix, names = _non_empty(report.confusion, [*report.labels, "background"])
    size = max(5.0, 0.22 * len(names) + 2.2)
    figure = _figure(size + 0.8, size)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=8, length=0)
    axes.set_xticks(np.arange(len(names)) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names)) + 0.5, minor=True)
    axes.grid(which="minor", color="#e3e7ec", lw=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set(xlabel="detected as (background: not found)", ylabel="is (background: false alarm)")
    axes.set_title(f"Confusion matrix at score ≥ {report.at:.3f}", loc="left")
    _write_counts(axes, matrix, share)
    figure.colorbar(drawn, ax=axes, shrink=0.5, fraction=0.04, pad=0.01, label="share of the row")
    return figure


def _non_empty(matrix: Ints, names: Sequence[str]) -> tuple[Ints, list[str]]:
    """The matrix without the classes that have neither objects nor detections; the background stays."""
    kept = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    kept[-1] = True
    return matrix[np.ix_(kept, kept)], [name for name, keep in zip(names, kept, strict=True) if keep]


def _write_counts(axes: Axes, matrix: Ints, share: Floats) -> None:
    size = 9 if len(matrix) <= _FEW + 1 else 6
    for row, column in np.argwhere(matrix):
        colour = "white" if share[row, column] > 0.55 else "#333333"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=size, color=colour)


def _confusion_csv(report: EvalReport) -> str:
    """The whole matrix; rows are the ground truth."""
    names = [f'"{name}"' for name in (*(label.replace('"', '""') for label in report.labels), "background")]
    rows = [",".join(map(str, row)) for row in report.confusion.tolist()]
    head = ",".join(['"is \\ detected as"', *names])
    return "\n".join([head, *(f"{name},{row}" for name, row in zip(names, rows, strict=True))]) + "\n"


def check_worst(count: int, images: Path | None) -> None:
    """Raise UsageError where there are no images to draw on, or the count is negative."""
    if count < 0:
        raise UsageError(f"{arg('worst')} {count}: expected a number of images")
    if count and images is None:
        raise UsageError(f"{arg('worst')} draws on the images: give {arg('images')} too")


@dataclass(frozen=True, slots=True)
class Gallery:
    """How the worst images are written.

    Attributes:
        count: how many.
        blur: names of the ground truth's classes to pixelate, or "all".
        style: how boxes look.
        max_pixels: larger images are not decoded.
    """

    count: int
    folder: Path
    blur: tuple[str, ...]
    style: DrawStyle
    max_pixels: int


def write_worst(gallery: Gallery, report: EvalReport, paths: Mapping[int, Path]) -> None:
    """Write the worst images as ``01_<stem>.jpg``, …, the worst first.

    Red is what was missed, orange what was found where nothing of that class is, green thin boxes are right.

    Args:
        paths: position in the ground truth → image file.
    """
    digits = max(2, len(str(gallery.count)))
    blur = _blurred(gallery.blur, report.labels)
    worst = _worst_images(report.scored, report.at, sorted(paths))[: gallery.count]
    for place, index in enumerate(worst, start=1):
        image = read_image_file(paths[index], gallery.max_pixels).image
        path = gallery.folder / f"{place:0{digits}d}_{paths[index].stem}.jpg"
        write_image(path, _draw_misses(report, index, image, blur, gallery.style))


def _blurred(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    known = LabelSet.from_names(labels)
    return list(range(len(labels))) if "all" in names else known.find_each(names)


def _worst_images(scored: Scored, at: float, images: Sequence[int]) -> list[int]:
    """Images with a miss, worst first: one point for each missed object, the score of each false alarm."""
    missed, wrong = unmatched(scored.objects, scored.found, scored.matches, at)
    points: defaultdict[int, float] = defaultdict(float)
    for image in scored.objects.image[missed].tolist():
        points[image] += 1
    for image, score in zip(scored.found.image[wrong].tolist(), scored.found.score[wrong].tolist(), strict=True):
        points[image] += score
    return sorted((i for i in images if points.get(i)), key=lambda i: (-points[i], i))


def _draw_misses(report: EvalReport, index: int, image: Image, blur: Sequence[int], style: DrawStyle) -> Image:
    """The image with everything that is right, wrong and missed at the report's threshold."""
    objects, found, matches = report.scored.objects, report.scored.found, report.scored.matches
    missed, wrong = unmatched(objects, found, matches, report.at)
    missed, wrong = missed[objects.image[missed] == index], wrong[found.image[wrong] == index]
    shown = (found.score >= report.at) & (found.image == index)
    right = np.flatnonzero(shown & (matches.verdict == RIGHT))
    hidden = [
        boxes[here & np.isin(label, blur)]
        for boxes, label, here in (
            (objects.xyxy, objects.label, objects.image == index),
            (found.xyxy, found.label, shown),
        )
    ]
    factor = max(1, round(_LONG_SIDE / max(image.shape[:2])))
    image = pixelate(image, np.concatenate(hidden).astype(np.float32))
    image = image.repeat(factor, axis=0).repeat(factor, axis=1)  # (factor * H, factor * W, 3)
    texts = [f"missed {report.labels[objects.label[row]]}" for row in missed]
    texts += [_false_alarm(report.labels[found.label[row]], found.score[row], style) for row in wrong]
    kinds = np.array([_MISSED] * len(missed) + [_WRONG] * len(wrong), np.int64)
    boxes = np.concatenate([objects.xyxy[missed], found.xyxy[wrong]])
    thin = replace(style, line_width=1, hide_labels=True)
    image = draw(image, _boxes(np.full(len(right), _RIGHT), factor * found.xyxy[right]), str, thin)
    return draw(image, _boxes(kinds, factor * boxes), lambda number: texts[number >> _ROW_SHIFT], _plain(style))


def _false_alarm(label: str, score: float, style: DrawStyle) -> str:
    return f"false {label}" + ("" if style.hide_scores else f" {score:.2f}")


def _plain(style: DrawStyle) -> DrawStyle:
    """Small labels, as there may be many; texts hold their scores themselves, because what was missed has none."""
    return replace(style, hide_scores=True, font_scale=style.font_scale or _SMALL)


def _boxes(kinds: Ints, xyxy: Floats) -> Detections:
    """Boxes whose class number holds their kind, which is a colour, and their row."""
    rows = np.arange(len(kinds), dtype=np.int64)
    return Detections(xyxy.astype(np.float32), kinds + (rows << _ROW_SHIFT), np.ones(len(kinds), np.float32))
