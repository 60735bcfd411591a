"""Opens a Darknet model: cfg and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cvdetect.errors import ModelFileError
from cvdetect.events import Progress
from cvdetect.formats import darknet
from cvdetect.loader.opened import Opened, read_bytes, read_text
from cvdetect.network.opencv import read_darknet
from cvdetect.options import RunOptions
from cvdetect.spec import InputSpec, ModelSpec, Role

__all__ = ["open_darknet"]


def open_darknet(spec: ModelSpec, files: Mapping[Role, Path], run: RunOptions, progress: Progress) -> Opened:
    """Read and check cfg and weights, and load them with every threshold inside the cfg opened.

    Raises:
        ModelFileError: the cfg is wrong, or the weights are not its own.
        UsageError: the input size does not fit.
    """
    path = files["cfg"]
    text = read_text(path)
    cfg = darknet.parse_cfg(text, str(path))
    kinds = {head.kind for head in cfg.heads}
    if len(kinds) != 1:
        raise ModelFileError(f"{path}: has no [yolo] or [region] section: it is not a detector")
    family = kinds.pop()
    for note in cfg.notes:
        progress.warn(note)
    fed = _input(spec, cfg)
    darknet.check_size(cfg, fed.wh or cfg.input_wh)
    weights = read_bytes(files["weights"])
    darknet.check_weights(cfg, weights[:512].tobytes(), weights.size, str(files["weights"]))
    # [region] is decoded from the layer before it: decoders/region.py says why.
    outputs = [f"permute_{head.layer_index}" for head in cfg.heads] if family == "region" else []
    network = read_darknet(darknet.with_open_thresholds(text), weights, str(path), outputs, run)
    anchors = cfg.heads[0].anchors if family == "region" else ()
    return Opened(network, family, fed, cfg.heads[0].classes, anchors=anchors)


def _input(spec: ModelSpec, cfg: darknet.Cfg) -> InputSpec:
    """The spec's input with what only the cfg knows: the size, and letterboxing, which OpenCV ignores."""
    fed = replace(spec.input, wh=spec.input.wh or cfg.input_wh)
    return replace(fed, resize="letterbox") if fed.resize is None and cfg.letter_box else fed
