"""``cvdetect webcam``."""

from __future__ import annotations

from typing import Any

import click

from cvdetect.cli.main import Settings
from cvdetect.cli.options import OUT_FILE, detecting, drawing
from cvdetect.core.printable import counted

__all__ = ["command"]


@click.command("webcam", short_help="Detect live from a camera or stream.")
@click.option("--device", type=int, metavar="N", help="The camera's number.  [default: 0]")
@click.option("--url", metavar="URL", help="A stream (rtsp, http, …), or a video file that is played in real time.")
@click.option("--out", type=OUT_FILE, help="Write an annotated video; the suffix chooses the container.")
@click.option("--container", metavar="NAME", help="The container, where --out has no suffix; mkv or ts for a pipe.")
@click.option("--json", type=OUT_FILE, help="Write JSON Lines, one object per frame; - is standard output.")
@click.option("--no-window", is_flag=True, help="Open no window.")
@click.option("--serve", metavar="HOST:PORT", help="Serve a page with the live image, e.g. 127.0.0.1:8080.")
@click.option("--max-frames", type=int, metavar="N", help="End after N frames.")
@click.option("--duration", type=float, metavar="S", help="End after S seconds.")
@click.option("--track", is_flag=True, help="Number objects from frame to frame (extra [track]).")
@click.option(
    "--reconnect",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="Attempts to reconnect when a stream breaks.",
)
@click.option(
    "--timeout", type=float, default=10.0, show_default=True, metavar="S",
    help="Seconds to wait for a connection and for each frame.",
)  # fmt: skip
@drawing
@detecting("webcam")
@click.pass_obj
def command(settings: Settings, /, no_window: bool, **job: Any) -> int:
    """Detect live from a camera, a network stream, or a file played in real time.

    In the window, q or Esc ends, space pauses, s saves a snapshot; the slider sets the score threshold of all that is
    shown and written. The next frame is always the newest one; frames that come while the network is busy are dropped
    and counted.

    \b
    cvdetect webcam
    cvdetect webcam --url rtsp://camera.local/stream --out seen.mp4 --json seen.jsonl --no-window
    cvdetect webcam --serve 127.0.0.1:8080 --no-window
    """
    from cvdetect.jobs.webcam import WebcamJob, detect_webcam

    progress = settings.progress()
    report = detect_webcam(WebcamJob(window=not no_window, **job), progress)
    frames = counted(report.summary.done, "frame")
    progress.note(f"{frames} in {report.seconds:.1f} s, {report.fps:.1f} a second; {report.dropped} dropped")
    return report.exit_code
