"""Measures the figures of docs/accuracy.md, and writes the page.

    python3 benchmarks/accuracy.py --data FOLDER [--files FOLDER] [--out docs/accuracy.md]

FOLDER of --data holds images/ and instances.json (COCO's categories and file names); --files holds NAME.cfg and
NAME.weights, or NAME.onnx, of models that models.yaml does not list, or whose weights are already here. Darknet itself
is run where a program `darknet` is on the PATH; it takes about a second an image for yolov3-tiny.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import cvdetect
from cvdetect.core.errors import CvdetectError, FetchError
from cvdetect.core.labels import BUILT_IN
from cvdetect.core.options import DetectOptions, ModelChoice
from cvdetect.core.progress import NullProgress
from cvdetect.jobs.evaluate import EvalJob, evaluate
from cvdetect.jobs.evaluate.report import EvalReport
from cvdetect.models.registry import load_models
from cvdetect.models.store import Store
from cvdetect.sources.images import read_image

MODELS = ("yolov3-tiny", "yolo-fastest-1.1", "yolo-fastest-1.1-xl", "mobilenetv2-yolov3-nano")
ONNX = ("yolox_nano", "nanodet_m")
COCO = BUILT_IN["coco80"](0)


PAGE = """\
# Accuracy

Written by `benchmarks/accuracy.py`; do not edit. AP / AP50 in percent by COCO's rules (AP is the mean over IoU 0.50 to
0.95), on {images} images of COCO val2017 with {objects} objects.

{main_table}
{onnx_table}
- On {images} images a figure may be off by a few points either way, and published figures are for the whole data set.
  The columns of one row are comparable, because all are measured on the same images.
{absent}- The usual script is the one in tutorials: `readNetFromDarknet`, `blobFromImage` stretched to the network's
  size, the best class of each row, `NMSBoxes` at 0.4 over all classes together.
- Darknet itself is the program `darknet` of Debian's package: `detector valid`, which letterboxes.
- cvdetect is `cvdetect eval` with its defaults (`--conf 0.001 --multi-label --max-det 100`) and `--resize stretch`.

## What each step is worth: {first}

{steps_table}

## Rules

COCO's figures come from pycocotools, which gets one class after another (classes do not influence each other there).
VOC's average precision, by 11 points and by all, follows the devkit: IoU of at least 0.5, greedy by falling score,
difficult objects ignored. The devkit counts inclusive pixels from 1 and adds 1 to widths; boxes here are edges, and
widths, hence IoU, come out the same without that. Precision, recall, F1 and the confusion matrix use VOC's matches.

- COCO's crowds are not objects to be found. COCO's figures treat them as COCO does. VOC's figures know no crowds:
  there, a false positive is ignored where half of its area lies in a crowd of its class.
- VOC's difficult objects count neither as missed nor as false positives. COCO's figures know no difficult objects:
  there, they are ignored as COCO ignores objects outside a size range.
- Classes of the ground truth that the model does not have count as missed, and are reported; `--classes` leaves
  them out.

## Again

```
python3 benchmarks/accuracy.py --data COCO_MINI --files DARKNET_MODELS
```

