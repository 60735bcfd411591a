"""Protocol buffers' wire format: the fields of a binary message, without its schema.

See https://protobuf.dev/programming-guides/encoding/. Nothing is copied: nested messages and strings are views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

__all__ = ["Field", "fields", "message", "packed", "signed", "text"]

Field: TypeAlias = "int | memoryview"
"""A field's value: a number, or the bytes of a nested message, a string, or a number of fixed width."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """(number, value) of each field of a message, in its order; raises `ValueError` where it is damaged."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if wire == _LENGTH:
            size, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if not tag >> 3 or size > end - at:
            raise ValueError(f"a field of {size} bytes at byte {at} of {end}")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError(f"a number without end at byte {at}")


def packed(data: memoryview) -> Iterator[int]:
    """The numbers of a packed repeated field."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def signed(value: int) -> int:
    """A number of type int32, int64 or enum, as it is on the wire, with its sign."""
    return value - (1 << 64) if value >> 63 else value


def message(value: Field) -> memoryview:
    """The bytes of a nested message; raises `ValueError` for a number."""
    if isinstance(value, int):
        raise ValueError("a number where a message should be")  # noqa: TRY004 - the file is wrong, not the program
    return value


def text(value: Field) -> str:
    """The text of a string field; raises `ValueError` where it is not UTF-8."""
    return bytes(message(value)).decode("utf-8")
