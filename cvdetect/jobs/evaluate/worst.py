"""Pictures of the worst misses: what was not found, and what was found where nothing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.core.frame import MAX_PIXELS, Image
from cvdetect.core.labels import LabelSet
from cvdetect.jobs.evaluate.arrays import Floats, Ints
from cvdetect.jobs.evaluate.report import Report, Scored
from cvdetect.jobs.evaluate.score import RIGHT, unmatched
from cvdetect.sinks.draw import DrawStyle, draw, pixelate
from cvdetect.sinks.images import write_image
from cvdetect.sources.images import read_picture_file

__all__ = ["Gallery", "check_worst", "worst_images", "write_worst"]

# Class numbers whose colours in the palette are green, orange and red. Colours come back after 2^32 classes, so that
# number + 2^32 * row has the colour of the number and still tells the row.
_RIGHT, _WRONG, _MISSED = 28, 39, 0
_ROUND = 32  # bits
_LONG_SIDE = 1000  # pixels: smaller pictures are enlarged, so that labels hide less of them
_SMALL = 0.42  # font scale


def check_worst(count: int, images: Path | None) -> None:
    """Raise UsageError where there are no images to draw on, or the count is negative."""
    if count < 0:
        raise UsageError(f"--worst {count}: expected a number of pictures")
    if count and images is None:
        raise UsageError("--worst draws on the pictures: give --images too")


@dataclass(frozen=True, slots=True)
class Gallery:
    """How many pictures to write where, which classes of the truth to pixelate ("all" for all), how boxes look."""

    count: int
    folder: Path
    blur: tuple[str, ...] = ()
    style: DrawStyle = DrawStyle()  # noqa: RUF009 - frozen
    max_pixels: int = MAX_PIXELS


def write_worst(gallery: Gallery, report: Report, pictures: Mapping[int, Path]) -> list[Path]:
    """Write the worst pictures as ``01_<stem>.jpg``, …, the worst first → their paths.

    Red is what was missed, orange what was found where nothing of that class is, green thin boxes are right.

    Args:
        pictures: position in the truth → file.
    """
    digits = max(2, len(str(gallery.count)))
    blur = _blurred(gallery.blur, report.labels)
    written = []
    for place, image in enumerate(worst_images(report.judged, report.at, sorted(pictures))[: gallery.count], start=1):
        path = gallery.folder / f"{place:0{digits}d}_{pictures[image].stem}.jpg"
        picture = read_picture_file(pictures[image], gallery.max_pixels).image
        write_image(path, _drawn(report, image, picture, blur, gallery.style))
        written.append(path)
    return written


def _blurred(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    known = LabelSet.from_names(labels)
    return list(range(len(labels))) if "all" in names else known.find_each(names)


def worst_images(judged: Scored, at: float, images: Sequence[int]) -> list[int]:
    """Images with a miss, worst first: one point for each missed object, the score of each false alarm."""
    missed, wrong = unmatched(judged.objects, judged.found, judged.matches, at)
    points: dict[int, float] = {}
    for image in judged.objects.image[missed].tolist():
        points[image] = points.get(image, 0) + 1
    for image, score in zip(judged.found.image[wrong].tolist(), judged.found.score[wrong].tolist(), strict=True):
        points[image] = points.get(image, 0) + score
    return sorted((i for i in images if points.get(i)), key=lambda i: (-points[i], i))


def _drawn(report: Report, image: int, picture: Image, blur: Sequence[int], style: DrawStyle) -> Image:
    """The picture with everything that is right, wrong and missed at the report's threshold."""
    objects, found, matches = report.judged.objects, report.judged.found, report.judged.matches
    missed, wrong = unmatched(objects, found, matches, report.at)
    missed, wrong = missed[objects.image[missed] == image], wrong[found.image[wrong] == image]
    shown = (found.score >= report.at) & (found.image == image)
    right = np.flatnonzero(shown & (matches.verdict == RIGHT))
    hidden = [
        boxes[here & np.isin(label, blur)]
        for boxes, label, here in (
            (objects.xyxy, objects.label, objects.image == image),
            (found.xyxy, found.label, shown),
        )
    ]
    factor = max(1, round(_LONG_SIDE / max(picture.shape[:2])))
    picture = pixelate(picture, np.concatenate(hidden).astype(np.float32))
    picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)  # (factor * H, factor * W, 3)
    texts = [f"missed {report.labels[objects.label[row]]}" for row in missed]
    texts += [_told(report.labels[found.label[row]], found.score[row], style) for row in wrong]
    kinds = np.array([_MISSED] * len(missed) + [_WRONG] * len(wrong), np.int64)
    boxes = np.concatenate([objects.xyxy[missed], found.xyxy[wrong]])
    thin = replace(style, line_width=1, hide_labels=True)
    picture = draw(picture, _boxes(np.full(len(right), _RIGHT), factor * found.xyxy[right]), str, thin)
    return draw(picture, _boxes(kinds, factor * boxes), lambda number: texts[number >> _ROUND], _plain(style))


def _told(label: str, score: float, style: DrawStyle) -> str:
    return f"false {label}" + ("" if style.hide_scores else f" {score:.2f}")


def _plain(style: DrawStyle) -> DrawStyle:
    """Small labels, as there may be many; texts hold their scores themselves, because what was missed has none."""
    return replace(style, hide_scores=True, font_scale=style.font_scale or _SMALL)


def _boxes(kinds: Ints, xyxy: Floats) -> Detections:
    """Boxes whose class number tells their kind, which is a colour, and their row."""
    rows = np.arange(len(kinds), dtype=np.int64)
    return Detections(xyxy.astype(np.float32), kinds + (rows << _ROUND), np.ones(len(kinds), np.float32))
