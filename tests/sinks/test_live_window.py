"""The live window on a screen in memory, with real keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from cvdetect.sinks.window import captioned
from tests.conftest import ROOT
from tests.display import Screen, screen

# Shows 20 frames a second and tells on standard output what keys and slider change. Its own process, because a window
# toolkit ends its process when its screen goes away.
SHOWS = """
import sys, time
import numpy as np
from cvdetect.core.progress import Controls, NullProgress
from cvdetect.core.detections import Detections
from cvdetect.core.frame import Frame
from cvdetect.core.labels import LabelSet
from cvdetect.sinks.draw import DrawStyle
from cvdetect.sinks.window import LiveWindow
from cvdetect.sinks.render import Renderer

class Prints(NullProgress):
    def note(self, message): print(message, flush=True)
    warn = note

class Watched(Controls):
    def toggle_pause(self):
        super().toggle_pause()
        print("paused" if self.paused else "on", flush=True)
    def stop(self):
        if not self.stopping: print("stop", flush=True)
        super().stop()

controls = Watched()
controls.min_score = 0.333
renderer = Renderer(LabelSet({0: "dog"}, {}, 0), DrawStyle())
index, score = 0, None
with LiveWindow(renderer, controls, caption=lambda: "30.0 fps", lowest=0.1, progress=Prints()) as window:
    while not controls.stopping:
        if controls.min_score != score:
            score = controls.min_score
            print("score", score, flush=True)
        window.write(Frame(np.full((480, 640, 3), (0, 0, 200), np.uint8), "cam", index, index / 20), Detections.empty())
        index += 1
        print("frame", index, flush=True)
        time.sleep(0.05)
"""


class Shown:
    """The running window and what it told."""

    def __init__(self, process: subprocess.Popen[str], on: Screen) -> None:
        self.process, self.on = process, on
        self.score = float(self.tells("score").split()[1])

    def tells(self, start: str) -> str:
        """The next line that starts so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line.strip()
        raise AssertionError(f"ended without telling {start!r}")


@contextmanager
def shown(folder: Path) -> Iterator[Shown]:
    with screen() as on:
        process = subprocess.Popen(
            [sys.executable, "-c", SHOWS], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**on.environment, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        with process:
            try:
                window = Shown(process, on)
                on.wait_for_window("cvdetect")
                window.tells("frame")
                yield window
            finally:
                process.kill()


def test_space_pauses_s_saves_the_slider_sets_the_score_and_q_ends(tmp_path: Path) -> None:
    with shown(tmp_path) as window:
        window.on.press("space")
        window.tells("paused")
        window.on.press("s")
        path = window.tells("→ ").removeprefix("→ ")
        window.on.press("s")
        assert window.tells("→ ") != f"→ {path}", "no snapshot is overwritten"
        window.on.press("space")
        window.tells("on")
        window.tells("frame")
        window.on.click(630, 463)  # near the slider's right end
        raised = float(window.tells("score").split()[1])
        window.on.press("q")
        window.tells("stop")
        assert window.process.wait(60) == 0
    picture = cv2.imread(str(tmp_path / path))
    assert path.startswith("snapshot_0000")
    assert np.abs(picture.astype(int) - (0, 0, 200)).max() <= 4, "without the caption"
    assert 0.333 < raised <= 1


def test_escape_ends_while_paused(tmp_path: Path) -> None:
    with shown(tmp_path) as window:
        window.on.press("space")
        window.tells("paused")
        window.on.press("Escape")
        window.tells("stop")
        assert window.process.wait(60) == 0


def test_the_score_stays_exact_until_the_slider_moves_and_does_not_go_below_what_there_is(tmp_path: Path) -> None:
    with shown(tmp_path) as window:
        scores = [window.score]
        while scores[-1] > 0.1:
            window.on.click(170, 463)  # the slider's left end: a page down
            scores.append(float(window.tells("score").split()[1]))
        window.on.press("q")
        window.tells("stop")
    assert scores[0] == 0.333, "not rounded to whole per cents"
    assert scores[-1] == 0.1


def test_the_caption_leaves_the_rest_of_the_image_alone() -> None:
    picture = np.full((480, 640, 3), 90, np.uint8)
    out = captioned(picture, "12.3 fps")
    assert (picture == 90).all()
    assert (out[:440] == 90).all()
    assert out[440:].max() == 255 and out[440:].min() == 0
