"""Images with masks, boxes and labels drawn in, pixelated boxes, and crops: pure functions of an image and its boxes.

Images are BGR uint8 (H, W, 3) and are never changed; boxes are xyxy in the image's pixels. The order of work is
masks, outlines (which pixels frame a box), labels (which text, how large, where), then paint.
"""

from __future__ import annotations

import colorsys
import math
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.arguments import arg
from cvdetect.core.boxes import Boxes, clip
from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.errors import UsageError
from cvdetect.core.frame import Image
from cvdetect.core.images import ColorOrder, as_bgr
from cvdetect.core.masks import regions
from cvdetect.core.options import check_least

__all__ = [
    "BLACK",
    "WHITE",
    "Colour",
    "DrawStyle",
    "Label",
    "class_colour",
    "contrast",
    "crop",
    "draw",
    "pixelate",
    "place_labels",
    "plain_text",
    "text_colour",
    "tint",
]

Corners = tuple[int, int, int, int]  # x1, y1, x2, y2 in whole pixels, x2 and y2 exclusive
Colour = tuple[int, int, int]  # BGR, 0 to 255

_FONT = cv2.FONT_HERSHEY_SIMPLEX  # its capitals are about 22 pixels high at scale 1
_LEGIBLE = 0.3  # font scale below which its letters run together
_CELLS = 8  # a pixelated box has at most so many cells along its longer side
_SMALLEST_CELL = 4  # pixels
_OPACITY = 0.45  # of masks: what is below stays visible, also where two of them lie over each other

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
# 2^32 over the golden ratio: its multiples modulo 2^32 spread evenly over the hue circle, for any number of classes.
_GOLDEN_STEP = 2654435769
# Hues that come close again do so after a Fibonacci number of classes (21, 34, 55); none of those is a multiple of
# four, so four tones in turn keep such neighbours apart.
_TONES = ((0.95, 1.0), (0.60, 1.0), (0.95, 0.72), (0.75, 0.88))  # saturation, value

# Letters that NFKD does not take apart, and typographic marks.
_PLAIN = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ı": "i", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"'}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawStyle:
    """How detections are drawn.

    Attributes:
        line_width: of the boxes, in pixels; None: 0.3 % of the image's size (2 at 640x480, 21 at 8000x6000).
        font_scale: of the labels, 1 for capitals of 22 pixels; None: by the image's size, never below 0.4.
        hide_scores: labels without scores.
        hide_labels: boxes alone.

    Raises:
        UsageError: a line width below 1, a font scale that is not a positive number.
    """

    line_width: int | None = None
    font_scale: float | None = None
    hide_scores: bool = False
    hide_labels: bool = False

    def __post_init__(self) -> None:
        if self.line_width is not None:
            check_least(self.line_width, 1, "line_width")
        if self.font_scale is not None and not 0 < self.font_scale < math.inf:
            raise UsageError(f"{arg('font_scale')} {self.font_scale:g}: a positive number is needed")

    def sizes_on(self, width: int, height: int) -> tuple[int, float]:
        """The line width in pixels and the font scale on an image of that size."""
        size = math.sqrt(width * height)
        return self.line_width or max(1, round(0.003 * size)), self.font_scale or max(0.4, size / 1400)


@dataclass(frozen=True, slots=True)
class Label:
    """One label: the detection's position in `Detections`, the text, the background's corners, the font scale."""

    index: int
    text: str
    corners: Corners
    scale: float


def draw(
    image: Any,
    detections: Detections,
    labels: Callable[[int], str] | None = None,
    style: DrawStyle | None = None,
    color: ColorOrder = "bgr",
) -> Image:
    """A copy of `image` with mask, box and label ("#7 dog 0.83") of each detection that is inside it.

    Labels lie above all boxes, those of better scores above those of worse ones.

    Args:
        image: uint8 (H, W, 3), grey, with alpha, or a PIL image, as `Detector.detect` takes them.
        detections: in its pixels.
        labels: gives the text of a class number; None: the detections' own labels. OpenCV's fonts hold ASCII only, see
            `plain_text` for what becomes of other letters.
        style: how boxes and labels look.
        color: "rgb" where an array is in that order.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        UsageError: it is no image.
    """
    style, labels = style or DrawStyle(), labels or detections.label
    out = tint(as_bgr(image, color), detections)
    height, width = out.shape[:2]
    line, _ = style.sizes_on(width, height)
    for i, outline in reversed(_outlines(detections, line, width, height)):
        _paint_frame(out, outline, line, class_colour(int(detections.class_id[i])))
    for label in reversed(place_labels((width, height), detections, labels, style)):
        _paint_label(out, label, class_colour(int(detections.class_id[label.index])))
    return out


