"""Option groups as decorators, each gathered into one frozen dataclass."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from cvdetect.cli.main import Settings
from cvdetect.errors import UsageError
from cvdetect.options import Conf, DetectOptions, ModelChoice, RunOptions, parse_conf, parse_size

__all__ = ["PATH", "detecting", "drawing", "split"]

PATH = click.Path(path_type=Path)
Command = Callable[..., Any]

_MODEL = [
    click.option("--cfg", type=PATH, help="A Darknet cfg that no yaml names."),
    click.option("--weights", type=PATH, help="Its weights; else the file of the same name beside it."),
    click.option("--graph", type=PATH, help="A TensorFlow frozen graph (.pb) that no yaml names."),
    click.option("--config", type=PATH, help="Its OpenCV text graph (.pbtxt); else the one beside it."),
    click.option("--names", type=PATH, help="Its labels: one name a line, or a TensorFlow label map."),
    click.option("--scale", type=float, help="Factor on pixel values, for --cfg or --graph.  [default: the family's]"),
    click.option("--mean", metavar="A,B,C", help="Subtracted from pixel values, in the network's channel order."),
    click.option("--std", metavar="A,B,C", help="Divides pixel values after --scale."),
    click.option("--rgb/--bgr", default=None, help="Channel order of the network.  [default: the family's]"),
    click.option("--pad-value", type=click.FloatRange(0, 255), help="Grey of letterbox padding.  [default: 127]"),
    click.option("--size", metavar="N|WxH", help="Network input size in pixels.  [default: the model's]"),
    click.option("--resize", type=click.Choice(["stretch", "letterbox"]), help="How images are brought to that size."),
]
_DETECT = [
    click.option(
        "--conf",
        metavar="X[,CLASS=X…]",
        help="Score threshold (≥), 0 to 1, also by class: 0.5,person=0.3.  [default: the model's, else 0.5]",
    ),
    click.option("--nms", type=float, help="IoU above which the weaker of two boxes goes.  [default: 0.4]"),
    click.option("--agnostic-nms", is_flag=True, help="Suppress across classes, not per class."),
    click.option("--multi-label", is_flag=True, help="Every class over the threshold, not only the best of a box."),
    click.option("--max-det", type=int, default=300, show_default=True, help="At most N detections an image."),
    click.option("--classes", metavar="A,B,C", help="Only these classes, names or ids.  [default: all]"),
]
_RUN = [
    click.option(
        "--backend",
        default="auto",
        show_default=True,
        help="auto (CUDA where it really works, else CPU), or a name that doctor lists. No silent fall-back.",
    ),
    click.option("--precision", type=click.Choice(["fp32", "fp16"]), default="fp32", show_default=True),
    click.option("--threads", type=int, help="Threads for the network.  [default: all cores]"),
]
_DRAW = [
    click.option("--blur", metavar="A,B|all", help="Pixelate these classes in every picture written or shown."),
    click.option("--line-width", type=click.IntRange(min=1), help="Of boxes, in pixels.  [default: by image size]"),
    click.option(
        "--font-scale", type=click.FloatRange(min=0, min_open=True), help="Of labels.  [default: by image size]"
    ),
    click.option("--hide-scores", is_flag=True, help="Labels without scores."),
]


def split(text: str | None) -> tuple[str, ...]:
    """``a, b`` → ("a", "b"); None or an empty text → ()."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def detecting(name: str) -> Callable[[Command], Command]:
    """Add what every detecting command shares; the function gets `model`, `detect` and `run` dataclasses."""
    model = click.option(
        "-m", "--model", envvar=[f"CVDETECT_{name.upper()}_MODEL", "CVDETECT_MODEL"],
        help="A name of models.yaml (cvdetect models list).",
    )  # fmt: skip

    def decorate(function: Command) -> Command:
        def call(**given: Any) -> Any:
            return function(model=_model(given), detect=_detect(given), run=_run(given), **given)

        return _with_options([model, *_MODEL, *_DETECT, *_RUN], call, function)

    return decorate


def drawing(function: Command) -> Command:
    """Add how pictures look; the function gets `style` and `blur`."""

    def call(**given: Any) -> Any:
        from cvdetect.sinks.draw import DrawStyle

        style = DrawStyle(**{k: given.pop(k) for k in ("line_width", "font_scale", "hide_scores")})
        return function(style=style, blur=split(given.pop("blur")), **given)

    return _with_options(_DRAW, call, function)


def _with_options(options: list[Any], call: Command, function: Command) -> Command:
    wrapped = update_wrapper(call, function)
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _model(given: dict[str, Any]) -> ModelChoice:
    context = click.get_current_context()
    settings = cast(Settings, context.obj)
    name, size = given.pop("model"), given.pop("size")
    files = {k: given.pop(k) for k in ("cfg", "weights", "graph", "config", "names")}
    if context.get_parameter_source("model") is ParameterSource.ENVIRONMENT and (files["cfg"] or files["graph"]):
        name = None  # files that were typed win over a model from the environment
    return ModelChoice(
        name=name,
        **files,
        scale=given.pop("scale"),
        mean=_triple("--mean", given.pop("mean")),
        std=_triple("--std", given.pop("std")),
        rgb=given.pop("rgb"),
        pad_value=given.pop("pad_value"),
        size=parse_size(size) if size else None,
        resize=given.pop("resize"),
        registry=Path(settings.models) if settings.models else None,
        cache=Path(settings.cache_dir) if settings.cache_dir else None,
        offline=settings.offline,
    )


def _triple(option: str, text: str | None) -> tuple[float, float, float] | None:
    """``A,B,C`` or one number for all three channels."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise UsageError(f"{option} {text}: expected one number or three, e.g. 123.7,116.3,103.5")
    return (values[0], values[0], values[0]) if len(values) == 1 else (values[0], values[1], values[2])


def _detect(given: dict[str, Any]) -> DetectOptions:
    conf = given.pop("conf")
    return DetectOptions(
        conf=parse_conf(conf) if conf else Conf(),
        nms=given.pop("nms"),
        agnostic_nms=given.pop("agnostic_nms"),
        multi_label=given.pop("multi_label"),
        max_det=given.pop("max_det"),
        classes=split(given.pop("classes")),
    )


def _run(given: dict[str, Any]) -> RunOptions:
    return RunOptions(**{k: given.pop(k) for k in ("backend", "precision", "threads")})
