"""Reads FlatBuffers: tables, their fields and vectors, and maps of numbers (https://flatbuffers.dev/internals/).

All functions raise struct.error, IndexError or ValueError where a damaged file points outside itself.
"""

from __future__ import annotations

import struct

__all__ = ["content", "elements", "follow", "integers", "number", "read_numbers", "slot", "tables"]


def number(buffer: memoryview, at: int, kind: str) -> int:
    """The integer at byte `at`; `kind` is its format for struct. Raises ValueError for an offset below 0."""
    if at < 0:
        raise ValueError(f"an offset of {at}")
    return int(struct.unpack_from(kind, buffer, at)[0])


def follow(buffer: memoryview, at: int) -> int:
    """The position that the offset at `at` points to."""
    return at + number(buffer, at, "<I")


def slot(buffer: memoryview, table: int, field: int) -> int:
    """The position of a table's `field`; 0 where the table leaves it out."""
    layout = table - number(buffer, table, "<i")
    if 4 + 2 * field >= number(buffer, layout, "<H"):
        return 0
    inside = number(buffer, layout + 4 + 2 * field, "<H")
    return table + inside if inside else 0


def elements(buffer: memoryview, table: int, field: int) -> range:
    """The positions of the 4-byte elements of a vector field."""
    at = slot(buffer, table, field)
    if not at:
        return range(0)
    start = follow(buffer, at)
    count = number(buffer, start, "<I")
    if start + 4 + 4 * count > len(buffer):
        raise ValueError(f"a list of {count} at byte {start}")
    return range(start + 4, start + 4 + 4 * count, 4)


def tables(buffer: memoryview, table: int, field: int) -> list[int]:
    """The positions of the tables of a vector field."""
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


# FlexBuffers, of which maps of numbers are read (https://flatbuffers.dev/internals/#flexbuffers).

_MAP, _INT, _UINT, _FLOAT, _BOOL = 9, 1, 2, 3, 26
_KINDS = {_INT: " bhiq", _UINT: " BHIQ", _BOOL: " BHIQ", _FLOAT: "  efd"}


def read_numbers(data: bytes) -> dict[str, float]:
    """The map's numbers by their keys; values of other kinds are left out.

    Raises:
        ValueError, struct.error, IndexError: it is not a map, or is damaged.
    """
    root_width, root_type = data[-1], data[-2]
    if root_type >> 2 != _MAP or root_width not in (1, 2, 4, 8):
        raise ValueError("it is not a map")
    width = 1 << (root_type & 3)
    at = _back(data, len(data) - 2 - root_width, root_width)
    count = _unsigned(data, at - width, width)
    keys, keys_width = _back(data, at - 3 * width, width), _unsigned(data, at - 2 * width, width)
    found = {}
    for i in range(count):
        value = _number(data, at + i * width, data[at + count * width + i], width)
        if value is not None:
            found[_text(data, _back(data, keys + i * keys_width, keys_width))] = value
    return found


def _number(data: bytes, at: int, kind: int, width: int) -> float | None:
    codes = _KINDS.get(kind >> 2)
    return None if codes is None else float(struct.unpack_from("<" + codes[width.bit_length()], data, at)[0])


def _unsigned(data: bytes, at: int, width: int) -> int:
    if at < 0:
        raise ValueError(f"an offset of {at}")
    return int.from_bytes(data[at : at + width], "little")


def _back(data: bytes, at: int, width: int) -> int:
    """The position that an offset points to; in FlexBuffers they point backwards."""
    return at - _unsigned(data, at, width)


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii", "replace")
