"""What is checked before anything is timed: that every configuration runs, and on what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cvdetect.core.errors import BackendError, UsageError
from cvdetect.core.frame import Image
from cvdetect.core.options import ModelChoice
from cvdetect.core.progress import Progress, Silent
from cvdetect.formats import darknet
from cvdetect.inference.detector import Detector
from cvdetect.jobs.bench.passes import Configuration
from cvdetect.models.opened import read_text
from cvdetect.models.resolve import resolve
from cvdetect.models.store import Store
from cvdetect.runtime import Ran
from cvdetect.runtime.backends import choose

__all__ = ["Once", "Planned", "check_ran", "plan", "refuse_early"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A configuration that has run once.

    Attributes:
        model: the model's name.
        wh: width and height of the network input in pixels.
        backend: what ``--backend`` calls what runs it; "auto" is resolved.
        ran: what ran the network.
        flop: floating point operations of one pass; None where they are not known, and `no_flop` says why.
    """

    configuration: Configuration
    model: str
    wh: tuple[int, int]
    backend: str
    ran: Ran
    flop: int | None
    no_flop: str = ""

    @property
    def size(self) -> str:
        """The input size as ``--size`` takes it."""
        return "{}x{}".format(*self.wh)

    def __str__(self) -> str:
        one = self.configuration
        return f"{self.model} {self.size}, {self.backend}, {one.run.precision}, batch {one.batch}"


class Once:
    """A `Progress` that passes every line on only once: one model is loaded for several configurations."""

    def __init__(self, progress: Progress) -> None:
        self._told: set[str] = set()
        self._progress = progress

    def begin(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Pass it on."""
        self._progress.begin(task, total, unit)

    def advance(self, amount: int = 1) -> None:
        """Pass it on."""
        self._progress.advance(amount)

    def end(self) -> None:
        """Pass it on."""
        self._progress.end()

    def note(self, message: str) -> None:
        """Pass on what was not told yet."""
        self._once(self._progress.note, message)

    def detail(self, message: str) -> None:
        """Pass on what was not told yet."""
        self._once(self._progress.detail, message)

    def warn(self, message: str) -> None:
        """Pass on what was not told yet."""
        self._once(self._progress.warn, message)

    def error(self, message: str) -> None:
        """Pass on what was not reported yet."""
        self._once(self._progress.error, message)

    def _once(self, tell: Callable[[str], None], message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            tell(message)


def refuse_early(configurations: list[Configuration]) -> None:
    """Find what cannot run as far as the arguments and this machine decide it: before anything is downloaded or loaded.

    Raises:
        UsageError: an unknown model, or options that contradict each other.
        BackendError: this machine lacks a backend or precision.
    """
    for one in configurations:
        resolve(one.model, Silent())
    for one in configurations:
        choose(one.run.backend, one.run.precision)


def plan(configuration: Configuration, image: Image, progress: Progress) -> Planned:
    """Load a configuration in this process, pulling its weights at first use, and run it once.

    Raises:
        UsageError: an option that cannot be met, a batch for a network that takes one image at a time among them.
        ModelError: the model cannot be had or run.
        BackendError: something else ran it than was asked for.
    """
    one = configuration
    detector = Detector.load(one.model, one.detect, one.run, progress)
    check_ran(detector.name, detector.ran, choose(one.run.backend, one.run.precision).ran)
    if one.batch > 1 and detector.model.one_by_one:
        raise UsageError(f"--batch {one.batch}: {detector.name} takes one image at a time")
    detector.detect_batch([image] * one.batch)
    progress.detail(f"{detector.name} runs on {detector.ran}")
    backend = one.run.backend
    if backend == "auto":
        backend = "cuda" if detector.ran.backend == "cuda" else "cpu"
    flop, why = _flop(one, detector.model.input_wh)
    return Planned(one, detector.name, detector.model.input_wh, backend, detector.ran, flop, why)


def check_ran(name: str, ran: Ran, asked: Ran) -> None:
    """Raise BackendError where something else ran the network than was asked for: such times must not be compared."""
    if ran != asked:
        raise BackendError(f"{name}: asked for {asked}; but it ran on {ran}: nothing was measured")


def _flop(one: Configuration, wh: tuple[int, int]) -> tuple[int | None, str]:
    """Operations of one pass, or None and why they are not known."""
    if one.detect.tile is not None:
        return None, "with --tile the number of passes depends on the picture"
    text = _cfg_text(one.model)
    if text is None:
        return None, "operations are counted for Darknet models only"
    return darknet.flops(darknet.parse_cfg(text, "the model's cfg", wh), wh) * one.batch, ""


def _cfg_text(choice: ModelChoice) -> str | None:
    files = Store(choice.cache).ensure(resolve(choice, Silent()), Silent(), offline=choice.offline)
    return read_text(files["cfg"]) if "cfg" in files else None