def tint(image: Image, detections: Detections) -> Image:
    """A copy of `image` (H, W, 3) with masks in translucent colour, those of better scores above those of worse."""
    out: Image = image.copy()
    found = regions(detections, (image.shape[1], image.shape[0]))
    order = np.argsort(detections.score, kind="stable") if found else ()
    for i in order:
        if found[i].inside.size:
            below = out[found[i].window]  # (h, w, 3), a view
            colour = np.full_like(below, class_colour(int(detections.class_id[i])))
            tinted = cv2.addWeighted(colour, _OPACITY, below, 1 - _OPACITY, 0)
            np.copyto(below, tinted, where=found[i].inside[:, :, None])
    return out


def place_labels(
    image_wh: tuple[int, int], detections: Detections, labels: Callable[[int], str], style: DrawStyle
) -> list[Label]:
    """The labels of the visible detections, best score first, each with its place inside the image.

    A label sits above its box; where that is outside the image or on the label of a better detection, inside its
    top edge, below it, above its right end, or inside its bottom edge; where all are taken, in the first that fits.
    What is too wide is made smaller, then loses its score, then is cut; what cannot be legible even so is left out.
    """
    if style.hide_labels:
        return []
    line, full_scale = style.sizes_on(*image_wh)
    placed: list[Label] = []
    taken = np.empty((len(detections), 4), np.int64)
    for i, outline in _outlines(detections, line, *image_wh):
        name, score = _texts(detections, i, labels)
        fitted = _fit(name, "" if style.hide_scores else score, full_scale, image_wh)
        if fitted is not None:
            text, scale = fitted
            corners = _free_place(outline, _label_size(text, scale), image_wh, taken[: len(placed)])
            taken[len(placed)] = corners
            placed.append(Label(i, text, corners, scale))
    return placed


def plain_text(text: str, class_id: int) -> str:
    """`text` in printable ASCII: accents dropped (NFKD), other letters left out.

    Where no letter or digit remains (a label in Chinese, say), it is the class number: "class 12".
    """
    if not (text.isascii() and text.isprintable()):
        letters = unicodedata.normalize("NFKD", text.translate(_PLAIN))
        text = "".join(c if " " <= c <= "~" else " " if c.isspace() else "" for c in letters)
    text = " ".join(text.split())
    return text if any(c.isalnum() for c in text) else f"class {class_id}"


def pixelate(image: Image, boxes_xyxy: Boxes) -> Image:
    """A copy of `image` in which the boxes (N, 4) are mosaics of at most 8 cells along the longer side.

    A cell is at least 4 pixels wide, so small boxes lose their detail too. Every pixel that a box touches is covered,
    no other one is changed; boxes outside the image are ignored.
    """
    out: Image = image.copy()
    for x1, y1, x2, y2 in _covered(np.asarray(boxes_xyxy).reshape(-1, 4), *out.shape[1::-1]).tolist():
        if x1 < x2 and y1 < y2:
            out[y1:y2, x1:x2] = _mosaic(out[y1:y2, x1:x2])
    return out


