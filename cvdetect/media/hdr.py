"""High dynamic range videos to what a usual screen shows: a table of colours that FFmpeg's ``lut3d`` filter applies."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from cvdetect.core.frame import Image, Look
from cvdetect.media.colour import to_bgr
from cvdetect.media.tone import HLG, PEAK, WHITE, tone_map

__all__ = ["ToneMapper"]

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
