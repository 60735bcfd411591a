"""What opening a model's files gives, whatever their format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.errors import ModelFileError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.spec import InputSpec
from cvdetect.core.targets import check_regular
from cvdetect.families import Priors
from cvdetect.runtime import Network

__all__ = ["Opened", "just_below", "read_bytes", "read_text"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A model whose files have been read.

    Attributes:
        network: ready to run.
        family: the name of its family.
        input: how images are fed, `wh` known.
        classes: how many classes it tells apart, background not counted; None where the files do not tell.
        first_class_id: the smallest class number that comes out: 1 where 0 is the background.
        anchors, priors, in_pixels: see `DecodeOptions`.
        nms: the IoU threshold of suppression that the file itself states; None where it states none.
        names: the class names that the model file itself holds, or ().
        one_by_one: the network takes one image at a time.
    """

    network: Network
    family: str
    input: InputSpec
    classes: int | None
    first_class_id: int = 0
    anchors: tuple[tuple[float, float], ...] = ()
    priors: Priors | None = None
    nms: float | None = None
    names: tuple[str, ...] = ()
    one_by_one: bool = False
    in_pixels: bool = False

    @property
    def input_wh(self) -> tuple[int, int]:
        """Width and height of the network input in pixels."""
        assert self.input.wh is not None, "an opened model knows its input size"
        return self.input.wh


def just_below(conf: float) -> float:
    """The threshold to give DetectionOutput, which keeps scores above its own, while we keep those that reach ours."""
    return max(0.0, float(np.nextafter(np.float32(conf), np.float32(-1))))


def read_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's content, uint8 (size,).

    Raises:
        ModelFileError: it cannot be read.
        UsageError: it is a pipe, a socket or a device.
    """
    check_regular(path, "a model file")
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """A text file's content; a foreign file (HTML, an archive, binary) is named as what it is."""
    data = read_bytes(path).tobytes()
    foreign = describe_foreign(data[:512], text_expected=True)
    if b"\0" in data[:4096] or foreign:
        raise ModelFileError(f"{path}: is {foreign or 'a binary file'}, expected a text file")
    return data.decode("utf-8-sig", errors="replace")
