"""What a person sees in the terminal; the one door to rich. Results go to standard output, news to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from cvdetect.cli.tables import print_table, shown, stdout_console
from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cvdetect.jobs.doctor import Finding
    from cvdetect.jobs.video import VideoReport

__all__ = ["ConsoleProgress", "DetectionTable", "print_findings", "print_table", "print_video_report", "stdout_console"]


def _say(console: Console, message: str, style: str = "", label: str = "") -> None:
    """Print a message as it is: no markup, no emoji codes, no escape sequences of its own."""
    text = Text.assemble((label, style), " ") if label else Text(style=style)
    console.print(text + Text(shown(console, message, lines=True)), soft_wrap=True)


class ConsoleProgress:
    """A `Progress` on standard error: bars on a terminal, notes unless quiet, details if verbose, warnings always."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._console = Console(file=sys.stderr, soft_wrap=True, highlight=False, emoji=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Start a bar; a task of one step has none."""
        if self._quiet or not self._console.is_terminal or total == 1:
            return
        self._bar = _bar(unit, self._console)
        self._task = self._bar.add_task(escape(shown(self._console, task)), total=total)
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
            _say(self._console, message, "dim")

    def detail(self, message: str) -> None:
        """A line if verbose."""
        if self._verbose:
            _say(self._console, message, "dim")

    def warn(self, message: str) -> None:
        """A line always."""
        _say(self._console, message, "yellow", "warning:")

    def error(self, message: str) -> None:
        """A line always."""
        _say(self._console, message, "red", "error:")


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
        rich.SpinnerColumn("line" if console.options.ascii_only else "dots"),
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
            _say(self._console, f"{title}: nothing found")
        if frame.name in self._paths:
            _say(self._console, str(self._paths[frame.name]), "dim", shown(self._console, "→"))

    def _row(self, found: Detections, i: int) -> list[str]:
        label = self._labels.label(int(found.class_id[i]))
        return [label, f"{found.score[i]:.2f}", *(f"{v:.0f}" for v in found.xyxy[i])]


def print_video_report(report: VideoReport) -> None:
    """Print how a video went: frames, time, what ran, objects by class, and where the annotated copy lies."""
    console = stdout_console()
    done, seconds = report.summary.done, report.seconds
    looked = report.summary.looked
    frames = f"{done} frames" if looked == done else f"{done} frames ({looked} looked at)"
    _say(console, f"{frames} in {seconds:.1f} s, {report.fps:.1f} frames a second, by {report.ran}")
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
        _say(console, str(report.out), "dim", shown(console, "→"))


def print_findings(findings: Iterable[Finding]) -> bool:
    """Print a diagnosis as a table; False where something needs mending."""
    rows, styles, topic = [], [], ""
    for finding in findings:
        rows.append(["" if finding.topic == topic else finding.topic, finding.name, finding.value])
        styles.append("" if finding.good else "bold red")
        topic = finding.topic
    print_table(["topic", "~what", "~state"], rows, "cvdetect doctor", sections=True, styles=styles)
    return not any(styles)
