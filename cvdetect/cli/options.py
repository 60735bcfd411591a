"""Groups of options as decorators; each group reaches the command as one frozen dataclass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, update_wrapper
from itertools import product
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from cvdetect.cli.main import Settings
from cvdetect.cli.parsing import parse_conf, parse_scale, parse_size, parse_triple
from cvdetect.core.options import Conf, DetectOptions, ModelChoice, RunOptions
from cvdetect.core.targets import is_standard_output

__all__ = [
    "OUT_EITHER",
    "OUT_FILE",
    "OUT_FOLDER",
    "PATH",
    "LazyHelp",
    "Output",
    "comparing",
    "detecting",
    "drawing",
    "given_arguments",
    "max_pixels",
    "split",
]


class LazyHelp(click.Option):
    """An option whose help is made when it is shown, because what it lists takes long to import.

    Args:
        make_help: gives the help.
    """

    def __init__(self, *args: Any, make_help: Callable[[], str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._make_help = make_help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As of other options."""
        self.help = self._make_help()
        return super().get_help_record(ctx)


class Output(click.Path):
    """A path to write to. An empty text, as from a shell variable that is not set, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text as a path."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class _OutputFile(Output):
    """A file to write to; names of standard output, such as /dev/stdout, become "-"."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return "-" if is_standard_output(value) else super().convert(value, param, ctx)


# Types of options. Every output goes through `cvdetect.core.outputs`; it stays as it was typed, because a slash at the
# end makes it a folder.
PATH = click.Path(path_type=Path)
OUT_FILE, OUT_FOLDER, OUT_EITHER = _OutputFile(), Output(), Output()
Command = Callable[..., Any]

_FILES = "cfg weights graph config onnx tflite decoder prototxt caffemodel names".split()
# Options that act on models given by their files, and their values where none is given.
_OF_FILES = [*_FILES, "scale", "mean", "std", "rgb", "pad_value"]
_NO_FILES: dict[str, Any] = dict.fromkeys(_OF_FILES)

# Options that `bench` takes more than once.
_SIZE = partial(click.option, "--size", metavar="N|WxH", help="Network input size in pixels.  [default: the model's]")
_BACKEND = partial(
    click.option,
    "--backend",
    show_default=True,
    help="auto (CUDA where it works, else the CPU), or a name that doctor lists. There is no silent fall-back.",
)
_PRECISION = partial(click.option, "--precision", type=click.Choice(["fp32", "fp16"]), show_default=True)

