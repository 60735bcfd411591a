"""The size of a Darknet weights file against the number of values its network needs."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from itertools import accumulate

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.formats.darknet.layers import Layer

__all__ = ["check_size_of_weights", "header_size"]

_SHORT_HEADER, _LONG_HEADER = 16, 20
_AGAIN = "download it again"
_PRETRAINED = re.compile(r"\.conv\.([0-9]{1,4})$")


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


def check_size_of_weights(layers: Sequence[Layer], cfg_name: str, header: bytes, size: int, name: str) -> None:
    """Raise ModelFileError unless `size` bytes are a header and exactly the values of the layers."""
    if size == 0:
        raise ModelFileError(f"{name}: the file is empty; {_AGAIN}")
    foreign = describe_foreign(header)
    if foreign:
        raise ModelFileError(f"{name}: not Darknet weights but {foreign}; {_AGAIN}")
    begins = header_size(header)
    needed = 4 * sum(layer.parameters for layer in layers) + (begins or _LONG_HEADER)
    if size < _LONG_HEADER:
        raise ModelFileError(f"{name}: cut short: {size:,} of {needed:,} bytes; {_AGAIN}")
    if begins is None:
        raise ModelFileError(f"{name}: does not begin as Darknet weights do; {_AGAIN}, or convert it")
    if size != needed:
        _refuse_size(layers, cfg_name, begins, size, needed, name)


def _refuse_size(layers: Sequence[Layer], cfg_name: str, begins: int, size: int, needed: int, name: str) -> None:
    found = _PRETRAINED.search(name)
    named = int(found[1]) if found else 0
    count = _layers_covered(layers, size - begins, named) or named
    if count:
        raise ModelFileError(
            f"{name}: holds only the first {count} layers (of {len(layers)} in {cfg_name}): pretrained layers to begin "
            "training with, which detect nothing yet; use the weights that training has written"
        )
    if size < needed:
        raise ModelFileError(
            f"{name}: cut short: {size:,} of {needed:,} bytes ({size / needed:.0%}); {_AGAIN}, "
            f"or use the cfg that belongs to it if it is not {cfg_name}"
        )
    raise ModelFileError(
        f"{name}: belongs to another network: {cfg_name} needs {needed:,} bytes, the file has {size:,}; "
        f"use the cfg that belongs to it, or {_AGAIN}"
    )


def _layers_covered(layers: Sequence[Layer], size: int, named: int) -> int:
    """How many first layers, not all, have exactly `size` bytes of weights; `named` where it is one of the answers.

    Layers without weights behind the last one written may count or not; 0 where there is no answer.
    """
    ends = list(accumulate(4 * layer.parameters for layer in layers))
    covered = [place for place, end in enumerate(ends, start=1) if end == size and 0 < size < ends[-1]]
    return named if named in covered else max(covered, default=0)
