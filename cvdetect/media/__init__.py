"""PyAV's own door: FFmpeg's demuxers, decoders, encoders and muxers, where the extra ``[video]`` is installed."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["available"]


def available() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None
