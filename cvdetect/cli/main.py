"""The command group with its global options, and the place where an error becomes a message and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from cvdetect import __version__
from cvdetect.core.arguments import spelled_by
from cvdetect.core.errors import CvdetectError, SinkError, SourceError, UsageError
from cvdetect.core.printable import closest, encodable, printable, write_safely
from cvdetect.core.redact import redact

if TYPE_CHECKING:
    from cvdetect.core.progress import Progress

__all__ = ["COMMANDS", "Settings", "cli", "option", "run"]

# Name → module and one line of help: commands are imported when they are called, so that --help answers at once.
COMMANDS = {
    "annotate": ("cvdetect.cli.annotate", "Write annotation files for a folder of images."),
    "bench": ("cvdetect.cli.bench", "Time models stage by stage."),
    "doctor": ("cvdetect.cli.doctor", "Show what this machine can run."),
    "eval": ("cvdetect.cli.evaluate", "Measure a model against ground truth."),
    "image": ("cvdetect.cli.image", "Detect objects in images."),
    "video": ("cvdetect.cli.video", "Detect objects in a video."),
    "models": ("cvdetect.cli.models", "List, pull and verify models."),
    "webcam": ("cvdetect.cli.webcam", "Detect live from a camera or stream."),
    "textgraph": ("cvdetect.cli.textgraph", "Make OpenCV's text graph of a TensorFlow detection graph."),
}


class Settings:
    """The global options, filled by the group before a command runs."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False
        self.models: str | None = None
        self.cache_dir: str | None = None
        self.offline = False

    @property
    def registry(self) -> Path | None:
        """The models.yaml that --models names."""
        return Path(self.models) if self.models else None

    @property
    def cache(self) -> Path | None:
        """The folder that --cache-dir names."""
        return Path(self.cache_dir) if self.cache_dir else None

    def progress(self) -> Progress:
        """What reports on a running job on standard error."""
        from cvdetect.cli.console import ConsoleProgress

        return ConsoleProgress(self.quiet, self.verbose)


class _HelpFormatter(click.HelpFormatter):
    """Help in the characters that standard output has: click would write UTF-8 where that is ASCII."""

    def getvalue(self) -> str:
        """The text."""
        return encodable(super().getvalue(), getattr(sys.stdout, "encoding", None) or "utf-8")


click.Context.formatter_class = _HelpFormatter  # for every command, none of which is made here


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown one, suggest the nearest."""
        near = None if args[0] in COMMANDS else closest(args[0], COMMANDS)
        if near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "CVDETECT", "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="cvdetect")
@click.option("-q", "--quiet", is_flag=True, help="Print only results, warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print details of the run, and a traceback with every error.")
@click.option("--models", metavar="FILE", help="A models.yaml read on top of the shipped one.")
@click.option(
    "--cache-dir", metavar="DIR", envvar=["CVDETECT_CACHE_DIR", "CVDETECT_CACHE"], help="The folder for model files."
)
@click.option("--offline", is_flag=True, help="Never use the network.")
@click.pass_obj
def cli(
    settings: Settings, quiet: bool, verbose: bool, models: str | None, cache_dir: str | None, offline: bool
) -> None:
    """Detect objects in images with OpenCV's DNN module.

    Every option can also be set in the environment: CVDETECT_IMAGE_CONF=0.3 is --conf 0.3 of the command image.
    """
    settings.quiet, settings.verbose, settings.offline = quiet, verbose, offline
    if cache_dir and "://" in cache_dir:
        raise UsageError(f"--cache-dir {cache_dir}: is an address, expected a folder")
    settings.models, settings.cache_dir = models, cache_dir


# Arguments of the library whose options have another name.
_OTHER_NAMES = {"cache": "--cache-dir", "formats": "--format", "input_wh": "--input-size", "registry": "--models"}


def option(argument: str, value: object = None) -> str:
    """How an argument of the library is given here: ``--device-id``, ``--device-id 1``, ``--no-window``."""
    words = argument.replace("_", "-")
    if value is False:
        return f"--no-{words}"
    name = _OTHER_NAMES.get(argument, f"--{words}")
    return name if value is None or value is True else f"{name} {value}"


class _Terminated(BaseException):
    """SIGTERM, raised so that files are finished."""


def run(args: list[str]) -> int:
    """Run the command line with `args` → its exit code; errors are one or two lines on standard error."""
    write_safely()
    _quieten_opencv()
    settings = Settings()
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with spelled_by(option):
            return _run(args, settings)
    except CvdetectError as error:
        return _fail(settings, str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail(settings, "interrupted", 130, label="cvdetect")
    except _Terminated:
        return _fail(settings, "terminated", 143, label="cvdetect")
    except SystemExit as error:  # by click and rich: the reader of standard output has gone, e.g. head
        return error.code if isinstance(error.code, int) else 1
    except MemoryError as error:
        return _fail(settings, f"out of memory: {error}", 1)
    except Exception as error:  # a traceback is for -v only
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = error.filename or "standard output"
            return _fail(settings, f"{where}: cannot be written: {error.strerror}", SinkError.exit_code)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG and error.filename:
            return _fail(settings, f"{os.fsdecode(error.filename)}: {error.strerror}", SourceError.exit_code)
        return _fail(settings, f"{type(error).__name__}: {error} (a defect in cvdetect; -v shows where)", 1)
    finally:
        signal.signal(signal.SIGTERM, before)


def _quieten_opencv() -> None:
    """Keep OpenCV's own lines to errors; read when it is imported, which nothing has done yet.

    What it warns of, as a backend that falls back, is checked before it is asked for. FFmpeg inside it reports every
    lost packet; what matters comes back as an error.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _run(args: list[str], settings: Settings) -> int:
    try:
        result = cli.main(args, prog_name="cvdetect", standalone_mode=False, obj=settings)
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2: a command without arguments shows its help
            error.show()
            return error.exit_code
        return _fail(settings, error.format_message() + _help_hint(error), error.exit_code)
    return result if isinstance(result, int) else 0


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _help_hint(error: click.ClickException) -> str:
    """Where to read about a command that was not used rightly."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"\nTry '{context.command_path} --help' for help." if context else ""


def _fail(settings: Settings, message: str, code: int, label: str = "error") -> int:
    if settings.verbose and not isinstance(sys.exc_info()[1], click.ClickException):
        import traceback

        print(printable(redact(traceback.format_exc()), lines=True), end="", file=sys.stderr)
    print(f"{label}: {printable(redact(message), lines=True)}", file=sys.stderr)
    return code
