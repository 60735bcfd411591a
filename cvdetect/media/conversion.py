"""A video's decoded frames → images as a viewer shows them, and images → frames for an encoder.

Code points are those of ITU-T H.273 (matrix_coefficients, colour_primaries, transfer_characteristics), which FFmpeg's
enumerations follow.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from cvdetect.core.frame import Image, Look
from cvdetect.media.codecs import Codec, Container
from cvdetect.media.geometry import display_transform, pixel_shape_of, square_wh
from cvdetect.media.tone import HDR_NAMES, HLG, PEAK, WHITE, hdr_remark, tone_map

__all__ = ["FrameConverter", "as_written", "from_bgr", "tag", "usual_look"]

UNSPECIFIED, BT709, BT601 = 2, 1, 6  # BT601: SMPTE 170M, whose matrix is also that of BT.470 System B, G (5)
_RGB, _BT2020 = 0, 9
# H.273 matrix → FFmpeg's table of coefficients (SWS_CS_*); others are not converted.
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_LIMITED, _FULL = 1, 2  # FFmpeg's AVColorRange
_FIELD_ORDERS = (2, 3, 4, 5)  # FFmpeg's AVFieldOrder: interlaced ones
_NODES = 49  # along each side of the table of colours
# Without rounding each copy is darker by 1.5 levels; PyAV 17 cannot ask for it.
_ACCURATE = Interpolation.BILINEAR | getattr(Interpolation, "ACCURATE_RND", 0)

_INTERLACED = (
    "is interlaced: moving objects have combed edges, which detectors handle badly; "
    "deinterlace it first: ffmpeg -i IN -vf bwdif OUT"
)


class FrameConverter:
    """Turns decoded PyAV frames into upright BGR images with square pixels and the right colours.

    Args:
        stream: the video's stream.
        first: its first decoded frame.

    Attributes:
        look: how a copy is to be stored and tagged.
        remarks: what a person should know of the video, each to follow its name and a colon.
    """

    def __init__(self, stream: Any, first: Any) -> None:
        self._turn, odd_angle = display_transform(first)
        self._shape = pixel_shape_of(stream)
        self._source, remarks = _look_of(first, (first.width, first.height))
        self._mapper = _ToneMapper(self._source, first) if self._source.transfer in HDR_NAMES else None
        self.look = self._kept((first.width, first.height))
        own = [odd_angle] if odd_angle else []
        if self._mapper:
            own.append(hdr_remark(self._source.transfer))
        if first.interlaced_frame or getattr(stream.codec_context, "field_order", 0) in _FIELD_ORDERS:
            own.append(_INTERLACED)
        self.remarks = (*own, *remarks)

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
            image = _to_bgr(frame, self._source, wh).to_ndarray()
        return self._turn.apply(image)


def usual_look(wh: tuple[int, int]) -> Look:
    """What players assume for a video of this size that states no colours: BT.709 from HD on, else BT.601."""
    if wh[0] >= 1280 or wh[1] > 576:
        return Look(wh, matrix=BT709, primaries=BT709, transfer=BT709)
    return Look(wh, matrix=BT601)


def from_bgr(image: Image, pix_fmt: str, look: Look, converter: VideoReformatter) -> Any:
    """An image (H, W, 3) BGR → a PyAV frame of `pix_fmt` with the colours of `look`, tagged so.

    `converter` is kept from frame to frame: to set one up takes a third as long as to convert a frame.
    """
    frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    if pix_fmt in ("bgr0", "bgr24", "rgb24", "gbrp"):
        return converter.reformat(frame, format=pix_fmt)
    frame = converter.reformat(
        frame,
        format=pix_fmt,
        dst_colorspace=_COEFFICIENTS[look.matrix],
        src_color_range=_FULL,
        dst_color_range=_FULL if look.full_range else _LIMITED,
        interpolation=_ACCURATE,
    )
    _set_tags(frame, look)
    return frame


def as_written(look: Look, container: Container, codec: Codec, wh: tuple[int, int]) -> Look:
    """What a container and a codec can hold of a look.

    Where colours cannot be stated (MPEG-4 Part 2 or WMV in AVI) they are those that players assume for a video of that
    size. Where the shape of pixels cannot be stated they are made square: the frames have the size `wh` at which they
    are shown.
    """
    if not container.keeps_pixel_shape and not codec.keeps_pixel_shape:
        look = replace(look, stored_wh=wh, pixel_shape=Fraction(1))
    if codec.matrix is not None:
        return replace(look, matrix=codec.matrix, full_range=_is_full_by_name(codec.pix_fmt))
    if codec.keeps_colours:
        return look
    if not container.keeps_colours:
        return replace(usual_look(look.stored_wh), pixel_shape=look.pixel_shape)
    return look if container.keeps_range else replace(look, full_range=False)


def tag(stream: Any, look: Look, pix_fmt: str) -> None:
    """State the colours and the shape of pixels in an output stream, before it is opened."""
    context = stream.codec_context
    if pix_fmt.startswith(("bgr", "rgb", "gbr")):
        context.color_primaries, context.color_trc = look.primaries, look.transfer
    else:
        _set_tags(context, look)
    if look.pixel_shape != 1:
        context.sample_aspect_ratio = look.pixel_shape
        stream.sample_aspect_ratio = look.pixel_shape


def _look_of(frame: Any, wh: tuple[int, int]) -> tuple[Look, tuple[str, ...]]:
    """How a decoded PyAV frame is meant to be shown, and remarks on what of that is not done.

    What it does not state is filled in by `usual_look`.
    """
    usual = usual_look(wh)
    stated = _stated(frame.colorspace)
    remarks = []
    if stated in (None, _RGB) or frame.format.is_rgb:
        matrix = usual.matrix
    elif stated in _COEFFICIENTS:
        matrix = stated
    else:
        matrix = usual.matrix
        remarks.append(f"its colour matrix ({stated}) is not supported: colours are approximate")
    if _shows_through(frame):
        remarks.append("its transparency is ignored: the colours beneath are shown")
    look = replace(
        usual,
        matrix=matrix,
        primaries=_stated(frame.color_primaries) or usual.primaries,
        transfer=_stated(frame.color_trc) or usual.transfer,
        full_range=_is_full(frame),
    )
    return look, tuple(remarks)


def _stated(code: int) -> int | None:
    return None if code in (UNSPECIFIED, 3) else int(code)


def _is_full(frame: Any) -> bool:
    if frame.color_range in (_LIMITED, _FULL):
        return bool(frame.color_range == _FULL) and not frame.format.is_rgb
    return _is_full_by_name(frame.format.name)


def _is_full_by_name(pix_fmt: str) -> bool:
    """FFmpeg's own rule where the range is not stated."""
    return pix_fmt.startswith(("yuvj", "gray"))


