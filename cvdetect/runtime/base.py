"""What runs a network, seen from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Network", "Ran"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What really runs the network: the JSON's ``ran``."""

    runtime: str
    backend: str
    target: str
    device: str
    precision: str

    def as_json(self) -> dict[str, str]:
        """The same as a plain dict."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.runtime}, backend {self.backend}, target {self.target}, {self.precision}, on {self.device}"


class Network(Protocol):
    """A loaded network. Not safe to share between threads."""

    @property
    def ran(self) -> Ran:
        """What runs it."""

    def forward(self, blob: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Input (B, C, H, W) → each output by its name."""
