"""``cvdetect video``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import OUT_EITHER, OUT_FILE, detecting, drawing
from cvdetect.cli.parsing import parse_time
from cvdetect.core.printable import counted
from cvdetect.core.targets import is_standard_output

if TYPE_CHECKING:
    from cvdetect.jobs.video import VideoReport

__all__ = ["command", "print_report"]


@click.command("video", short_help="Detect objects in a video.")
@click.argument("input_", metavar="INPUT")
@click.option(
    "--out",
    type=OUT_EITHER,
    help="The annotated video (.mp4 .mkv .mov .webm .avi .ts), or a folder for it.  [default: NAME_detected.mp4]",
)
@click.option("--codec", metavar="FOURCC", help="E.g. XVID, MJPG, H264, VP90.  [default: the container's]")
@click.option("--container", metavar="NAME", help="The container, where --out has no suffix; mkv or ts for a pipe.")
@click.option(
    "--every", type=int, default=1, show_default=True, help="Detect in every Nth frame; keep the result in between."
)
@click.option("--start", metavar="T", help="Start time: seconds or mm:ss.")
@click.option("--end", metavar="T", help="End time: seconds or mm:ss.")
@click.option("--json", type=OUT_FILE, help="Write JSON Lines, one object per frame; - is standard output.")
@click.option("--show", is_flag=True, help="Show the frames in a window; q or Esc ends, space pauses.")
@click.option("--no-audio", is_flag=True, help="Leave out the sound.")
@click.option("--track", is_flag=True, help="Number objects from frame to frame (extra [track]).")
@click.option("--batch", type=int, default=1, show_default=True, help="Frames in one pass through the network.")
@drawing
@detecting("video")
@click.pass_obj
def command(settings: Settings, /, input_: str, no_audio: bool, start: str | None, end: str | None, **job: Any) -> int:
    """Detect objects in a video file or stream and write an annotated video, with its sound.

    INPUT is a file, an address, a pipe, - for standard input, or a pattern of numbered images (frame%05d.jpg,
    'frames/*.jpg').

    \b
    cvdetect video in.mp4 --out out.mp4
    cvdetect video in.mp4 --json found.jsonl --every 5 --start 1:00 --end 1:30
    """
    from cvdetect.jobs.video import VideoJob, detect_video

    times: dict[str, Any] = {
        "start": parse_time(start, "--start") if start else 0.0,
        "end": parse_time(end, "--end") if end else None,
    }
    report = detect_video(VideoJob(input=input_, audio=not no_audio, **times, **job), settings.progress())
    if not any(is_standard_output(job[key]) for key in ("json", "out")):
        print_report(report)
    return report.exit_code


def print_report(report: VideoReport) -> None:
    """Print how a run went: frames, time, what ran, objects by label, and where the annotated video lies."""
    from cvdetect.cli.console import print_line, print_path

    done, looked = report.summary.done, report.summary.detected
    frames = counted(done, "frame") if looked == done else f"{counted(done, 'frame')} ({looked} looked at)"
    print_line(f"{frames} in {report.seconds:.1f} s, {report.fps:.1f} frames a second, by {report.ran}")
    if report.objects:
        _print_objects(report)
    if report.out and done:
        print_path(report.out)


def _print_objects(report: VideoReport) -> None:
    from cvdetect.cli.console import print_table

    looked, tracked = report.summary.detected, report.tracked
    a_frame = ">a frame" if looked == report.summary.done else ">a frame looked at"
    headers = ["label", ">detections", a_frame, *([] if tracked is None else [">objects"])]
    rows = [
        [label, str(count), f"{count / looked:.2f}", *([] if tracked is None else [str(tracked.get(label, 0))])]
        for label, count in report.objects.items()
    ]
    print_table(headers, rows)
