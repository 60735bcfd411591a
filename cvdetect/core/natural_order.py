"""The order a person expects of numbered names."""

from __future__ import annotations

import re

__all__ = ["natural_key"]


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """A sort key in which img2 comes before img10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(p)) if p.isdecimal() else (1, p.casefold()) for p in parts]
