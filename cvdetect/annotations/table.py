"""Writes a table as CSV (RFC 4180)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from cvdetect.files import whole_file

__all__ = ["write_table"]


def write_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], scratch: Path | None = None
) -> None:
    """Write a header and rows, one at a time; `path` and `scratch` as in `whole_file`.

    Raises:
        SinkError: the folder or disk does not take it.
    """
    with whole_file(path, scratch) as stream:
        table = csv.writer(stream)
        table.writerow(header)
        table.writerows(rows)
