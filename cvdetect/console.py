"""What a person sees in the terminal; the one door to rich. Results go to standard output, news to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich import markup
from rich.console import Console
from rich.table import Table

from cvdetect.detections import Detections
from cvdetect.frame import Frame
from cvdetect.labels import LabelSet
from cvdetect.redact import redact

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cvdetect.detect_video import VideoReport
from cvdetect.diagnose import Finding

__all__ = ["ConsoleProgress", "DetectionTable", "print_findings", "print_table", "print_video_report", "stdout_console"]

_UNBOUNDED = 10_000  # characters


def escape(text: str) -> str:
    """`text` as rich prints it unchanged, without any password: nothing is printed but through here."""
    return markup.escape(redact(text))


def stdout_console() -> Console:
    """A console on standard output; where that is no terminal, lines are as wide as they need to be."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _UNBOUNDED, highlight=False)


class ConsoleProgress:
    """A `Progress` on standard error: bars on a terminal, notes unless quiet, details if verbose, warnings always."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._console = Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Start a bar; a task of one step has none."""
        if self._quiet or not self._console.is_terminal or total == 1:
            return
        self._bar = _bar(unit, self._console)
        self._task = self._bar.add_task(escape(task), total=total)
        self._bar.start()

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        if self._bar and self._task is not None:
            self._bar.advance(self._task, amount)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def note(self, message: str) -> None:
        """A line unless quiet."""
        if not self._quiet:
            self._console.print(escape(message), style="dim")

    def detail(self, message: str) -> None:
        """A line if verbose."""
        if self._verbose:
            self._console.print(escape(message), style="dim")

    def warn(self, message: str) -> None:
        """A line always."""
        self._console.print(f"[yellow]warning:[/] {escape(message)}")


def _bar(unit: str, console: Console) -> Progress:
    """A bar that counts in `unit` and goes away when it ends; imported now, as few runs draw one."""
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
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        *count,
        rich.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class DetectionTable:
    """A `Sink` that prints a table of each picture's detections."""

    def __init__(self, labels: LabelSet, paths: Mapping[str, Path]) -> None:
        self._labels = labels
        self._paths = paths
        self._console = stdout_console()

    def __enter__(self) -> DetectionTable:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, found: Detections) -> None:
        """Print one picture's table, and where its annotated copy lies."""
        width, height = frame.wh
        title = f"{frame.name} ({width}x{height})"
        if len(found):
            rows = [self._row(found, i) for i in range(len(found))]
            print_table(["label", ">score", ">x1", ">y1", ">x2", ">y2"], rows, title, self._console)
        else:
            self._console.print(f"{escape(title)}: nothing found")
        if frame.name in self._paths:
            self._console.print(f"[dim]→[/] {escape(str(self._paths[frame.name]))}")

    def _row(self, found: Detections, i: int) -> list[str]:
        label = self._labels.label(int(found.class_id[i]))
        return [label, f"{found.score[i]:.2f}", *(f"{v:.0f}" for v in found.xyxy[i])]


def print_table(headers: list[str], rows: list[list[str]], title: str = "", console: Console | None = None) -> None:
    """Print a table on standard output; a header that starts with ">" is a right-aligned column."""
    table = Table(title=escape(title) or None, title_justify="left", title_style="bold")
    for header in headers:
        right = header.startswith(">")
        table.add_column(escape(header.removeprefix(">")), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    (console or stdout_console()).print(table)


def print_video_report(report: VideoReport) -> None:
    """Print how a video went: frames, time, what ran, objects by class, and where the annotated copy lies."""
    console = stdout_console()
    done, seconds = report.summary.done, report.seconds
    looked = report.summary.looked
    frames = f"{done} frames" if looked == done else f"{done} frames ({looked} looked at)"
    console.print(f"{frames} in {seconds:.1f} s, {report.fps:.1f} frames a second, by {escape(report.ran)}")
    if report.objects:
        a_frame = ">a frame" if looked == done else ">a frame looked at"
        tracked = report.tracked
        headers = ["label", ">detections", a_frame, *([] if tracked is None else [">objects"])]
        rows = [
            [label, str(count), f"{count / looked:.2f}", *([] if tracked is None else [str(tracked[label])])]
            for label, count in report.objects.most_common()
        ]
        print_table(headers, rows, console=console)
    if report.out and done:
        console.print(f"[dim]→[/] {escape(str(report.out))}")


def print_findings(findings: Iterable[Finding]) -> bool:
    """Print a diagnosis as a table; False where something needs mending."""
    table = Table("topic", "what", title="cvdetect doctor", title_justify="left", title_style="bold")
    table.add_column("state", overflow="fold")
    good, topic = True, ""
    for finding in findings:
        if topic not in ("", finding.topic):
            table.add_section()
        style = None if finding.good else "bold red"
        table.add_row(
            "" if finding.topic == topic else finding.topic, escape(finding.name), escape(finding.value), style=style
        )
        good, topic = good and finding.good, finding.topic
    stdout_console().print(table)
    return good
