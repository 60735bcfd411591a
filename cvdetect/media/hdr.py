"""High dynamic range to what a usual screen shows: a table of colours that FFmpeg's ``lut3d`` filter applies.

The light of each pixel comes from SMPTE ST 2084 (PQ) or from ITU-R BT.2100's HLG for a screen of 1,000 cd/m²; the
light of diffuse white, 203 cd/m² (ITU-R BT.2408), becomes the screen's white. What is brighter is rolled off by the
curve of ITU-R BT.2390 (section 5.4.1), applied to the largest of the three channels so that hues stay. Colours go from
BT.2020 to BT.709 primaries (ITU-R BT.2087) and are cut off at its borders; the screen is that of ITU-R BT.1886.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from cvdetect.frame import Image, Look
from cvdetect.media.colour import is_hlg, to_bgr

__all__ = ["ToneMapper", "tone_map"]

_WHITE = 203.0  # cd/m²
_PEAK = 1000.0  # cd/m², of what does not state it, and of HLG's screen
_NODES = 49  # along each side of the table
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # ST 2084
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)  # linear BT.2020 → BT.709, both D65
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
_Floats = NDArray[np.float64]


def tone_map(coded: _Floats, hlg: bool = False, peak: float = _PEAK) -> _Floats:
    """Coded RGB in BT.2020, 0 to 1, (…, 3) → coded RGB in BT.709, 0 to 1.

    Args:
        peak: the brightest light in it, cd/m².
    """
    light = _hlg_light(coded) if hlg else _pq_light(coded)
    largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    shown = light * (_roll_off(np.minimum(largest, peak), peak) / largest) / _WHITE
    return np.asarray(np.clip(shown @ _TO_709.T, 0, 1) ** (1 / 2.4))


def _pq_light(coded: _Floats) -> _Floats:
    power = coded ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _pq_coded(light: _Floats) -> _Floats:
    power = (light / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_light(coded: _Floats) -> _Floats:
    a, b, c = 0.17883277, 0.28466892, 0.55991073  # BT.2100, table 5
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
    luma = np.maximum(scene @ _LUMA_2020, 1e-9)[..., None]
    return np.asarray(_PEAK * luma**0.2 * scene)


def _roll_off(light: _Floats, peak: float) -> _Floats:
    """BT.2390's EETF from `peak` to white, black stays black: a Hermite spline above its knee."""
    if peak <= _WHITE:
        return light
    top = _pq_coded(np.array(peak))
    given, most = _pq_coded(light) / top, float(_pq_coded(np.array(_WHITE)) / top)
    knee = 1.5 * most - 0.5
    t = np.clip((given - knee) / (1 - knee), 0, 1)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return _pq_light(np.where(given < knee, given, curve) * top)


class ToneMapper:
    """Brings the HDR frames of one video to BT.709; the filter is built for the first frame's size."""

    def __init__(self, look: Look, first: Any) -> None:
        self._look = look
        self._table = _cube(is_hlg(look), _stated_peak(first))
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
            escaped = path.as_posix().replace(":", "\\:")
            chain = [source, graph.add("lut3d", f"file={escaped}"), graph.add("format", "bgr24")]
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
    return float(min(peak, 10_000)) if peak >= _WHITE else _PEAK


def _cube(hlg: bool, peak: float) -> str:
    """The table as an Adobe .cube file: red changes fastest."""
    steps = np.linspace(0, 1, _NODES)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colours = tone_map(np.stack([red, green, blue], axis=-1), hlg, peak).reshape(-1, 3)
    lines = [f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in colours.tolist()]
    return "\n".join([f"LUT_3D_SIZE {_NODES}", *lines, ""])
