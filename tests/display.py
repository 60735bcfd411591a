"""A screen in memory and the keys pressed on it, for tests of windows."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["Screen", "screen"]


class Screen:
    """A running Xvfb."""

    def __init__(self, display: str) -> None:
        self.environment = {**os.environ, "DISPLAY": display}
        self.environment.pop("WAYLAND_DISPLAY", None)

    def do(self, *command: str) -> str:
        """Run an X tool → what it prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=30
        )  # fmt: skip
        return done.stdout.strip()

    def wait_for_window(self, title: str, seconds: float = 60) -> None:
        """Return when a window of that title is there, with the pointer on it (there is no window manager)."""
        deadline = time.monotonic() + seconds
        while not self.do("xdotool", "search", "--onlyvisible", "--name", f"^{title}$"):
            assert time.monotonic() < deadline, "no window came"
            time.sleep(0.05)
        self.do("xdotool", "mousemove", "200", "100")

    def press(self, key: str) -> None:
        """Press and release one key."""
        self.do("xdotool", "key", key)

    def click(self, x: int, y: int) -> None:
        """Click the left button there."""
        self.do("xdotool", "mousemove", str(x), str(y), "click", "1")


@contextmanager
def screen() -> Iterator[Screen]:
    """A screen of 1280x900, on any free display number; skips where Xvfb or xdotool is not installed."""
    for tool in ("Xvfb", "xdotool"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    # Without -noreset it starts anew, and refuses connections, each time its last client leaves.
    arguments = ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield Screen(f":{server.stdout.readline().strip()}")
        finally:
            server.terminate()
