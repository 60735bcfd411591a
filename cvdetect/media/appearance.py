"""The frames of one video as a viewer shows them."""

from __future__ import annotations

import math
import struct
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from cvdetect.core.frame import Image, Look
from cvdetect.media.colour import BT709, look_of, to_bgr
from cvdetect.media.tone import HDR_NAMES, HLG, PEAK, WHITE, tone_map

__all__ = ["ToneMapper", "Turn", "Viewed", "pixel_shape_of", "square_wh", "turn_of"]


_FIELD_ORDERS = (2, 3, 4, 5)  # FFmpeg's AVFieldOrder: interlaced ones
_INTERLACED = (
    "is interlaced: moving objects have combed edges, which detectors know badly; "
    "ffmpeg -i IN -vf bwdif OUT makes whole frames of it"
)
_HDR = "is HDR ({}): it is tone-mapped to SDR (BT.709) for the network and for what is written"


class Viewed:
    """Turns decoded PyAV frames into upright BGR images with square pixels and the right colours.

    Args:
        stream: the video's stream.
        first: its first decoded frame.

    Attributes:
        look: how a copy is to be stored and tagged.
        remarks: what a person should know of it.
    """

    def __init__(self, stream: Any, first: Any) -> None:
        self._turn, odd_angle = turn_of(first)
        self._shape = pixel_shape_of(stream)
        self._source, remarks = look_of(first, (first.width, first.height))
        self._mapper = ToneMapper(self._source, first) if self._source.transfer in HDR_NAMES else None
        self.look = self._kept((first.width, first.height))
        said = [odd_angle] if odd_angle else []
        if self._mapper:
            said.append(_HDR.format(HDR_NAMES[self._source.transfer]))
        if first.interlaced_frame or getattr(stream.codec_context, "field_order", 0) in _FIELD_ORDERS:
            said.append(_INTERLACED)
        self.remarks = (*said, *remarks)

    def _kept(self, wh: tuple[int, int]) -> Look:
        shape = 1 / self._shape if self._turn.transpose else self._shape
        look = replace(self._source, stored_wh=self._turn.of_wh(wh), pixel_shape=shape)
        if self._mapper is None:
            return look
        return replace(look, matrix=BT709, primaries=BT709, transfer=BT709, full_range=False)

    def image(self, frame: Any) -> Image:
        """(H, W, 3) BGR of a frame of this video, upright, in square pixels."""
        stored = frame.width, frame.height
        square = square_wh(stored, self._shape)
        wh = None if square == stored else square
        if self._mapper:
            image: Image = self._mapper.to_bgr(frame, wh)
        else:
            image = to_bgr(frame, self._source, wh).to_ndarray()
        return self._turn.apply(image)


# Turning and mirroring of decoded frames, and the shape of their pixels.

_WIDEST = 8  # a pixel that is longer than so many times its width is a mistake in the file
_DEGREES = 1.0  # how far a matrix may be from a right angle


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored frame becomes upright: transposed first, then flipped left to right, then top to bottom."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    def apply(self, image: Image) -> Image:
        """The upright image, contiguous."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        if self.mirror:
            image = image[:, ::-1]
        return np.ascontiguousarray(image[::-1] if self.flip else image)

    def of_wh(self, wh: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the upright image of a stored one of `wh`."""
        return (wh[1], wh[0]) if self.transpose else wh


def turn_of(frame: Any) -> tuple[Turn, str | None]:
    """How a decoded PyAV frame becomes upright, and what is not done of that.

    The display matrix (ISO/IEC 14496-12, 8.3.2: a stored pixel's (x, y) is shown at (a·x + c·y, b·x + d·y)) may mirror
    as well as turn. Where the angle is no right one, the nearest is taken.
    """
    matrix = _matrix(frame)
    if matrix is None:
        return _quarter_turns(round(getattr(frame, "rotation", 0) / 90) % 4), None
    a, b, c, d = matrix
    upright = abs(a * d) >= abs(b * c)
    turn = Turn(mirror=a < 0, flip=d < 0) if upright else Turn(True, mirror=c < 0, flip=b < 0)
    off = math.degrees(math.atan2(abs(b), abs(a)) if upright else math.atan2(abs(a), abs(b)))
    said = f"asks to be turned by an angle that is no right one; it is shown {off:.0f}° off"
    return turn, said if off > _DEGREES else None


