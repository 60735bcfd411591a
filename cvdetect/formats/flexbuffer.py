"""Reads a FlexBuffer that is a map of numbers (https://flatbuffers.dev/internals/#flexbuffers)."""

from __future__ import annotations

import struct

__all__ = ["read_numbers"]

_MAP, _INT, _UINT, _FLOAT, _BOOL = 9, 1, 2, 3, 26
_KINDS = {_INT: " bhiq", _UINT: " BHIQ", _BOOL: " BHIQ", _FLOAT: "  efd"}


def read_numbers(data: bytes) -> dict[str, float]:
    """The map's numbers by their keys; values of other kinds are left out.

    Raises:
        ValueError, struct.error, IndexError: it is no map, or damaged.
    """
    root_width, root_type = data[-1], data[-2]
    if root_type >> 2 != _MAP or root_width not in (1, 2, 4, 8):
        raise ValueError("it is no map")
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
    """Offsets point backwards from where they stand."""
    return at - _unsigned(data, at, width)


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii", "replace")
