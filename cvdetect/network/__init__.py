"""What runs a network: one small protocol, and OpenCV behind it."""

from __future__ import annotations

from cvdetect.network.base import Network, Ran

__all__ = ["Network", "Ran"]
