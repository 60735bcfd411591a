"""How long each model of models.yaml takes for one image, in units of yolov3-tiny's time: its `speed`.

python benchmarks/model_speed.py [--files FOLDER]... [--rounds 15] [NAME]...

The forward pass alone, at the size that models.yaml states, on the CPU, all models in turns. Files are taken from the
cache, else from the folders of --files, by their digest or name. A cfg without weights gets random ones,
which take as long. Models without files are left out. Operations are printed where a cfg gives them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timing
from gpu_networks import write_weights
from model_files import Files, choice, find

from cvdetect.core.cv import cv2
from cvdetect.core.errors import CvdetectError
from cvdetect.core.options import RunOptions
from cvdetect.core.spec import ModelSpec
from cvdetect.formats.darknet import flops, parameters, parse_cfg
from cvdetect.inference.detector import Detector
from cvdetect.models.registry import load_models

FIRST = "yolov3-tiny"
CPU = RunOptions(backend="cpu")


@dataclass(frozen=True)
class Timed:
    """A model that is timed.

    Attributes:
        gflop: operations of one image in 1e9; None where no cfg gives them.
        made_up: its weights are random.
    """

    name: str
    forward: Callable[[], object]
    gflop: float | None
    made_up: bool


def load(spec: ModelSpec, files: Files, folder: Path) -> Timed | None:
    """The model ready to run, with random weights in `folder` where only its cfg is here; None without its files."""
    wh = spec.input.wh
    if wh is None or not files:
        return None
    gflop, made_up = None, "weights" not in files and "cfg" in files
    if "cfg" in files:
        cfg = parse_cfg(files["cfg"].read_text(), str(files["cfg"]))
        gflop = flops(cfg, wh) / 1e9
        if made_up:
            files = {**files, "weights": folder / f"{spec.name}.weights"}
            write_weights(files["weights"], parameters(cfg))
    network = Detector.load(choice(spec, files, folder), run=CPU).model.network
    blob = np.random.default_rng(1).random((1, 3, wh[1], wh[0]), np.float32)
    return Timed(spec.name, lambda: network.forward(blob), gflop, made_up)


def measure(models: Sequence[Timed], rounds: int) -> None:
    """Print a line for each model: its time in FIRST's, quartiles, and what is known of its operations."""
    times = timing.interleave({model.name: model.forward for model in models}, rounds)
    print(f"OpenCV {cv2.__version__}, {rounds} rounds; {FIRST} {statistics.median(times[FIRST]) * 1e3:.3g} ms")
    for model in models:
        low, median, high = timing.ratio(times[FIRST], times[model.name])
        gflop = f"{model.gflop:.3g} GFLOP" if model.gflop else ""
        made_up = "random weights" if model.made_up else ""
        print(f"{model.name:32} {median:6.3g}  {f'{low:.3g} to {high:.3g}':16} {gflop:14} {made_up}".rstrip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models of models.yaml; without any: all")
    parser.add_argument("--files", type=Path, action="append", default=[], help="a folder with model files")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each model (%(default)s)")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("--rounds: at least 2 are needed for a spread")
    registry = load_models()
    try:
        wanted = [registry.get(name) for name in dict.fromkeys([FIRST, *(given.names or registry.names())])]
        with tempfile.TemporaryDirectory() as folder:
            loaded = {spec.name: load(spec, find(spec, given.files), Path(folder)) for spec in wanted}
            if loaded[FIRST] is None:
                sys.exit(f"{FIRST}, the reference for all, is not here: cvdetect models pull {FIRST}")
            measure([model for model in loaded.values() if model], given.rounds)
    except CvdetectError as error:
        sys.exit(str(error))
    print(f"not here: {', '.join(name for name, model in loaded.items() if model is None) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
