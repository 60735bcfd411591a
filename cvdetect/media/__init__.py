"""Reading and writing of videos with PyAV (FFmpeg), and whether a PyAV that is new enough is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

__all__ = ["INSTALL", "LIMITS", "available", "installed", "why_absent"]

INSTALL = "pip install 'av>=17'"  # builds it where there is no wheel
LIMITS = f"no H.264 and no sound; {INSTALL} brings both"
_OLDEST = 17  # 15 and 16 decode BT.709 with BT.601's matrix: colours up to 25 of 255 off


def available() -> bool:
    """Whether a PyAV that decodes colours rightly is installed."""
    return not _too_old() and find_spec("av") is not None


def why_absent() -> str:
    """Why PyAV is not used."""
    return _too_old() or "PyAV is not installed"


def installed() -> str:
    """PyAV's version; empty where it is not there, or built from source without metadata."""
    from importlib.metadata import PackageNotFoundError, version  # 15 ms, which one image does not need

    try:
        return version("av")
    except PackageNotFoundError:
        return ""


@cache
def _too_old() -> str:
    major = installed().split(".", maxsplit=1)[0]
    if major.isdecimal() and int(major) < _OLDEST:
        return f"PyAV {installed()} decodes HD colours wrongly and is not used"
    return ""
