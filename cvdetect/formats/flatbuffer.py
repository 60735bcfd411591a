"""Reads FlatBuffers: tables, their fields, and vectors (https://flatbuffers.dev/internals/).

All functions raise struct.error, IndexError or ValueError where a damaged file points outside of itself.
"""

from __future__ import annotations

import struct

__all__ = ["content", "elements", "follow", "integers", "number", "slot", "tables"]


def number(buffer: memoryview, at: int, kind: str) -> int:
    """The integer at byte `at`, of a kind as struct calls it; ValueError for an offset below 0."""
    if at < 0:
        raise ValueError(f"an offset of {at}")
    return int(struct.unpack_from(kind, buffer, at)[0])


def follow(buffer: memoryview, at: int) -> int:
    """Where the offset at `at` points to."""
    return at + number(buffer, at, "<I")


def slot(buffer: memoryview, table: int, field: int) -> int:
    """Where `field` of a table lies; 0 where the table leaves it out."""
    layout = table - number(buffer, table, "<i")
    if 4 + 2 * field >= number(buffer, layout, "<H"):
        return 0
    inside = number(buffer, layout + 4 + 2 * field, "<H")
    return table + inside if inside else 0


def elements(buffer: memoryview, table: int, field: int) -> range:
    """Where the 4-byte elements of a vector field lie."""
    at = slot(buffer, table, field)
    if not at:
        return range(0)
    start = follow(buffer, at)
    count = number(buffer, start, "<I")
    if start + 4 + 4 * count > len(buffer):
        raise ValueError(f"a list of {count} at byte {start}")
    return range(start + 4, start + 4 + 4 * count, 4)


def tables(buffer: memoryview, table: int, field: int) -> list[int]:
    """Where the tables of a vector field begin."""
    return [follow(buffer, at) for at in elements(buffer, table, field)]


def integers(buffer: memoryview, table: int, field: int) -> list[int]:
    """The 4-byte integers of a vector field."""
    return [number(buffer, at, "<i") for at in elements(buffer, table, field)]


def content(buffer: memoryview, table: int, field: int) -> memoryview:
    """The bytes of a vector field; empty where the table leaves it out."""
    at = slot(buffer, table, field)
    if not at:
        return buffer[:0]
    start = follow(buffer, at)
    count = number(buffer, start, "<I")
    if start + 4 + count > len(buffer):
        raise ValueError(f"{count} bytes at byte {start}")
    return buffer[start + 4 : start + 4 + count]
