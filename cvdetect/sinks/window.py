"""A window on the screen."""

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
from cvdetect.core.progress import Controls, NullProgress, Progress
from cvdetect.sinks.images import write_image
from cvdetect.sinks.render import Renderer

__all__ = ["LiveWindow", "Window", "captioned", "fit", "why_no_window"]


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


# A window that shows frames as they come, with keys and a slider.

_SLIDER = "confidence %"


class LiveWindow:
    """Shows each frame as it comes. Keys: q or Esc ends, space pauses, s saves a snapshot; a slider sets the score.

    A `Sink` whose methods are all called by the main thread, as window toolkits want it. While the source is paused,
    `write` keeps the window alive and comes back when it goes on.

    Args:
        controls: what keys and slider act on.
        caption: gives the small line at the bottom of each picture.
        lowest: the slider does not go below this score, as weaker detections are not there.
        folder: where snapshots go.
    """

    def __init__(
        self,
        renderer: Renderer,
        controls: Controls,
        *,
        caption: Callable[[], str] = str,
        lowest: float = 0.0,
        folder: Path = Path(),
        title: str = "cvdetect",
        progress: Progress = NullProgress(),
    ) -> None:
        self._renderer = renderer
        self._controls = controls
        self._caption = caption
        self._lowest = lowest
        self._folder = folder
        self._title = title
        self._progress = progress
        self._shown: tuple[Frame, Image] | None = None

    def __enter__(self) -> LiveWindow:
        """Open the window.

        Raises:
            SinkError: there is no display, or OpenCV is built without windows.
        """
        if reason := why_no_window():
            raise SinkError(f"no window can be opened: {reason}")
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        start = self._controls.min_score  # kept exactly until the slider is moved
        cv2.createTrackbar(_SLIDER, self._title, round(max(start, self._lowest) * 100), 100, self._slide)
        self._controls.min_score = start
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyWindow(self._title) if self._is_open() else None
        cv2.waitKey(1)

    def write(self, frame: Frame, found: Detections) -> None:
        """Show one frame and act on keys."""
        if self._controls.stopping:
            return
        picture = self._renderer.drawn(frame, found)
        if self._shown is None or self._shown[0].wh != frame.wh:
            cv2.resizeWindow(self._title, *fit(*frame.wh))
        self._shown = (frame, picture)
        self._show()
        self.listen()
        while self._controls.paused and not self._controls.stopping:
            self.listen(30)

    def listen(self, milliseconds: int = 1) -> None:
        """Act on keys for so long; to be called again and again where no frames come."""
        key = int(cv2.waitKey(milliseconds)) & 0xFF
        if key in _QUIT or not self._is_open():
            self._controls.stop()
        elif key == ord(" "):
            self._controls.toggle_pause()
            self._show()
        elif key == ord("s"):
            self._save()

    def _is_open(self) -> bool:
        return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1)

    def _slide(self, percent: int) -> None:
        self._controls.min_score = max(percent / 100, self._lowest)

    def _show(self) -> None:
        if self._shown is not None:
            text = "paused: space goes on" if self._controls.paused else self._caption()
            cv2.imshow(self._title, captioned(self._shown[1], text))

    def _save(self) -> None:
        """Write what is shown, without the caption, under a name that is free."""
        if self._shown is None:
            return
        frame, picture = self._shown
        stem = f"snapshot_{frame.index:06d}"
        path = next(p for n in count() if not (p := self._folder / f"{stem}{f'_{n}' if n else ''}.jpg").exists())
        try:
            write_image(path, picture)
        except SinkError as error:
            self._progress.error(str(error))
        else:
            self._progress.note(f"→ {path}")


def captioned(picture: Image, text: str) -> Image:
    """A copy of a picture (H, W, 3) BGR with a small line at its bottom left, light with a dark rim."""
    out: Image = picture.copy()
    height, width = out.shape[:2]
    scale = max(0.4, min(width, height) / 1100)
    place = (max(4, width // 100), height - max(6, height // 80))
    for colour, stroke in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, stroke, cv2.LINE_AA)
    return out
