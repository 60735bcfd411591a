"""Opens a Caffe detector: prototxt and caffemodel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.options import ModelChoice, RunOptions
from cvdetect.core.progress import Progress
from cvdetect.core.resize import keep_aspect
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.formats import caffe
from cvdetect.models.opened import Opened, just_below, read_bytes, read_text
from cvdetect.models.resolve import stated_input
from cvdetect.runtime.backends import check_two_stage, choose
from cvdetect.runtime.opencv import read_caffe

__all__ = ["open_caffe"]

_SIDES = (600, 1000)  # TEST.SCALES and TEST.MAX_SIZE of py-faster-rcnn's and py-R-FCN's lib/fast_rcnn/config.py
_USUAL_WH = (640, 480)  # as most cameras make pictures


def open_caffe(
    spec: ModelSpec,
    files: Mapping[Role, Path],
    choice: ModelChoice,
    run: RunOptions,
    conf: float,
    nms: float | None,
    progress: Progress,
) -> Opened:
    """Read and check prototxt and caffemodel, and load them with the user's thresholds written into the prototxt.

    Args:
        conf: the lowest score that is to come out.
        nms: the IoU threshold of the network's own suppression; None leaves what the prototxt says.

    Raises:
        ModelFileError: a file is wrong, or the weights are not the prototxt's own.
    """
    path, model = files["prototxt"], files["caffemodel"]
    content = read_text(path)
    facts = caffe.read_prototxt(content, str(path))
    weights = read_bytes(model)
    foreign = describe_foreign(weights[:512].tobytes())
    if foreign:
        raise ModelFileError(f"{model}: is {foreign}, expected a caffemodel")
    caffe.check_weights(weights, str(model), facts.weighted)
    if facts.two_stage:
        check_two_stage(spec.name, choose(run.backend, run.precision, run.device_id).ran)
    fed = _input(spec, facts, path, progress)
    if choice.files and not any(value is not None for value in stated_input(choice).values()):
        progress.note(
            f"{spec.name}: fed BGR from 0 to 255, as Caffe files do not say how; {arg('scale')}, {arg('mean')}, "
            f"{arg('rgb')} do"
        )
    content = caffe.with_thresholds(content, str(path), just_below(conf), nms)
    return Opened(
        read_caffe(content, weights, str(path), run, image_input=facts.image_input, size_input=facts.size_input),
        "detection_output",
        fed,
        facts.classes,
        first_class_id=1 if facts.background == 0 else 0,
        one_by_one=facts.two_stage,  # OpenCV proposes regions of one image only
        in_pixels=facts.in_pixels,
    )


def _input(spec: ModelSpec, facts: caffe.Prototxt, path: Path, progress: Progress) -> InputSpec:
    """How pictures are fed: in the size asked for, else the prototxt's; two-stage detectors size each by itself."""
    fed = spec.input
    if fed.wh is None and facts.size_input:  # its prototxt says 224x224, but is reshaped for each picture
        progress.note(
            f"{spec.name}: brings each picture's shorter side to {_SIDES[0]} pixels, the longer one to at most "
            f"{_SIDES[1]}, as py-faster-rcnn does; {arg('size')} sets one size for all"
        )
        return replace(fed, wh=keep_aspect(_USUAL_WH, _SIDES), sides=_SIDES)
    wh = fed.wh or facts.input_wh
    if wh is None:
        raise ModelFileError(f"{path}: does not say its input size: give {arg('size')}")
    return replace(fed, wh=wh)
