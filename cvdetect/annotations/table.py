"""Writes a table as CSV (RFC 4180)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import IO

__all__ = ["write_table"]


def write_table(stream: IO[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows, one at a time."""
    table = csv.writer(stream)
    table.writerow(header)
    table.writerows(rows)