Measured with cvdetect {cvdetect}, OpenCV {opencv}, {evaluator}.
"""


@dataclass(frozen=True)
class Case:
    """A model, its files, and the images to measure it on."""

    name: str
    cfg: Path
    weights: Path
    data: Path

    @property
    def truth(self) -> Path:
        return self.data / "instances.json"

    @property
    def pictures(self) -> list[tuple[int, Path]]:
        """(COCO's image id, file) of every image."""
        images = json.loads(self.truth.read_text(encoding="utf-8"))["images"]
        return [(row["id"], self.data / "images" / row["file_name"]) for row in images]

    def ours(self, detect: DetectOptions = DetectOptions(max_det=100), **changes: Any) -> EvalReport:
        """cvdetect eval's figures, with its defaults where nothing else is asked for."""
        choice = ModelChoice(cfg=self.cfg, weights=self.weights, resize=changes.pop("resize", None))
        return evaluate(EvalJob(truth=self.truth, images=self.data / "images", model=choice, detect=detect, **changes))

    def score(self, rows: Sequence[dict[str, Any]]) -> EvalReport:
        """The figures of somebody else's results."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "results.json")
            path.write_text(json.dumps(rows), encoding="utf-8")
            return evaluate(EvalJob(truth=self.truth, predictions=path))


def tutorial(case: Case, conf: float) -> Iterator[dict[str, Any]]:
    """What the usual script finds: the cfg as it is, the best class of each box, one NMS for all classes."""
    net = cv2.dnn.readNetFromDarknet(str(case.cfg), str(case.weights))
    names = net.getUnconnectedOutLayersNames()
    side = 416 if case.name == "yolov3-tiny" else 320
    for image_id, path in case.pictures:
        image = read_image(path)
        height, width = image.shape[:2]
        net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (side, side), swapRB=True, crop=False))
        rows = np.concatenate(net.forward(names))  # (N, 85): cx, cy, w, h, objectness, 80 scores
        classes, scores = rows[:, 5:].argmax(axis=1), rows[:, 5:].max(axis=1)
        kept = scores > conf
        sizes = rows[kept, 2:4] * (width, height)
        boxes = np.concatenate([rows[kept, :2] * (width, height) - sizes / 2, sizes], axis=1).tolist()
        for i in np.reshape(cv2.dnn.NMSBoxes(boxes, scores[kept].tolist(), conf, 0.4), -1).astype(int):
            category = COCO.category_id(int(classes[kept][i]))
            score = float(scores[kept][i])
            yield {"image_id": image_id, "category_id": category, "bbox": boxes[i], "score": score}


def darknet(case: Case) -> list[dict[str, Any]] | None:
    """What Darknet itself finds (letterboxed, scores from 0.005, NMS 0.45); None where it is not here."""
    if not shutil.which("darknet"):
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "results").mkdir()
        (folder / "images.txt").write_text("".join(f"{path.resolve()}\n" for _, path in case.pictures))
        (folder / "names").write_text("".join(f"{COCO.label(i)}\n" for i in range(80)))
        (folder / "data").write_text("classes=80\nvalid=images.txt\nnames=names\nresults=results\neval=coco\n")
        command = ["darknet", "detector", "valid", "data", str(case.cfg.resolve()), str(case.weights.resolve())]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        rows: list[dict[str, Any]] = json.loads((folder / "results" / "coco_results.json").read_text())
        return rows


def find(name: str, data: Path, files: Path | None) -> Case | None:
    """The model from --files, else from models.yaml; None where it is not available."""
    if files and (files / f"{name}.cfg").is_file() and (files / f"{name}.weights").is_file():
        return Case(name, files / f"{name}.cfg", files / f"{name}.weights", data)
    registry = load_models()
    if name not in registry.models:
        return None
    try:
        found = Store().ensure(registry.get(name), NullProgress())
    except FetchError:
        return None
    return Case(name, found["cfg"], found["weights"], data)


def published(name: str, metric: str = "COCO AP50") -> str:
    """The accuracy that the model's authors publish, from models.yaml."""
    values = [a.value for a in load_models().get(name).accuracy if a.metric == metric]
    return f"{values[0]:.1f}" if values else "–"


def pair(report: EvalReport | None) -> str:
    """AP and AP50 in percent."""
    return "–" if report is None else f"{100 * (report.coco['AP'] or 0):.1f} / {100 * (report.coco['AP50'] or 0):.1f}"


def main_table(cases: Sequence[Case]) -> list[str]:
    lines = [
        "| model | published AP50 | the usual script, conf 0.5 | the usual script, conf 0.001 | Darknet itself "
        "| cvdetect | cvdetect `--resize letterbox` |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in cases:
        print(f"{case.name} …", file=sys.stderr, flush=True)
        theirs = darknet(case)
        cells = [
            published(case.name),
            pair(case.score(list(tutorial(case, 0.5)))),
            pair(case.score(list(tutorial(case, 0.001)))),
            pair(case.score(theirs) if theirs is not None else None),
            f"**{pair(case.ours(resize='stretch'))}**",
            pair(case.ours(resize="letterbox")),
        ]
        lines.append(f"| {case.name} | {' | '.join(cells)} |")
    return lines


def onnx_table(data: Path, files: Path | None) -> list[str]:
    """Models that need no script of ours to compare with: published against measured."""
    lines = []
    for name in ONNX:
        path = files / f"{name}.onnx" if files else None
        if path and path.is_file():
            print(f"{name} …", file=sys.stderr, flush=True)
            report = evaluate(
                EvalJob(truth=data / "instances.json", images=data / "images", model=ModelChoice(onnx=path))
            )
            lines.append(f"| {name} | {published(name.replace('_', '-'), 'COCO AP')} | **{pair(report)}** |")
    return ["", "| ONNX model | published AP | cvdetect |", "| --- | ---: | ---: |", *lines, ""] if lines else [""]


def steps_table(case: Case) -> list[str]:
    """From the script to cvdetect, one cause at a time."""
    blind = DetectOptions(conf=0.001, max_det=100, agnostic_nms=True)
    steps = [
        ("the usual script with its conf of 0.5", case.score(list(tutorial(case, 0.5)))),
        (
            "conf 0.001 asked for: OpenCV's importer still zeroes every score under 0.2",
            case.score(list(tutorial(case, 0.001))),
        ),
        ("the cfg's threshold removed (`--agnostic-nms --no-multi-label`)", case.ours(blind, multi_label=False)),
        ("non-maximum suppression per class (`--no-multi-label`)", case.ours(multi_label=False)),
        ("every class of a box counts: `cvdetect eval` as it is", case.ours()),
    ]
    return ["| step | AP / AP50 |", "| --- | ---: |", *(f"| {what} | {pair(report)} |" for what, report in steps)]


def page(cases: Sequence[Case], missing: Sequence[str], files: Path | None) -> str:
    truth = json.loads(cases[0].truth.read_text(encoding="utf-8"))
    absent = f"- Not measured, because their files were not available: {', '.join(missing)}.\n" if missing else ""
    return PAGE.format(
        images=len(truth["images"]),
        objects=sum(not row.get("iscrowd") for row in truth["annotations"]),
        main_table="\n".join(main_table(cases)),
        onnx_table="\n".join(onnx_table(cases[0].data, files)),
        absent=absent,
        first=cases[0].name,
        steps_table="\n".join(steps_table(cases[0])),
        cvdetect=cvdetect.__version__,
        opencv=cv2.__version__,
        evaluator=cases[0].score([]).ran["evaluator"],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with images/ and instances.json")
    parser.add_argument("--files", type=Path, help="a folder with NAME.cfg and NAME.weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "docs" / "accuracy.md")
    options = parser.parse_args()
    cases = {name: find(name, options.data, options.files) for name in MODELS}
    there = [case for case in cases.values() if case is not None]
    if not there:
        sys.exit("none of the models is available: give --files, or allow downloads")
    try:
        text = page(there, [name for name, case in cases.items() if case is None], options.files)
    except CvdetectError as error:
        sys.exit(str(error))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    print(f"→ {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
