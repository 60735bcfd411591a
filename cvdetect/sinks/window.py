"""A window on the screen."""

from __future__ import annotations

import os
import subprocess
import sys

from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError
from cvdetect.core.frame import Frame
from cvdetect.sinks.render import Renderer

__all__ = ["Window", "fit", "why_no_window"]

_QUIT = (ord("q"), 27)


def why_no_window() -> str | None:
    """Why no window can be opened here; None where one can.

    Without a display the window toolkit ends the whole process, so the try is made in another one.
    """
    if not hasattr(cv2, "imshow") or not any(
        line.strip().startswith("GUI:") and "NONE" not in line for line in cv2.getBuildInformation().splitlines()
    ):
        return "this OpenCV is built without windows (headless); install opencv-python"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (DISPLAY is not set)"
    probe = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False, timeout=60)
    return None if done.returncode == 0 else "the display does not answer"


class Window:
    """Shows each picture until a key is pressed; q or Esc closes for good (the remaining pictures are not shown)."""

    def __init__(self, renderer: Renderer, title: str = "cvdetect") -> None:
        self._renderer = renderer
        self._title = title
        self._closed = False

    def __enter__(self) -> Window:
        reason = why_no_window()
        if reason:
            raise SinkError(f"--show: {reason}")
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()

    def write(self, frame: Frame, found: Detections) -> None:
        """Show one picture and wait for a key, or for the window to be closed."""
        if self._closed:
            return
        picture = self._renderer.drawn(frame, found)
        cv2.resizeWindow(self._title, *fit(picture.shape[1], picture.shape[0]))
        cv2.imshow(self._title, picture)
        self._closed = self._wait() in _QUIT

    def _wait(self) -> int:
        """The key that was pressed; Esc where the window was closed."""
        while True:
            key = int(cv2.waitKey(100)) & 0xFF
            if key != 0xFF:
                return key
            if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                return 27


def fit(width: int, height: int, most: tuple[int, int] = (1600, 900)) -> tuple[int, int]:
    """A window size with the picture's aspect ratio, no larger than `most`."""
    scale = min(1.0, most[0] / width, most[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
