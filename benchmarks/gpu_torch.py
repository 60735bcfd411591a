"""A Darknet cfg as a PyTorch network with random weights: the same operations in another runtime, for timing.

It gives the heads' raw values; its numbers mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cvdetect.formats.darknet import Cfg, Section, layers


def torch_forward(cfg: Cfg, wh: tuple[int, int], precision: str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A function from a blob (B, 3, H, W), float32, to the heads' arrays; both lie in the computer's own memory."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = precision == "fp16"
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # OpenCV keeps to fp32 too (dnn/src/cuda4dnn/csl/cudnn/convolution.hpp)
    network = _network(cfg, wh).eval().to(device, torch.float16 if half else torch.float32)
    network = network.to(memory_format=torch.channels_last)

    def forward(blob: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            fed = torch.from_numpy(blob).to(device, torch.float16 if half else torch.float32)
            heads = network(fed.contiguous(memory_format=torch.channels_last))
            return [head.float().cpu().numpy() for head in heads]

    return forward


def _network(cfg: Cfg, wh: tuple[int, int]) -> Any:
    import torch

    traced = layers(cfg, wh)
    sections = cfg.sections[1:]
    channels = [cfg.channels, *(layer.shape[0] for layer in traced)]  # what goes into each layer
    modules = [_module(section, channels[i]) for i, section in enumerate(sections)]

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = torch.nn.ModuleList(modules)

        def forward(self, x: Any) -> list[Any]:
            outputs: list[Any] = []
            heads = []
            for i, section in enumerate(sections):
                if section.kind == "route":
                    x = torch.cat([outputs[j] for j in _sources(section, "layers", i)], 1)
                elif section.kind == "shortcut":
                    x = x + outputs[_sources(section, "from", i)[0]]
                elif section.kind in ("yolo", "region"):
                    heads.append(x)
                else:
                    x = self.steps[i](x)
                outputs.append(x)
            return heads

    return Network()


def _sources(section: Section, key: str, index: int) -> list[int]:
    numbers = [int(part) for part in section.options[key].value.split(",")]
    return [number if number >= 0 else index + number for number in numbers]


def _module(section: Section, channels: int) -> Any:
    from torch import nn

    def number(key: str, default: int) -> int:
        return int(section.options[key].value) if key in section.options else default

    if section.kind == "convolutional":
        size, filters = number("size", 1), number("filters", 1)
        normalised = number("batch_normalize", 0) == 1
        steps: list[Any] = [
            nn.Conv2d(channels, filters, size, number("stride", 1), size // 2 * number("pad", 0), bias=not normalised)
        ]
        if normalised:
            steps.append(nn.BatchNorm2d(filters))
        if section.options["activation"].value == "leaky":
            steps.append(nn.LeakyReLU(0.1, inplace=True))
        return nn.Sequential(*steps)
    if section.kind == "maxpool":
        size, stride = number("size", 2), number("stride", 2)
        pad = size - 1 if stride == 1 else 0
        return nn.Sequential(nn.ZeroPad2d((pad // 2, pad - pad // 2) * 2), nn.MaxPool2d(size, stride))
    if section.kind == "upsample":
        return nn.Upsample(scale_factor=number("stride", 2))
    if section.kind in ("route", "shortcut", "yolo", "region"):
        return nn.Identity()
    raise NotImplementedError(f"[{section.kind}] is in none of the networks that this benchmark runs")
