"""Images of the worst misses, with what was not found, and what was found where nothing is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.core.frame import MAX_PIXELS, Image
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.evaluate.arrays import Floats, Ints
from cvdetect.jobs.evaluate.report import EvalReport
from cvdetect.jobs.evaluate.score import RIGHT, Scored, unmatched
from cvdetect.sinks.draw import DrawStyle, draw, pixelate
from cvdetect.sinks.images import write_image
from cvdetect.sources.images import read_image_file

__all__ = ["Gallery", "check_worst", "worst_images", "write_worst"]

# Class numbers whose colours in the palette are green, orange and red. Colours repeat after 2^32 classes, so that
# number + 2^32 * row has the colour of the number and still holds the row.
_RIGHT, _WRONG, _MISSED = 28, 39, 0
_ROW_SHIFT = 32  # bits
_LONG_SIDE = 1000  # pixels: smaller images are enlarged, so that labels hide less of them
_SMALL = 0.42  # font scale


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
    blur: tuple[str, ...] = ()
    style: DrawStyle = DrawStyle()
    max_pixels: int = MAX_PIXELS


def write_worst(gallery: Gallery, report: EvalReport, paths: Mapping[int, Path]) -> None:
    """Write the worst images as ``01_<stem>.jpg``, …, the worst first.

    Red is what was missed, orange what was found where nothing of that class is, green thin boxes are right.

    Args:
        paths: position in the ground truth → image file.
    """
    digits = max(2, len(str(gallery.count)))
    blur = _blurred(gallery.blur, report.labels)
    worst = worst_images(report.scored, report.at, sorted(paths))[: gallery.count]
    for place, index in enumerate(worst, start=1):
        image = read_image_file(paths[index], gallery.max_pixels).image
        path = gallery.folder / f"{place:0{digits}d}_{paths[index].stem}.jpg"
        write_image(path, _draw_misses(report, index, image, blur, gallery.style))


def _blurred(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    known = LabelSet.from_names(labels)
    return list(range(len(labels))) if "all" in names else known.find_each(names)


def worst_images(scored: Scored, at: float, images: Sequence[int]) -> list[int]:
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
