"""A Darknet network of two layers with random weights: real, quick to load, and finds something everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cvdetect.core.options import ModelChoice

_CFG = """[net]
width=96
height=64
channels=3
[convolutional]
filters=8
size=3
stride=16
pad=1
activation=leaky
[convolutional]
filters=24
size=1
stride=1
activation=linear
[yolo]
mask=0,1,2
anchors=20,30, 40,20, 60,50
classes=3
num=3
"""


def tiny_model(folder: Path) -> ModelChoice:
    """Its files, made in `folder` from a fixed seed."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(7)
    biases, kernels = np.zeros(8), chance.normal(0, 0.4, 8 * 3 * 9)
    heads = np.tile([0, 0, 0, 0, 0.5, 0.2, 0.1, 0], 3), chance.normal(0, 2.5, 24 * 8)
    header = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
    (folder / "tiny.cfg").write_text(_CFG)
    (folder / "tiny.weights").write_bytes(
        header + b"".join(part.astype("<f4").tobytes() for part in (biases, kernels, *heads))
    )
    (folder / "tiny.names").write_text("cat\ndog\nbird\n")
    return ModelChoice(cfg=folder / "tiny.cfg", weights=folder / "tiny.weights", names=folder / "tiny.names")
