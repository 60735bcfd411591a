"""What the formats of model files share: reading files, the size of the input, thresholds inside graphs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvdetect.core.arguments import arg
from cvdetect.core.errors import ModelFileError, UsageError
from cvdetect.core.filetype import describe_foreign
from cvdetect.core.progress import Progress
from cvdetect.core.source import Bytes
from cvdetect.core.spec import ModelSpec
from cvdetect.core.targets import check_regular

__all__ = ["GraphThresholds", "WeightsError", "choose_size", "read_bytes", "read_text"]


class WeightsError(ModelFileError):
    """Weights are damaged, or belong to another network."""


@dataclass(frozen=True, slots=True)
class GraphThresholds:
    """What is written into graphs that run non-maximum suppression themselves.

    Attributes:
        conf: the lowest score that is to come out, 0 to 1.
        nms: the IoU threshold; None leaves what the file states.
    """

    conf: float
    nms: float | None = None

    @property
    def below_conf(self) -> float:
        """The threshold to give DetectionOutput, which keeps scores above its own, while ours is reached at it."""
        return max(0.0, float(np.nextafter(np.float32(self.conf), np.float32(-1))))


def choose_size(
    spec: ModelSpec, fixed: tuple[int | None, int | None], suggested: tuple[int, int] | None, progress: Progress
) -> tuple[int, int]:
    """Width and height of the input: what the file fixes, else what was asked for, else what the file suggests.

    Args:
        spec: the model; `input.wh` is what was asked for.
        fixed: width and height as the file declares them; None where it leaves one open.
        suggested: what its metadata mentions.

    Raises:
        UsageError: another size was asked for than the file fixes.
    """
    asked = spec.input.wh
    if asked and any(have is not None and have != want for have, want in zip(fixed, asked, strict=True)):
        have = "x".join(str(size or "any") for size in fixed)
        raise UsageError(f"{arg('size')} {asked[0]}x{asked[1]}: the input of {spec.name} is fixed at {have}")
    if fixed[0] is not None and fixed[1] is not None:
        return fixed[0], fixed[1]
    if asked or suggested:
        return asked or suggested or (0, 0)
    progress.warn(f"{spec.name}: the file does not state its input size, taking 640x640; {arg('size')} sets another")
    return 640, 640


def read_bytes(path: Path) -> Bytes:
    """A file's content.

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
    """A text file's content.

    Raises:
        ModelFileError: it cannot be read, or is another kind of file (a web page, an archive, binary), which is named.
        UsageError: it is a pipe, a socket or a device.
    """
    data = read_bytes(path).tobytes()
    foreign = describe_foreign(data[:512], text_expected=True)
    if b"\0" in data[:4096] or foreign:
        raise ModelFileError(f"{path}: is {foreign or 'a binary file'}, expected a text file")
    return data.decode("utf-8-sig", errors="replace")
