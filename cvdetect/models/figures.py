"""What a row of models.yaml says in figures: `accuracy` and `speed`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cvdetect.core.spec import Accuracy, Speed
from cvdetect.models.fields import Place, above_zero, items, number, read_fields, table, text

__all__ = ["read_accuracy", "read_speed"]


def read_accuracy(value: Any, place: Place) -> tuple[Accuracy, ...]:
    """A list of published figures, each with all of its keys."""
    return tuple(_figure(item, place.at(index)) for index, item in enumerate(items(value, place), 1))


def _figure(value: Any, place: Place) -> Accuracy:
    return Accuracy(**read_fields(_whole(table(value, place, _FIGURE), place, _FIGURE), place, _FIGURE))


def read_speed(value: Any, place: Place) -> Speed:
    """Time, operations or both, and where they come from."""
    row = _whole(table(value, place, _SPEED), place, ("source",))
    if not {"forward", "gflop"} & row.keys():
        raise place.error("one of the keys 'forward', 'gflop' is missing")
    return Speed(**read_fields(row, place, _SPEED))


def _whole(row: dict[str, Any], place: Place, keys: Iterable[str]) -> dict[str, Any]:
    for key in keys:
        if key not in row:
            raise place.error(f"key {key!r} is missing")
    return row


def _percent(value: Any, place: Place) -> float:
    if not 0 <= (result := number(value, place)) <= 100:
        raise place.error(f"must be from 0 to 100, not {value}")
    return result


# key → (the field's name, its reader)
_FIGURE = {"metric": ("metric", text), "value": ("value", _percent), "source": ("source", text)}
_SPEED = {"forward": ("forward", above_zero), "gflop": ("gflop", above_zero), "source": ("source", text)}
