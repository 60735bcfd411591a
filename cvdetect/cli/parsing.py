"""Turns the text of an option into its value."""

from __future__ import annotations

import math

from cvdetect.core.errors import UsageError
from cvdetect.core.options import Conf

__all__ = ["parse_conf", "parse_numbers", "parse_scale", "parse_size", "parse_time", "parse_triple"]


def parse_conf(text: str) -> Conf:
    """``0.5``, ``person=0.3,car=0.6`` or ``0.5,person=0.3`` → thresholds."""
    default: float | None = None
    per_class: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        if equals:
            per_class[name.strip()] = _number(value, text)
        elif default is None:
            default = _number(value, text)
        else:
            raise UsageError(f"--conf {text}: more than one threshold without a class name")
    return Conf(default, per_class)


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"--conf {text}: {value.strip()!r} is not a number (e.g. 0.5 or 0.5,person=0.3)") from None


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """``416`` or ``608x416`` → width and height in pixels."""
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
        raise UsageError(f"{option} {text}: expected one number or WIDTHxHEIGHT, e.g. 416 or 608x416")
    return int(parts[0]), int(parts[-1])


def parse_scale(text: str | None) -> float | None:
    """``0.5`` or ``1/255`` → a factor above 0; None stays None."""
    if text is None:
        return None
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--scale {text}: expected a number above 0 or a fraction, e.g. 1/255")
    return value


def parse_triple(text: str | None, option: str) -> tuple[float, float, float] | None:
    """``A,B,C``, or one number for all three channels; None stays None."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise UsageError(f"{option} {text}: expected one number or three, e.g. 123.7,116.3,103.5")
    return (values[0], values[0], values[0]) if len(values) == 1 else (values[0], values[1], values[2])


def parse_numbers(text: str | None, option: str) -> tuple[float, ...]:
    """``A,B,…`` → numbers above 0; None → ()."""
    try:
        numbers = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        numbers = (0.0,)
    if not all(0 < number < math.inf for number in numbers):
        raise UsageError(f"{option} {text}: expected numbers above 0, separated by commas")
    return numbers


def parse_time(text: str, option: str) -> float:
    """``12.5``, ``1:02`` or ``1:02:03.5`` → seconds."""
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3 or not all(0 <= v < math.inf for v in values) or not all(v < 60 for v in values[1:]):
        raise UsageError(f"{option} {text}: expected seconds or mm:ss, e.g. 12.5 or 1:02")
    return float(sum(value * 60**place for place, value in enumerate(reversed(values))))
