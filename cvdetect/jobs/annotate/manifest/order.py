"""Natural order as bytes, so that a database can sort by it without knowing Python."""

from __future__ import annotations

import os
import re

__all__ = ["place_of"]


def place_of(name: str) -> bytes:
    """A key whose byte order is that of ``(natural_key(name), name)``; different names have different keys."""
    parts = re.split(r"(\d+)", name)
    key = b"".join(_digits(part) if odd % 2 else _text(part) for odd, part in enumerate(parts))
    return key + b"\0" + os.fsencode(name)


def _text(part: str) -> bytes:
    """UTF-8 sorts as the characters do; the end sorts before any of them."""
    return part.casefold().encode("utf-8", "surrogatepass") + b"\0"


def _digits(part: str) -> bytes:
    """The more digits, the larger the number; a name that ends here (0) comes before one that goes on (1)."""
    value = part if part.isascii() else "".join(str(int(c)) for c in part)
    ascii_digits = value.lstrip("0").encode("ascii")
    return b"\1" + len(ascii_digits).to_bytes(4, "big") + ascii_digits
