"""PyAV's own door: FFmpeg's demuxers, decoders, encoders and muxers, where PyAV 17 or newer is installed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

__all__ = ["LOST", "available", "why_absent"]

LOST = "no H.264 and no sound; pip install 'cvdetect[video]' brings both"
_OLDEST = 17  # 15 and 16 decode BT.709 with BT.601's matrix: colours up to 25 of 255 off


def available() -> bool:
    """Whether a PyAV that decodes colours rightly is installed."""
    return not _too_old() and find_spec("av") is not None


def why_absent() -> str:
    """Why PyAV is not used."""
    return _too_old() or "PyAV is not installed"


@cache
def _too_old() -> str:
    try:
        installed = version("av")
    except PackageNotFoundError:
        return ""  # not there, or built from source without metadata: nothing speaks against it
    major = installed.split(".", maxsplit=1)[0]
    if major.isdecimal() and int(major) < _OLDEST:
        return f"PyAV {installed} decodes HD colours wrongly and is not used"
    return ""
