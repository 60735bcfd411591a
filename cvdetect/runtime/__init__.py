"""What runs a network: one small protocol, and OpenCV behind it."""

from __future__ import annotations

from cvdetect.runtime.base import Network, Ran

__all__ = ["Network", "Ran"]
