"""Opens a Darknet model: cfg and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.core.options import RunOptions
from cvdetect.core.progress import Progress
from cvdetect.core.spec import InputSpec, ModelSpec, Role
from cvdetect.formats import darknet
from cvdetect.models.opened import Opened, read_bytes, read_text
from cvdetect.models.registry import load_models
from cvdetect.runtime.opencv import read_darknet

__all__ = ["open_darknet"]


def open_darknet(spec: ModelSpec, files: Mapping[Role, Path], run: RunOptions, progress: Progress) -> Opened:
    """Read and check cfg and weights, and load them as OpenCV runs them rightly, with every threshold opened.

    Raises:
        ModelFileError: the cfg is wrong, or the weights are not its own.
        UsageError: the input size does not fit.
    """
    path = files["cfg"]
    cfg = darknet.parse_cfg(read_text(path), str(path), spec.input.wh, progress.warn)
    if not cfg.heads:
        raise ModelFileError(f"{path}: has no [yolo] or [region] section: it is not a detector")
    family = cfg.heads[0].kind
    fed = _input(spec, cfg)
    darknet.check_size(cfg, fed.wh or cfg.input_wh)
    weights = read_bytes(files["weights"])
    _check_weights(cfg, weights, files["weights"])
    if cfg.channels == 4:
        progress.warn(f"{path}: channels=4: the fourth is alpha; images count as opaque, so it is 255 everywhere")
    if any(head.diou_nms for head in cfg.heads):
        progress.detail(f"{path}: Darknet suppresses boxes of this model by their DIoU, cvdetect by their IoU")
    ready = darknet.for_opencv(cfg, weights, fed.wh)
    network = read_darknet(ready.text, ready.weights, str(path), ready.outputs, run)
    anchors = cfg.heads[0].anchors if family == "region" else ()
    return Opened(network, family, fed, cfg.heads[0].classes, anchors=anchors)


def _check_weights(cfg: darknet.Cfg, weights: NDArray[np.uint8], path: Path) -> None:
    """As formats.darknet; weights of another network are named where models.yaml has one whose file is as large."""
    try:
        darknet.check_weights(cfg, weights[:512].tobytes(), weights.size, str(path))
    except ModelFileError as error:
        for spec in load_models(users=False):
            known = spec.file("weights")
            if known and known.size == weights.size:
                raise ModelFileError(f"{error}; {spec.name}'s weights have this size") from error
        raise


def _input(spec: ModelSpec, cfg: darknet.Cfg) -> InputSpec:
    """The spec's input with what only the cfg knows: size, channels, and letterboxing, which OpenCV ignores."""
    fed = replace(spec.input, wh=spec.input.wh or cfg.input_wh, channels=cfg.channels)
    return replace(fed, resize="letterbox") if fed.resize is None and cfg.letter_box else fed
