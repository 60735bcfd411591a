"""A colour for every class, and the text colour that can be read on it. Colours are BGR, 0 to 255."""

from __future__ import annotations

import colorsys

__all__ = ["BLACK", "WHITE", "Colour", "class_colour", "contrast", "text_colour"]

Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)

# 2^32 over the golden ratio: its multiples modulo 2^32 spread evenly over the hue circle, for any number of classes.
_GOLDEN_STEP = 2654435769
# Hues that come close again do so after a Fibonacci number of classes (21, 34, 55); none of those is a multiple of
# four, so four tones in turn keep such neighbours apart.
_TONES = ((0.95, 1.0), (0.60, 1.0), (0.95, 0.72), (0.75, 0.88))  # saturation, value


def class_colour(class_id: int) -> Colour:
    """The vivid colour of a class, the same on every run; any integer has one."""
    hue = (class_id * _GOLDEN_STEP) % 2**32 / 2**32
    saturation, value = _TONES[class_id % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever contrasts more with `background`; the better of the two is always at least 4.5:1."""
    # Black wins where (L + 0.05) / 0.05 >= (1 + 0.05) / (L + 0.05), L the background's luminance.
    return BLACK if (_luminance(background) + 0.05) ** 2 >= 0.05 * 1.05 else WHITE


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
