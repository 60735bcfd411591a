"""The networks that the GPU's benchmark runs: the zoo's where their weights are here, else ones of the same shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cvdetect.core.options import ModelChoice
from cvdetect.formats.darknet import Cfg, parameters, parse_cfg
from cvdetect.models.registry import load_models
from cvdetect.models.store import Store

_ANCHORS = "10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326"
_TINY_ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"


@dataclass(frozen=True)
class Named:
    """A network to time, at one size."""

    name: str
    cfg: Cfg
    choice: ModelChoice
    wh: tuple[int, int]


def networks(folder: Path) -> list[Named]:
    """yolov3-tiny at 416, YOLOv3 at 416 and 608; cfgs and weights that are synthetic are written into `folder`."""
    tiny, full = _network("yolov3-tiny", yolov3_tiny(), folder), _network("yolov3", yolov3(), folder)
    return [_sized(tiny, 416), _sized(full, 416), _sized(full, 608)]


def _sized(network: Named, side: int) -> Named:
    return replace(
        network, name=f"{network.name} {side}", choice=replace(network.choice, size=(side, side)), wh=(side, side)
    )


def _network(name: str, text: str, folder: Path) -> Named:
    """The zoo's model `name` where it is here complete, else one of the same shape."""
    spec, store = load_models().get(name), Store()
    files = {file.role: store.path_of(spec, file) for file in spec.files}
    if not all(path.is_file() for path in files.values()):
        name = f"{name} (random weights)"
        files = {"cfg": folder / f"{spec.name}.cfg", "weights": folder / f"{spec.name}.weights"}
        files["cfg"].write_text(text)
        write_weights(files["weights"], parameters(parse_cfg(text, spec.name)))
    cfg = parse_cfg(files["cfg"].read_text(), str(files["cfg"]))
    return Named(name, cfg, ModelChoice(cfg=files["cfg"], weights=files["weights"]), cfg.input_wh)


def write_weights(path: Path, count: int) -> None:
    """`count` small positive numbers behind Darknet's header: variances must not be negative, nor sums overflow."""
    random = np.random.default_rng(7)
    with path.open("wb") as file:
        file.write(np.array([0, 2, 5, 0, 0], np.int32).tobytes())  # version 0.2.5, then images seen, 64 bits
        for start in range(0, count, 1 << 20):
            file.write(random.uniform(1e-3, 2e-2, min(1 << 20, count - start)).astype(np.float32).tobytes())


def _section(kind: str, **options: object) -> str:
    return f"[{kind}]\n" + "".join(f"{key}={value}\n" for key, value in options.items())


def _conv(filters: int, size: int = 1, stride: int = 1) -> str:
    return _section(
        "convolutional", batch_normalize=1, filters=filters, size=size, stride=stride, pad=1, activation="leaky"
    )


def _head(mask: str, anchors: str) -> str:
    last = _section("convolutional", filters=255, size=1, stride=1, pad=1, activation="linear")
    return last + _section("yolo", mask=mask, anchors=anchors, classes=80, num=anchors.count(",") // 2 + 1)


def yolov3() -> str:
    """YOLOv3's cfg: Darknet-53 and three heads (Redmon and Farhadi, arXiv 1804.02767)."""
    text = _section("net", width=416, height=416, channels=3) + _conv(32, 3)
    for stage, count in enumerate((1, 2, 8, 8, 4)):
        wide = 64 << stage
        text += _conv(wide, 3, 2) + count * (
            _conv(wide // 2) + _conv(wide, 3) + _section("shortcut", **{"from": -3, "activation": "linear"})
        )
    for scale, mask in enumerate(("6,7,8", "3,4,5", "0,1,2")):
        wide = 512 >> scale
        if scale:  # from before the last head's two layers, joined with the last layer of an earlier stage
            text += _section("route", layers=-4) + _conv(wide) + _section("upsample", stride=2)
            text += _section("route", layers=f"-1,{(61, 36)[scale - 1]}")
        text += 3 * (_conv(wide) + _conv(2 * wide, 3)) + _head(mask, _ANCHORS)
    return text


def yolov3_tiny() -> str:
    """YOLOv3-tiny's cfg: seven convolutions between pools, and two heads."""
    text = _section("net", width=416, height=416, channels=3)
    for i, filters in enumerate((16, 32, 64, 128, 256, 512)):
        text += _conv(filters, 3) + _section("maxpool", size=2, stride=2 if i < 5 else 1)
    text += _conv(1024, 3) + _conv(256) + _conv(512, 3) + _head("3,4,5", _TINY_ANCHORS)
    text += (
        _section("route", layers=-4) + _conv(128) + _section("upsample", stride=2) + _section("route", layers="-1,8")
    )
    return text + _conv(256, 3) + _head("0,1,2", _TINY_ANCHORS)
