"""High dynamic range to what a usual screen shows, on numbers alone.

The light of each pixel comes from SMPTE ST 2084 (PQ) or from ITU-R BT.2100's HLG for a screen of 1,000 cd/m²; the
light of diffuse white, 203 cd/m² (ITU-R BT.2408), becomes the screen's white. What is brighter is rolled off by the
curve of ITU-R BT.2390 (section 5.4.1), applied to the largest of the three channels so that hues stay. Colours go from
BT.2020 to BT.709 primaries (ITU-R BT.2087) and are cut off at its borders; the screen is that of ITU-R BT.1886.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["HDR_NAMES", "HLG", "PEAK", "PQ", "WHITE", "hdr_remark", "tone_map"]

PQ, HLG = 16, 18  # transfer_characteristics of ITU-T H.273
HDR_NAMES = {PQ: "PQ", HLG: "HLG"}
WHITE = 203.0  # cd/m²
PEAK = 1000.0  # cd/m², of what does not state it, and of HLG's screen
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # ST 2084
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)  # linear BT.2020 → BT.709, both D65
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
_Floats = NDArray[np.float64]


def hdr_remark(transfer: int) -> str:
    """What a person should know of an HDR image or video of that transfer, to follow its name and a colon."""
    return f"is HDR ({HDR_NAMES[transfer]}): it is tone-mapped to SDR (BT.709) for detection and in what is written"


def tone_map(coded: _Floats, hlg: bool = False, peak: float = PEAK, wide: bool = True) -> _Floats:
    """Coded RGB in BT.2020, 0 to 1, (…, 3) → coded RGB in BT.709, 0 to 1.

    Args:
        peak: the brightest light in it, cd/m².
        wide: its primaries are those of BT.2020; else they are left as they are.
    """
    light = _hlg_light(coded) if hlg else _pq_light(coded)
    largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    shown = light * (_roll_off(np.minimum(largest, peak), peak) / largest) / WHITE
    return np.asarray(np.clip(shown @ _TO_709.T if wide else shown, 0, 1) ** (1 / 2.4))


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
    return np.asarray(PEAK * luma**0.2 * scene)


def _roll_off(light: _Floats, peak: float) -> _Floats:
    """BT.2390's EETF from `peak` to white, black stays black: a Hermite spline above its knee."""
    if peak <= WHITE:
        return light
    top = _pq_coded(np.array(peak))
    given, most = _pq_coded(light) / top, float(_pq_coded(np.array(WHITE)) / top)
    knee = 1.5 * most - 0.5
    t = np.clip((given - knee) / (1 - knee), 0, 1)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return _pq_light(np.where(given < knee, given, curve) * top)