def _shows_through(frame: Any) -> bool:
    """Whether any of its pixels is transparent."""
    if not frame.format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "pal8")):
        return False
    return bool(frame.reformat(format="rgba").to_ndarray()[:, :, 3].min() < 255)


def _to_bgr(frame: Any, look: Look, wh: tuple[int, int] | None, pix_fmt: str = "bgr24") -> Any:
    """A decoded frame → a frame of `pix_fmt` (RGB in some order), of another size where `wh` is given."""
    size: dict[str, Any] = {"width": wh[0], "height": wh[1], "interpolation": "BICUBIC"} if wh else {}
    if not frame.format.is_rgb:
        size |= {
            "src_colorspace": _COEFFICIENTS[look.matrix],
            "src_color_range": _FULL if look.full_range else _LIMITED,
            "dst_color_range": _FULL,
        }
    return frame.reformat(format=pix_fmt, **size)


class _ToneMapper:
    """Brings the HDR frames of one video to BT.709, by a table of colours that FFmpeg's ``lut3d`` filter applies."""

    def __init__(self, look: Look, first: Any) -> None:
        self._look = look
        self._table = _cube(look.transfer == HLG, _stated_peak(first))
        self._graph: Any = None
        self._wh = (0, 0)

    def to_bgr(self, frame: Any, wh: tuple[int, int] | None) -> Image:
        """A decoded frame → (H, W, 3) BGR, of the size `wh` where it is given."""
        coded = _to_bgr(frame, self._look, wh, "gbrp16le")
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
    """The brightest light of the video, cd/m², as its first frame states it (MaxCLL, CTA-861.3), else the usual."""
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


def _set_tags(target: Any, look: Look) -> None:
    target.colorspace, target.color_primaries, target.color_trc = look.matrix, look.primaries, look.transfer
    target.color_range = _FULL if look.full_range else _LIMITED
