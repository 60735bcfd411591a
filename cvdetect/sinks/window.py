"""Windows on the screen: one that waits for a key at each image, and one that shows frames as they come."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from cvdetect.core.cv import cv2
from cvdetect.core.detections import Detections
from cvdetect.core.errors import SinkError
from cvdetect.core.frame import Frame, Image
from cvdetect.core.progress import Controls, Progress
from cvdetect.sinks import PlainSink
from cvdetect.sinks.images import write_image
from cvdetect.sinks.render import Renderer

__all__ = ["LiveWindow", "Window", "captioned", "why_no_window"]

_TITLE = "cvdetect"
_SLIDER = "confidence %"
_LARGEST = (1600, 900)  # pixels of a window when it opens
_ESC, _NO_KEY = 27, 0xFF
_QUIT = (ord("q"), _ESC)


def why_no_window() -> str | None:
    """Why no window can be opened here; None where one can.

    Without a display the window toolkit ends the whole process, so another process tries.
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


def _open(flags: int) -> None:
    """Open the window; raises a SinkError where there is no display, or OpenCV is built without windows."""
    if reason := why_no_window():
        raise SinkError(f"no window can be opened: {reason}")
    cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | flags)


def _is_open() -> bool:
    return bool(cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1)


def _key(milliseconds: int) -> int:
    """The key that is pressed within this time, _NO_KEY for none, _ESC where the window was closed."""
    key = int(cv2.waitKey(milliseconds)) & 0xFF
    return key if key != _NO_KEY or _is_open() else _ESC


def _resize(width: int, height: int) -> None:
    """Give the window the image's aspect ratio, and no more than its size."""
    scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
    cv2.resizeWindow(_TITLE, max(1, round(width * scale)), max(1, round(height * scale)))


class Window(PlainSink):
    """Shows each image until a key is pressed; q or Esc closes it for good, and no further image is shown."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._closed = False

    def __enter__(self) -> Window:
        _open(0)
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()

    def write(self, frame: Frame, found: Detections) -> None:
        """Show one image and wait for a key, or for the window to be closed."""
        if self._closed:
            return
        _resize(*frame.wh)
        cv2.imshow(_TITLE, self._renderer.drawn(frame, found))
        while (key := _key(100)) == _NO_KEY:
            pass
        self._closed = key in _QUIT


class LiveWindow(PlainSink):
    """Shows each frame as it comes. Keys: q or Esc ends, space pauses, s saves a snapshot; a slider sets the score.

    The main thread calls all methods, as window toolkits require. While the source is paused, `write` keeps the window
    alive and returns when it goes on.

    Args:
        controls: what keys and slider act on.
        caption: the small line at the bottom of each frame.
        lowest: the slider does not go below this score, as weaker detections are not there.
    """

    def __init__(
        self,
        renderer: Renderer,
        controls: Controls,
        *,
        lowest: float,
        progress: Progress,
        caption: Callable[[], str] = str,
    ) -> None:
        self._renderer = renderer
        self._controls = controls
        self._caption = caption
        self._lowest = lowest
        self._progress = progress
        self._shown: tuple[Frame, Image] | None = None

    def __enter__(self) -> LiveWindow:
        """Open the window.

        Raises:
            SinkError: there is no display, or OpenCV is built without windows.
        """
        _open(cv2.WINDOW_GUI_NORMAL)
        start = self._controls.min_score  # kept exactly until the slider is moved
        cv2.createTrackbar(_SLIDER, _TITLE, round(max(start, self._lowest) * 100), 100, self._slide)
        self._controls.min_score = start
        return self

    def __exit__(self, *_: object) -> None:
        if _is_open():
            cv2.destroyWindow(_TITLE)
        cv2.waitKey(1)

    def write(self, frame: Frame, found: Detections) -> None:
        """Show one frame and act on keys."""
        if self._controls.stopping:
            return
        drawn = self._renderer.drawn(frame, found)
        if self._shown is None or self._shown[0].wh != frame.wh:
            _resize(*frame.wh)
        self._shown = (frame, drawn)
        self._show()
        self.listen()
        while self._controls.paused and not self._controls.stopping:
            self.listen(30)

    def listen(self, milliseconds: int = 1) -> None:
        """Act on keys for so long; to be called again and again while no frames come."""
        key = _key(milliseconds)
        if key in _QUIT:
            self._controls.stop()
        elif key == ord(" "):
            self._controls.toggle_pause()
            self._show()
        elif key == ord("s"):
            self._save()

    def _slide(self, percent: int) -> None:
        self._controls.min_score = max(percent / 100, self._lowest)

    def _show(self) -> None:
        if self._shown is not None:
            text = "paused: space goes on" if self._controls.paused else self._caption()
            cv2.imshow(_TITLE, captioned(self._shown[1], text))

    def _save(self) -> None:
        """Write what is shown, without the caption, into the current folder, under a name that is free."""
        if self._shown is None:
            return
        frame, drawn = self._shown
        stem = f"snapshot_{frame.index:06d}"
        path = next(p for n in count() if not (p := Path(f"{stem}{f'_{n}' if n else ''}.jpg")).exists())
        try:
            write_image(path, drawn)
        except SinkError as error:
            self._progress.error(str(error))
        else:
            self._progress.note(f"→ {path}")


def captioned(image: Image, text: str) -> Image:
    """A copy of an image (H, W, 3) BGR with a small line at its bottom left, light with a dark rim."""
    out: Image = image.copy()
    height, width = out.shape[:2]
    scale = max(0.4, min(width, height) / 1100)
    place = (max(4, width // 100), height - max(6, height // 80))
    for colour, stroke in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, stroke, cv2.LINE_AA)
    return out
