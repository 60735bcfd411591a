"""What several tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from cvdetect.cli.main import run
from cvdetect.core.detections import Detections
from cvdetect.core.progress import NullProgress
from cvdetect.runtime import Ran

ROOT = Path(__file__).resolve().parent.parent

# The same examples in every run, and no verdict on a busy machine's speed.
settings.register_profile("cvdetect", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cvdetect")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test material; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CVDETECT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared test data is not here (set CVDETECT_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    return ROOT / "samples"


@pytest.fixture(scope="session")
def yolov3_tiny() -> None:
    """Skips where the default model's weights can neither be found nor pulled."""
    from cvdetect.core.errors import FetchError
    from cvdetect.core.progress import NullProgress
    from cvdetect.models.registry import load_models
    from cvdetect.models.store import Store

    try:
        Store().ensure(load_models().get("yolov3-tiny"), NullProgress())
    except FetchError as error:
        pytest.skip(f"the weights of yolov3-tiny cannot be had here: {error}")


@pytest.fixture(scope="session")
def xl(shared: Path) -> list[str]:
    """Options that name the small real model yolo-fastest-1.1-xl."""
    models = shared / "data" / "models"
    return [
        "--cfg", str(models / "yolo-fastest-1.1-xl.cfg"),
        "--weights", str(models / "yolo-fastest-1.1-xl.weights"),
        "--names", str(models / "coco.names"),
    ]  # fmt: skip


class Outcome:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit {self.code}\nout: {self.out}\nerr: {self.err}"


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs ``cvdetect ARGS`` in this process, in an empty current folder."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*args: object) -> Outcome:
        capsys.readouterr()
        code = run([str(a) for a in args])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return Outcome(code, told.out, told.err)

    return call


class Told(NullProgress):
    """Remembers what was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def error(self, message: str) -> None:
        self.errors.append(message)


class FakeNetwork:
    """A network that always gives the same outputs, whatever it is fed."""

    ran = Ran("fake", "fake", "cpu", "none", "fp32")

    def __init__(self, outputs: dict[str, np.ndarray]) -> None:
        self.outputs = outputs

    def forward(self, _blob: np.ndarray) -> dict[str, np.ndarray]:
        return self.outputs


def make_detections(
    boxes: Sequence[Sequence[float]], classes: Sequence[int] | None = None, scores: Sequence[float] | None = None
) -> Detections:
    """Detections from plain lists; class 0 and score 0.9 where not stated."""
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(classes if classes is not None else [0] * n, np.int64),
        np.array(scores if scores is not None else [0.9] * n, np.float32),
    )