_MODEL = [
    click.option("--cfg", type=PATH, help="A Darknet cfg that is not in models.yaml."),
    click.option(
        "--weights", type=PATH, help="Its weights.  [default: the file beside it, <stem>, _best, _last, _final or _<N>]"
    ),
    click.option("--graph", type=PATH, help="A frozen TensorFlow graph (.pb) that is not in models.yaml."),
    click.option("--config", type=PATH, help="Its OpenCV text graph (.pbtxt).  [default: the file beside it]"),
    click.option("--onnx", type=PATH, help="An ONNX model that is not in models.yaml."),
    click.option("--tflite", type=PATH, help="A TensorFlow Lite model that is not in models.yaml."),
    click.option(
        "--decoder",
        metavar="NAME",
        help="The model family that reads the output of --onnx or --tflite.  [default: auto]",
    ),
    click.option("--prototxt", type=PATH, help="The layers of a Caffe model that is not in models.yaml."),
    click.option("--caffemodel", type=PATH, help="Its weights.  [default: the file of the same name beside it]"),
    click.option(
        "--names",
        type=PATH,
        help="Its class names: a list, a label map, a data.yaml or a Darknet .data file.  [default: <stem>.names "
        "beside it]",
    ),
    click.option(
        "--scale",
        metavar="X|1/X",
        help="Factor for pixel values, of a model given by its files.  [default: the family's]",
    ),
    click.option("--mean", metavar="A,B,C", help="Values to subtract from the pixels, in the network's channel order."),
    click.option("--std", metavar="A,B,C", help="Values to divide the pixels by, after --scale."),
    click.option("--rgb/--bgr", default=None, help="Channel order of the network.  [default: the family's]"),
    click.option(
        "--pad-value", type=click.FloatRange(0, 255), help="Grey value of letterbox padding.  [default: the family's]"
    ),
    click.option(
        "--resize",
        type=click.Choice(["stretch", "letterbox", "tensorflow"]),
        help="How images are resized to the network input; tensorflow: as a TensorFlow graph does it, to its own size "
        "unless --size gives one.  [default: the model's]",
    ),
]
_DETECT = [
    click.option(
        "--nms",
        type=float,
        help="IoU above which the weaker of two boxes is dropped.  [default: the model's, else 0.4]",
    ),
    click.option(
        "--agnostic-nms", is_flag=True, help="Class-agnostic non-maximum suppression: across classes, not per class."
    ),
    click.option("--tile", metavar="CxR|auto", help="Cut large images into overlapping tiles and detect in each."),
    click.option("--classes", metavar="A,B,C", help="Only these classes, by name or id.  [default: all]"),
]
_KEEP = [
    click.option(
        "--conf",
        metavar="X[,CLASS=X…]",
        help="Score threshold (≥), 0 to 1, also per class: 0.5,person=0.3.  [default: the model's, else 0.5]",
    ),
    click.option(
        "--multi-label", is_flag=True, help="Report every class over the threshold, not only the best of a box."
    ),
    click.option("--max-det", type=int, default=300, show_default=True, help="At most N detections per image."),
]
_KEEP_FOR_SCORING = [  # as benchmarks count
    click.option(
        "--conf", metavar="X[,CLASS=X…]", help="Score threshold (≥), 0 to 1, also per class.  [default: 0.001]"
    ),
    click.option(
        "--multi-label/--no-multi-label",
        default=True,
        help="Count every class over the threshold, or only the best of a box.  [default: every one, where the "
        "model allows it]",
    ),
    click.option("--max-det", type=int, default=100, show_default=True, help="At most N detections per image."),
]
_THREADS = click.option("--threads", type=int, help="Threads for the network.  [default: all cores]")
_DEVICE = click.option(
    "--device-id", type=int, metavar="N", help="The GPU's number, with --backend cuda.  [default: 0]"
)
_ONE = [_SIZE(), _BACKEND(default="auto"), _PRECISION(default="fp32"), _DEVICE, _THREADS]
_SEVERAL = [
    _SIZE(multiple=True),
    _BACKEND(multiple=True, default=["auto"]),
    _PRECISION(multiple=True, default=["fp32"]),
    _DEVICE,
    _THREADS,
]
_DRAW = [
    click.option("--blur", metavar="A,B|all", help="Pixelate these classes in every image that is written or shown."),
    click.option(
        "--line-width", type=click.IntRange(min=1), help="Line width of boxes in pixels.  [default: by image size]"
    ),
    click.option(
        "--font-scale",
        type=click.FloatRange(min=0, min_open=True),
        help="Font scale of labels.  [default: by image size]",
    ),
    click.option("--hide-scores", is_flag=True, help="Draw labels without scores."),
]


