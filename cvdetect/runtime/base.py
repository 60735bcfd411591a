"""What runs a network: a `Runtime`, chosen once for a run, loads a `ModelSource` into a `Network`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from cvdetect.core.options import RunOptions
from cvdetect.core.source import ModelSource

__all__ = ["Network", "Ran", "Runtime"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What really runs the network: the JSON's ``ran``."""

    runtime: str
    backend: str
    target: str
    device: str
    precision: str

    @property
    def on_cpu_fp32(self) -> bool:
        """Whether it computes in single precision on the CPU."""
        return self.target == "cpu" and self.precision == "fp32"

    def as_json(self) -> dict[str, str]:
        """The same as a plain dict."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.runtime}, backend {self.backend}, target {self.target}, {self.precision}, on {self.device}"


class Network(Protocol):
    """A loaded network. Not safe to share between threads."""

    def forward(self, blob: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Input (B, C, H, W) → each output by its name, in the order of `ModelSource.outputs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(ABC):
    """A library that runs networks, with the backend, precision and device that were chosen.

    Attributes:
        formats: the formats of model files that it reads, as `cvdetect.formats.FORMATS` names them.
        device_backends: the backends with numbered devices, as ``--device-id`` takes them; GPUs. The first is the one
            that "auto" tries.
        run: what was asked for.
        backend: what ``--backend`` calls what was chosen; never "auto".
        ran: what runs the networks.
        networks: so many side by side use the device best, if there are images enough.
        one_batch_size: another number of images at once sets the network up anew, which takes long.
    """

    formats: ClassVar[frozenset[str]]
    device_backends: ClassVar[tuple[str, ...]] = ()

    run: RunOptions
    backend: str
    ran: Ran
    networks: int = 1
    one_batch_size: bool = False

    @classmethod
    @abstractmethod
    def offered(cls) -> dict[str, tuple[str, ...]]:
        """Each name of ``--backend`` → the precisions that really run on this machine (empty: it cannot run)."""

    @classmethod
    @abstractmethod
    def choose(cls, run: RunOptions) -> Runtime:
        """The runtime with the backend, precision and device that `run` asks for, or the best ones for "auto".

        Raises:
            UsageError: no such backend, precision or device.
            BackendError: this machine cannot run it; the message gives the reason and a hint.
        """

    @abstractmethod
    def load(self, source: ModelSource) -> Network:
        """Make a network of a source whose format is one of `formats`.

        Raises:
            ModelFileError: it holds something that this runtime cannot run.
            BackendError: the backend refused it.
        """

    def takes_one_image(self, _source: ModelSource) -> bool:
        """Whether networks of this source take one image at a time."""
        return False

    def check_two_stage(self, name: str) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse two-stage models where they do not run well; `name` is what errors call the model.

        Raises:
            BackendError: they do not.
        """
