"""The size of a Darknet weights file against the number of values its network needs."""

from __future__ import annotations

import struct

from cvdetect.errors import ModelFileError
from cvdetect.sniff import describe_foreign

__all__ = ["check_size_of_weights", "header_size"]

_SHORT_HEADER, _LONG_HEADER = 16, 20
_AGAIN = "download it again"


def header_size(header: bytes) -> int | None:
    """Bytes before the first value: three int32 (major, minor, revision), then the images seen.

    These are counted in 8 bytes from version 0.2 on and in 4 before. None where it is no such header
    (versions over 1000 mark transposed weights, which OpenCV does not read).
    """
    if len(header) < _SHORT_HEADER:
        return None
    major, minor = struct.unpack_from("<ii", header)
    if not (0 <= major <= 1000 and 0 <= minor <= 1000):
        return None
    return _LONG_HEADER if major * 10 + minor >= 2 else _SHORT_HEADER


def check_size_of_weights(values: int, cfg_name: str, header: bytes, size: int, name: str) -> None:
    """Raise ModelFileError unless `size` bytes are a header and exactly `values` float32 values."""
    if size == 0:
        raise ModelFileError(f"{name}: the file is empty; {_AGAIN}")
    foreign = describe_foreign(header)
    if foreign:
        raise ModelFileError(f"{name}: not Darknet weights but {foreign}; {_AGAIN}")
    needed = 4 * values + (header_size(header) or _LONG_HEADER)
    if size < _LONG_HEADER:
        raise ModelFileError(f"{name}: cut short: {size:,} of {needed:,} bytes; {_AGAIN}")
    if header_size(header) is None:
        raise ModelFileError(f"{name}: does not begin as Darknet weights do; {_AGAIN}, or convert it")
    if size < needed:
        raise ModelFileError(
            f"{name}: cut short: {size:,} of {needed:,} bytes ({size / needed:.0%}); {_AGAIN}, "
            f"or use the cfg that belongs to it if it is not {cfg_name}"
        )
    if size > needed:
        raise ModelFileError(
            f"{name}: belongs to another network: {cfg_name} needs {needed:,} bytes, the file has {size:,}; "
            f"use the cfg that belongs to it, or {_AGAIN}"
        )