def split(text: str | None) -> tuple[str, ...]:
    """``a, b`` → ("a", "b"); None or an empty text → ()."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def detecting(name: str, scoring: bool = False) -> Callable[[Command], Command]:
    """Add the options of all detecting commands; the function gets the dataclasses `model`, `detect` and `run`.

    `scoring`: with the defaults of benchmarks, which count low scores too.
    """

    def decorate(function: Command) -> Command:
        def call(**given: Any) -> Any:
            return function(model=_model(given), detect=_detect(given), run=_run(given), **given)

        keep = _KEEP_FOR_SCORING if scoring else _KEEP
        return _with_options([_named(name), *_MODEL, *keep, *_DETECT, *_ONE], call, function)

    return decorate


def comparing(name: str) -> Callable[[Command], Command]:
    """Like `detecting`, but models, sizes, backends and precisions may be given more than once.

    The function gets `models` (every model in every size), `detect`, and `runs` (every backend in every precision).
    """

    def decorate(function: Command) -> Command:
        def call(**given: Any) -> Any:
            return function(models=_models(given), detect=_detect(given), runs=_runs(given), **given)

        return _with_options([_named(name, multiple=True), *_MODEL, *_KEEP, *_DETECT, *_SEVERAL], call, function)

    return decorate


def _named(command: str, **more: Any) -> Any:
    envvar = [f"CVDETECT_{command.upper()}_MODEL", "CVDETECT_MODEL"]
    return click.option(
        "-m", "--model", envvar=envvar, help="A model of models.yaml, by name (see: cvdetect models list).", **more
    )


def drawing(function: Command) -> Command:
    """Add how detections are drawn; the function gets `style` and `blur`."""

    def call(**given: Any) -> Any:
        from cvdetect.sinks.draw import DrawStyle

        style = DrawStyle(**{k: given.pop(k) for k in ("line_width", "font_scale", "hide_scores")})
        return function(style=style, blur=split(given.pop("blur")), **given)

    return _with_options(_DRAW, call, function)


def max_pixels(function: Command) -> Command:
    """Add the size limit of images; the function gets `max_pixels`."""
    option = click.option(
        "--max-pixels",
        type=int,
        default=200_000_000,
        show_default=True,
        metavar="N",
        help="Images with more pixels fail.",
    )
    return option(function)


def _with_options(options: list[Any], call: Command, function: Command) -> Command:
    wrapped = update_wrapper(call, function)
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _model(given: dict[str, Any]) -> ModelChoice:
    settings = cast(Settings, click.get_current_context().obj)
    name, size = given.pop("model"), given.pop("size")
    files = {k: given.pop(k) for k in _FILES}
    if any(files.values()) and _from_environment("model"):
        name = None  # files that were typed win over a model from the environment
    return ModelChoice(
        name=name,
        **files,
        scale=parse_scale(given.pop("scale")),
        mean=parse_triple(given.pop("mean"), "--mean"),
        std=parse_triple(given.pop("std"), "--std"),
        rgb=given.pop("rgb"),
        pad_value=given.pop("pad_value"),
        size=parse_size(size) if size else None,
        resize=given.pop("resize"),
        registry=settings.registry,
        cache=settings.cache,
        offline=settings.offline,
    )


def _models(given: dict[str, Any]) -> tuple[ModelChoice, ...]:
    """The models that are named, and the one given by its files, each in every size."""
    names, sizes = given.pop("model"), given.pop("size") or (None,)
    own = _model(given | {"model": None, "size": None})
    without_files = replace(own, **_NO_FILES)
    if own == without_files:
        choices = [replace(own, name=name) for name in names or (None,)]
    else:
        named = () if _from_environment("model") else names
        choices = [*(replace(without_files, name=name) for name in named), own]
    for used in (*_OF_FILES, "resize"):
        del given[used]
    return tuple(replace(c, size=parse_size(s) if s else None) for c, s in product(choices, sizes))


def given_arguments() -> frozenset[str]:
    """The names of the arguments that a person set, on the command line or in the environment."""
    context = click.get_current_context()
    theirs = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return frozenset(name for name in context.params if context.get_parameter_source(name) in theirs)


def _from_environment(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.ENVIRONMENT


def _detect(given: dict[str, Any]) -> DetectOptions:
    conf = given.pop("conf")
    return DetectOptions(
        conf=parse_conf(conf) if conf else Conf(),
        nms=given.pop("nms"),
        agnostic_nms=given.pop("agnostic_nms"),
        multi_label=given.pop("multi_label"),
        max_det=given.pop("max_det"),
        classes=split(given.pop("classes")),
        tile=given.pop("tile"),
    )


def _run(given: dict[str, Any]) -> RunOptions:
    return RunOptions(**{k: given.pop(k) for k in ("backend", "precision", "device_id", "threads")})


def _runs(given: dict[str, Any]) -> tuple[RunOptions, ...]:
    """Every backend in every precision; the device is for those that have one."""
    backends, precisions = given.pop("backend"), given.pop("precision")
    device, threads = given.pop("device_id"), given.pop("threads")
    from cvdetect.runtime import device_backends

    with_device = [b for b in backends if b in device_backends(RunOptions())] or backends  # else `choose` refuses it
    return tuple(
        RunOptions(backend=b, precision=p, device_id=device if b in with_device else None, threads=threads)
        for b, p in product(backends, precisions)
    )
