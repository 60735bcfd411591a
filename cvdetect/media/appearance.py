"""The frames of one video as a viewer shows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cvdetect.core.frame import Image, Look
from cvdetect.media.colour import BT709, look_of, to_bgr
from cvdetect.media.geometry import pixel_shape_of, square_wh, turn_of
from cvdetect.media.hdr import ToneMapper
from cvdetect.media.tone import HDR_NAMES

__all__ = ["Viewed"]

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
