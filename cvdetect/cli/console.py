"""Output in the terminal: results on standard output, progress on standard error. The only module that imports rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cvdetect.core.printable import encodable, printable
from cvdetect.core.redact import redact

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ConsoleProgress", "print_line", "print_path", "print_table"]

# Of tables, in characters.
_UNBOUNDED = 10_000  # the width where there is no terminal
_BETWEEN = 3  # what separates two columns: a line with a space on both sides
_FRAME = 4  # the frame's left and right side
_WRAPPED = 16  # the least width of a column in which text wraps


def print_line(message: str) -> None:
    """Print a line of results on standard output."""
    _say(_stdout(), message)


def print_path(path: Path) -> None:
    """Print where a result lies."""
    console = _stdout()
    _say(console, str(path), "dim", _shown(console, "→"))


def _say(console: Console, message: str, style: str = "", label: str = "") -> None:
    """Print a message literally: markup, emoji codes and escape sequences in it have no effect."""
    text = Text.assemble((label, style), " ") if label else Text(style=style)
    console.print(text + Text(_shown(console, message, lines=True)), soft_wrap=True)


def _stdout() -> Console:
    """A console on standard output; lines may have any width unless it is a terminal or COLUMNS is set."""
    free = not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdecimal()
    return Console(file=sys.stdout, width=_UNBOUNDED if free else None, highlight=False, emoji=False)


def _shown(console: Console, text: str, lines: bool = False) -> str:
    """`text` as the console can show it, without control characters and passwords; `lines` keeps the ends of lines."""
    return encodable(printable(redact(text), lines), console.encoding)


class ConsoleProgress:
    """A `Progress` on standard error: bars on a terminal, notes unless quiet, details if verbose, warnings always."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._console = Console(file=sys.stderr, soft_wrap=True, highlight=False, emoji=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Start a bar, unless the task has one step."""
        if self._quiet or not self._console.is_terminal or total == 1:
            return
        self._bar = _bar(unit, self._console)
        self._task = self._bar.add_task(escape(_shown(self._console, task)), total=total)
        self._bar.start()

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        if self._bar and self._task is not None:
            self._bar.advance(self._task, amount)

    def end(self) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def note(self, message: str) -> None:
        """Print a line unless quiet."""
        if not self._quiet:
            _say(self._console, message, "dim")

    def detail(self, message: str) -> None:
        """Print a line if verbose."""
        if self._verbose:
            _say(self._console, message, "dim")

    def warn(self, message: str) -> None:
        """A line always."""
        _say(self._console, message, "yellow", "warning:")

    def error(self, message: str) -> None:
        """A line always."""
        _say(self._console, message, "red", "error:")


def _bar(unit: str, console: Console) -> Progress:
    """A bar that counts in `unit` and disappears at the end; its import waits until now, as few runs draw one."""
    from rich import progress as rich
    from rich.text import Text

    class Rate(rich.ProgressColumn):
        """Units a second."""

        def render(self, task: rich.Task) -> Text:
            return Text(f"{task.speed:.1f} a second" if task.speed else "")

    count: tuple[rich.ProgressColumn, ...] = rich.MofNCompleteColumn(), rich.TextColumn(escape(unit)), Rate()
    if unit == "B":
        count = rich.DownloadColumn(), rich.TransferSpeedColumn()
    return rich.Progress(
        rich.SpinnerColumn("line" if console.options.ascii_only else "dots"),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        *count,
        rich.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    *,
    sections: bool = False,
    styles: Sequence[str] = (),
) -> None:
    """Print a table on standard output.

    A table that is too wide loses its frame; then text wraps; then columns are left out, which is reported; then the
    others go below each other in several tables, each with the first column again; at last each row becomes a list.
    Numbers and names are never cut.

    Args:
        headers: one for each column, with marks in front: ">" aligns to the right, "~" lets text wrap, "-" lets the
            column be left out.
        rows: cells as plain text.
        title: a line above it.
        sections: draw a line before each row that has a first cell.
        styles: one for each row, or none.
    """
    console = _stdout()
    columns = [
        _Column.of(header, [row[i] for row in rows], lambda text: _shown(console, text))
        for i, header in enumerate(headers)
    ]
    styles = styles or [""] * len(rows)
    if title:
        console.print(Text(_shown(console, title), style="bold"), overflow="fold")
    kept = _without_optional(columns, console.width)
    for part in _parts(kept, console.width):
        console.print(_table(part, console.width, sections, styles))
    if not _parts(kept, console.width):
        _print_lists(columns, console, styles)
    elif len(kept) < len(columns):
        missing = ", ".join(column.name for column in columns if column not in kept)
        console.print(Text(f"not shown at this width: {missing}", style="dim"), overflow="fold")


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """A column: its header, its marks and its cells."""

    name: str
    marks: str
    cells: Sequence[str]

    @classmethod
    def of(cls, header: str, cells: Sequence[str], shows: Callable[[str], str]) -> _Column:
        name = header.lstrip("->~")
        return cls(shows(name), header[: len(header) - len(name)], [shows(cell) for cell in cells])

    @property
    def widest(self) -> int:
        return max(map(cell_len, [self.name, *self.cells]))

    @property
    def least(self) -> int:
        """The least width that it needs."""
        return min(self.widest, _WRAPPED) if "~" in self.marks else self.widest

    @property
    def justify(self) -> Literal["left", "right"]:
        return "right" if ">" in self.marks else "left"


def _spread(widths: Sequence[int]) -> int:
    return sum(widths) + _BETWEEN * (len(widths) - 1)


def _without_optional(columns: list[_Column], width: int) -> list[_Column]:
    """The columns, without those from the left that may be left out, until the others fit."""
    kept = list(columns)
    for column in columns:
        if _spread([one.least for one in kept]) > width and "-" in column.marks:
            kept.remove(column)
    return kept


def _parts(columns: list[_Column], width: int) -> list[list[_Column]]:
    """The columns of each table; no table where the first column and another do not fit, or text would be split up."""
    parts = [columns[:1]]
    for column in columns[1:]:
        if _spread([one.least for one in [*parts[-1], column]]) > width:
            parts.append(columns[:1])
        parts[-1].append(column)
    fit = all(_spread([one.least for one in part]) <= width for part in parts)
    splits_text = len(parts) > 1 and any("~" in column.marks for column in columns)
    return [part for part in parts if len(part) > 1 or len(columns) == 1] if fit and not splits_text else []


def _table(columns: list[_Column], width: int, sections: bool, styles: Sequence[str]) -> Table:
    framed = _spread([one.widest for one in columns]) + _FRAME <= width
    table = Table(show_edge=framed, pad_edge=framed)
    for one in columns:
        table.add_column(Text(one.name), justify=one.justify, no_wrap="~" not in one.marks, overflow="fold")
    for at, style in enumerate(styles):
        row = [one.cells[at] for one in columns]
        if sections and at and row[0]:
            table.add_section()
        table.add_row(*map(Text, row), style=style or None)
    return table


def _print_lists(columns: list[_Column], console: Console, styles: Sequence[str]) -> None:
    """Print each row as lines: its first cell, then the others with their headers."""
    for at, style in enumerate(styles):
        first, *others = [(one.name, one.cells[at]) for one in columns]
        if first[1]:
            console.print(Text(first[1], style=f"bold {style}".strip()), overflow="fold")
        for name, cell in others:
            line = cell if len(others) == 1 else f"{name}: {cell}"
            console.print(Text(f"  {line}", style=style), overflow="fold")