def crop(image: Image, box: Boxes) -> Image:
    """A copy of the pixels that a box (4,) touches, clipped to the image, at least 1x1."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = _covered(np.asarray(box).reshape(1, 4), width, height)[0].tolist()
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    return np.array(image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)])


def _covered(boxes: Boxes, width: int, height: int) -> NDArray[np.int64]:
    """The whole pixels that boxes (N, 4) touch, clipped → corners (N, 4); empty for boxes outside."""
    inside = clip(boxes, width, height)
    return np.concatenate([np.floor(inside[:, :2]), np.ceil(inside[:, 2:])], axis=1).astype(np.int64)


def _mosaic(region: Image) -> Image:
    height, width = region.shape[:2]
    cell = max(_SMALLEST_CELL, math.ceil(max(height, width) / _CELLS))
    cells = cv2.resize(region, (math.ceil(width / cell), math.ceil(height / cell)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _outlines(detections: Detections, line: int, width: int, height: int) -> list[tuple[int, Corners]]:
    """The position and the frame's outer corners of each detection in the image, best score first."""
    order = np.argsort(-detections.score, kind="stable")
    boxes = detections.xyxy[order]  # (N, 4)
    edges = np.rint(clip(boxes, width, height)).astype(np.int64)  # (N, 4)
    low = np.clip(edges[:, :2] - line // 2, 0, (width - 1, height - 1))
    high = np.clip(edges[:, 2:] + line // 2, low + 1, (width, height))
    visible = np.all((boxes[:, 2:] > 0) & (boxes[:, :2] < (width, height)), axis=1)  # (N,)
    corners = np.concatenate([low, high], axis=1)[visible].tolist()  # (M, 4)
    return [(i, (x1, y1, x2, y2)) for i, (x1, y1, x2, y2) in zip(order[visible].tolist(), corners, strict=True)]


def _texts(detections: Detections, i: int, labels: Callable[[int], str]) -> tuple[str, str]:
    """A label's text, and the score it ends with."""
    class_id = int(detections.class_id[i])
    number = detections.number(i)
    track = "" if number is None else f"#{number} "
    return track + plain_text(labels(class_id), class_id), f" {detections.score[i]:.2f}"


def _fit(name: str, score: str, scale: float, room_wh: tuple[int, int]) -> tuple[str, float] | None:
    """The text and the font scale at which a label fits the image, or None."""
    for text in _shorter(name, score, room_wh[0]):
        smaller = scale
        while smaller >= min(scale, _LEGIBLE):
            wide, high = _label_size(text, smaller)
            ratio = min(room_wh[0] / wide, room_wh[1] / high)
            if ratio >= 1:
                return text, smaller
            smaller *= min(ratio, 0.97)  # sizes are rounded: one step may not be enough
    return None


def _shorter(name: str, score: str, room: int) -> Iterator[str]:
    """The text of a label, then without its score, then cut to fewer and fewer letters."""
    yield name + score
    yield name
    longest = min(len(name) - 1, room // 2)  # no letter of the font is narrower than 2 pixels
    yield from (name[:n].rstrip() for n in range(longest, 0, -1))


def _label_size(text: str, scale: float) -> tuple[int, int]:
    """Width and height of a label's background."""
    padding, stroke = _pens(scale)
    (wide, high), below = cv2.getTextSize(text, _FONT, scale, stroke)
    return wide + 2 * padding, high + below + padding + 2


def _pens(scale: float) -> tuple[int, int]:
    """Pixels around the text (brackets stick out of the font's own height by a quarter of it), and its stroke."""
    return max(3, math.ceil(6 * scale)), max(1, round(1.6 * scale))


def _free_place(box: Corners, size: tuple[int, int], image_wh: tuple[int, int], taken: NDArray[np.int64]) -> Corners:
    """Where a label of that size goes: the first place near `box` inside the image, off the labels `taken` (K, 4)."""
    (x1, y1, x2, y2), (wide, high) = box, size
    right, bottom = image_wh[0] - wide, image_wh[1] - high  # of the label's top left corner
    places = np.array([(x1, y1 - high), (x1, y1), (x1, y2), (x2 - wide, y1 - high), (x1, y2 - high)])
    inside = (places[:, 1] >= 0) & (places[:, 1] <= bottom)  # (5,)
    low = np.clip(places, 0, (right, bottom))  # (5, 2)
    apart = (low[:, None] >= taken[None, :, 2:]) | (low[:, None] + size <= taken[None, :, :2])  # (5, K, 2)
    free = inside & apart.any(axis=2).all(axis=1)  # (5,)
    left, top = low[np.argmax(free if free.any() else inside)].tolist()
    return left, top, left + wide, top + high


def _paint_frame(image: Image, corners: Corners, line: int, colour: Colour) -> None:
    """Four bars just inside `corners`; thinner in small boxes, so that the object stays visible."""
    x1, y1, x2, y2 = corners
    line = min(line, max(1, min(x2 - x1, y2 - y1) // 4))
    bars = (x1, y1, x2, y1 + line), (x1, y2 - line, x2, y2), (x1, y1, x1 + line, y2), (x2 - line, y1, x2, y2)
    for left, top, right, bottom in bars:
        cv2.rectangle(image, (left, top), (right - 1, bottom - 1), colour, cv2.FILLED)


def _paint_label(image: Image, label: Label, colour: Colour) -> None:
    x1, y1, x2, y2 = label.corners
    pad, stroke = _pens(label.scale)
    (_, high), _ = cv2.getTextSize(label.text, _FONT, label.scale, stroke)
    ground = image[y1:y2, x1:x2]  # a view: what is drawn on it cannot leave it
    cv2.rectangle(ground, (0, 0), (x2 - x1 - 1, y2 - y1 - 1), colour, cv2.FILLED)
    cv2.putText(ground, label.text, (pad, pad + high), _FONT, label.scale, text_colour(colour), stroke, cv2.LINE_AA)


def class_colour(class_id: int) -> Colour:
    """The vivid colour of a class, the same on every run; any integer has one."""
    hue = (class_id * _GOLDEN_STEP) % 2**32 / 2**32
    saturation, value = _TONES[class_id % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever contrasts more with `background`; the better of the two is always at least 4.5:1."""
    return max(BLACK, WHITE, key=lambda colour: contrast(colour, background))


def contrast(a: Colour, b: Colour) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.1, "contrast ratio")."""
    dark, light = sorted((_luminance(a), _luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    """Relative luminance 0 to 1 of an sRGB colour (WCAG 2.1, "relative luminance")."""
    blue, green, red = (_linear(c / 255) for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