def _matrix(frame: Any) -> tuple[float, float, float, float] | None:
    """a, b, c, d of the frame's display matrix; None where it has none, or it is degenerate."""
    try:
        data = next((bytes(d) for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # PyAV does not know another piece of side data in the frame
        return None
    if data is None or len(data) < 36:
        return None
    a, b, _, c, d = struct.unpack_from("=5i", data)
    return None if a * d == b * c else (a, b, c, d)


def _quarter_turns(turns: int) -> Turn:
    """`turns` counter-clockwise."""
    return (Turn(), Turn(True, flip=True), Turn(mirror=True, flip=True), Turn(True, mirror=True))[turns]


def pixel_shape_of(stream: Any) -> Fraction:
    """Width to height of a stored pixel: the container's word, else the codec's; 1 where neither says a sane one."""
    for stated in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if stated and Fraction(1, _WIDEST) <= stated <= _WIDEST:
            return Fraction(stated)
    return Fraction(1)


def square_wh(wh: tuple[int, int], shape: Fraction) -> tuple[int, int]:
    """The size in square pixels at which nothing is made smaller, as players do."""
    if shape >= 1:
        return round(wh[0] * shape), wh[1]
    return wh[0], round(wh[1] / shape)


# High dynamic range videos to what a usual screen shows: a table of colours that FFmpeg's ``lut3d`` filter applies.

_NODES = 49  # along each side of the table


class ToneMapper:
    """Brings the HDR frames of one video to BT.709; the filter is built for the first frame's size."""

    def __init__(self, look: Look, first: Any) -> None:
        self._look = look
        self._table = _cube(look.transfer == HLG, _stated_peak(first))
        self._graph: Any = None
        self._wh = (0, 0)

    def to_bgr(self, frame: Any, wh: tuple[int, int] | None = None) -> Image:
        """A decoded frame → (H, W, 3) BGR, of the size `wh` where it is given."""
        coded = to_bgr(frame, self._look, wh, "gbrp16le")
        if self._graph is None or self._wh != (coded.width, coded.height):
            self._open(coded)
        coded.pts = 0
        self._graph.push(coded)
        image: Image = self._graph.pull().to_ndarray()
        return image

    def _open(self, frame: Any) -> None:
        self._wh = frame.width, frame.height
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=av.VideoFormat("gbrp16le"), time_base=Fraction(1, 1000)
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.cube"
            path.write_text(self._table)
            chain = [source, graph.add("lut3d", file=str(path)), graph.add("format", "bgr24")]
            chain.append(graph.add("buffersink"))
            graph.link_nodes(*chain).configure()
        self._graph = graph


def _stated_peak(frame: Any) -> float:
    """The brightest light that the frame states of its video (MaxCLL, CTA-861.3), else the usual."""
    try:
        data = next((bytes(d) for d in frame.side_data if d.type.name == "CONTENT_LIGHT_LEVEL"), b"")
    except ValueError:  # PyAV does not know another piece of side data in the frame
        data = b""
    peak = int.from_bytes(data[:4], "little")
    return float(min(peak, 10_000)) if peak >= WHITE else PEAK


def _cube(hlg: bool, peak: float) -> str:
    """The table as an Adobe .cube file: red changes fastest."""
    steps = np.linspace(0, 1, _NODES)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colours = tone_map(np.stack([red, green, blue], axis=-1), hlg, peak).reshape(-1, 3)
    lines = [f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in colours.tolist()]
    return "\n".join([f"LUT_3D_SIZE {_NODES}", *lines, ""])
