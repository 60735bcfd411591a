"""What ``cvdetect webcam`` is to do, and what can be told of it before anything is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cvdetect.core.errors import UsageError
from cvdetect.core.options import DetectOptions, ModelChoice, RunOptions
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import Silent
from cvdetect.core.redact import redact_name
from cvdetect.core.targets import names_a_folder
from cvdetect.models.inputs import model_inputs
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.page import Address, check_port, need_server, parse_address
from cvdetect.sinks.video import choose_codec
from cvdetect.sources.live import device_name
from cvdetect.sources.read_along import files_of

__all__ = ["WebcamJob", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebcamJob:
    """What to watch, and where the results go.

    Attributes:
        device: a camera's number; None with a `url`.
        url: an address (rtsp, http, …), or a video file that is played in real time.
        out: an annotated video; its suffix chooses the container.
        container: the container's name ("mkv"), where out has another suffix or none; a pipe as out needs mkv or ts.
        json: a file for JSON Lines, "-" for standard output.
        window: show a window with a slider. Where none can be opened that is told, and the run goes on.
        serve: HOST:PORT of a page with the live picture.
        max_frames: end after so many frames; None for no end.
        duration: end after so many seconds; None for no end.
        reconnect: how often to try again when the stream breaks.
        track: give objects numbers that stay with them from frame to frame.
        timeout: seconds to wait for a connection and for each picture.
        blur: classes (names or ids, or "all") to pixelate in every picture that is written or shown.
    """

    device: int | None = None
    url: str | None = None
    model: ModelChoice = ModelChoice()  # noqa: RUF009 - frozen
    detect: DetectOptions = DetectOptions()  # noqa: RUF009 - frozen
    run: RunOptions = RunOptions()  # noqa: RUF009 - frozen
    out: Path | str | None = None
    container: str | None = None
    json: str | Path | None = None
    window: bool = True
    serve: str | None = None
    max_frames: int | None = None
    duration: float | None = None
    track: bool = False
    reconnect: int = 10
    timeout: float = 10.0
    blur: tuple[str, ...] = ()
    style: DrawStyle = DrawStyle()  # noqa: RUF009 - frozen

    @property
    def name(self) -> str:
        """What the source is called; an address without its secrets."""
        return redact_name(self.url) if self.url is not None else device_name(self.device or 0)


def check(job: WebcamJob) -> Address | None:
    """Everything that can be told before the camera is opened or a model is pulled; where the page is served.

    Raises:
        UsageError: an option that cannot be met.
        MissingPackage: the page's server, or what `track` needs, is not installed.
        SinkError: an output cannot be written, or the port is not to be had.
    """
    if job.device is not None and job.url is not None:
        raise UsageError("--device and --url: give one of them")
    limits = (("--max-frames", job.max_frames, 1), ("--reconnect", job.reconnect, 0), ("--device", job.device, 0))
    for option, value, least in limits:
        if value is not None and value < least:
            raise UsageError(f"{option} {value}: at least {least} is needed")
    for option, seconds in (("--duration", job.duration), ("--timeout", job.timeout)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise UsageError(f"{option} {seconds:g}: a positive number of seconds is needed")
    if job.track:
        from cvdetect.inference import tracking

        tracking.need()
    serve = None if job.serve is None else parse_address(job.serve)
    if serve is not None:
        need_server()
        check_port(serve)
    if job.out is not None:
        if names_a_folder(job.out):
            raise UsageError(f"{job.out}: is a folder, expected a file name")
        choose_codec(Path(job.out), None, Silent(), job.container)
    outputs = {"--out": job.out, "--json": job.json}
    inputs: Iterator[str | Path] = chain([] if job.url is None else files_of(job.url), model_inputs(job.model))
    Guard(inputs).check(Output(option, path) for option, path in outputs.items() if path is not None)
    return serve
