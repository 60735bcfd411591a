"""Writes docs/models.md from models.yaml and docs/accuracy.md.

python benchmarks/models_page.py                   # the page
python benchmarks/models_page.py --check           # exit 1 where the page is out of date
python benchmarks/models_page.py --pictures [--files FOLDER]... [--face FILE]     # docs/models/*.jpg, then the page

The example images show samples/ with the detections of every model whose files are in the cache or in the folders of
--files; face detectors get the image given as --face, because the samples show no face.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cvdetect.core.errors import CvdetectError
from cvdetect.core.spec import Accuracy, ModelSpec
from cvdetect.jobs.models import SPEED_CLASSES, speed_class
from cvdetect.models.registry import Registry, load_models

if TYPE_CHECKING:
    from cvdetect.inference.detector import Detector

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MAX_BYTES = 60_000
WIDTH = 480  # of example images, in pixels
PERSONS = ("pedestrian-ssdlite",)
FORMATS = {
    "cfg": "Darknet",
    "graph": "TensorFlow",
    "prototxt": "Caffe",
    "onnx": "ONNX",
    "tflite": "TensorFlow Lite",
}
HEADERS = (
    "model", "finds", "input", "files, MB", "CUDA", "speed", "GFLOP", "published accuracy", "measured here", "licence",
    "tested",
)  # fmt: skip
LABELS = {"coco80": "COCO's 80", "coco91": "COCO's 80", "voc20": "VOC's 20"}

PAGE = """\
# Models

Written from [models.yaml](../models.yaml) by `benchmarks/models_page.py`; do not edit. {count} models; `{default}` is
the default. `cvdetect models pull NAME` downloads one, `cvdetect models show NAME` shows addresses, digests and
preprocessing.

{tables}## How to read this

- **Runs on** the CPU everywhere (`--backend cpu`), with OpenCV 4 from 4.13 on; OpenCV 5 has no importer for Darknet
  and Caffe. **CUDA**: the precisions that cvdetect allows, with an OpenCV built for it ([gpu.md](gpu.md)); OpenCV
  does not run Faster and Mask R-CNN and R-FCN well enough in fp16 there. None of them has been run on a GPU yet.
- **Input**: width and height of the network in pixels. Darknet models take any multiple of 32 (`--size`). L: the
  image is letterboxed, otherwise stretched.
- **Files, MB**: what is downloaded, in 10⁶ bytes, without archives around it; ? where models.yaml does not state it.
- **Speed**: class, and time of the forward pass on the CPU at that input, {default}'s at 416 being 1.
  {classes}.
  From one run of `benchmarks/model_speed.py` with OpenCV 4.14 on two shared cores of an x86-64 machine, all models in
  turns; differences of a tenth are noise. Random weights take as long as real ones. –: not measured, as the files
  were not available. GFLOP do not predict it: networks of depthwise convolutions (MobileNet, YOLO-Fastest, YOLOX-Nano)
  take several times longer than their operations suggest.
- **GFLOP**: operations of one image at that input, a multiplication with its addition being 2: counted from the cfg;
  of formats without one, published: {published_gflop}.
- **Published accuracy**: in percent; the sources, by number, are below.
- **Measured here**: AP / AP50 in percent on 79 images of COCO ([accuracy.md](accuracy.md)). Published figures are for
  thousands of images: compare within the column, not across.
- **Tested**: with what; empty where the files were not available. Models with *random weights* were loaded and run, but
  their detections mean nothing.

## Sources

{sources}
{pictures}"""


def page(registry: Registry) -> str:
    """All of docs/models.md."""
    sources = dict.fromkeys(figure.source for spec in registry for figure in spec.accuracy)
    classes = [f"{name} up to {longest:g}" for name, longest in SPEED_CLASSES.items() if longest < float("inf")]
    return PAGE.format(
        count=len(registry),
        default=registry.default,
        tables="".join(table(registry, role) for role in FORMATS),
        classes=f"{', '.join(classes)}, {list(SPEED_CLASSES)[-1]} beyond",
        published_gflop=";\n  ".join(published_gflop(registry)),
        sources="\n".join(f"{number}. {source}" for number, source in enumerate(sources, 1)),
        pictures=gallery(registry),
    )


def table(registry: Registry, role: str) -> str:
    """The models of one format."""
    specs = [spec for spec in registry if any(file.role == role for file in spec.files)]
    if not specs:
        return f"## {FORMATS[role]}\n\nNone yet; any detector of one's own runs (`--{role}`).\n\n"
    sources = list(dict.fromkeys(figure.source for spec in registry for figure in spec.accuracy))
    measured = read_measured()
    rows = [HEADERS, ("---",) * len(HEADERS), *(row(spec, registry, sources, measured) for spec in specs)]
    return f"## {FORMATS[role]}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in rows) + "\n"


def row(spec: ModelSpec, registry: Registry, sources: Sequence[str], measured: dict[str, str]) -> tuple[str, ...]:
    """The cells of one model, in the order of HEADERS."""
    letterboxed = " L" if spec.input.resize == "letterbox" else ""
    speed = spec.speed
    return (
        f"**{spec.name}** (default)" if spec.name == registry.default else spec.name,
        LABELS[spec.labels] if isinstance(spec.labels, str) else ", ".join(spec.labels or ()),
        ("x".join(map(str, spec.input.wh)) if spec.input.wh else "the file's") + letterboxed,
        megabytes(spec),
        "fp32" if spec.two_stage or spec.family == "mask_rcnn" else "fp32, fp16",
        f"{speed_class(speed)} ({speed.forward:g})" if speed and speed.forward else "–",
        f"{speed.gflop:g}" if speed and speed.gflop else "–",
        "<br>".join(figure(one, sources) for one in spec.accuracy) or "–",
        measured.get(spec.name, "–"),
        spec.licence,
        spec.tested,
    )


def megabytes(spec: ModelSpec) -> str:
    """The size of the model's large file; texts beside it have a few thousand bytes."""
    large = [file for file in spec.files if file.role not in ("cfg", "prototxt", "config", "names")]
    return f"{sum(file.size or 0 for file in large) / 1e6:.1f}" if all(file.size for file in large) else "?"


def figure(accuracy: Accuracy, sources: Sequence[str]) -> str:
    return f"{accuracy.metric}: {accuracy.value:g} [{sources.index(accuracy.source) + 1}]"


def published_gflop(registry: Registry) -> Iterator[str]:
    for spec in registry:
        if spec.speed and spec.speed.gflop and spec.file("cfg") is None:
            yield f"{spec.name} ({spec.speed.source.split('; ')[-1]})"


def read_measured() -> dict[str, str]:
    """Model → "AP / AP50" in the column `cvdetect` of docs/accuracy.md."""
    found: dict[str, str] = {}
    for line in (DOCS / "accuracy.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        value = next((cell.strip("*") for cell in cells if re.fullmatch(r"\*\*[\d.]+ / [\d.]+\*\*", cell)), None)
        if value:
            found[cells[0].replace("_", "-")] = value
    return found


def gallery(registry: Registry) -> str:
    """The example images that exist, two per line."""
    names = [spec.name for spec in registry if (DOCS / "models" / f"{spec.name}.jpg").is_file()]
    if not names:
        return ""
    lines = []
    for i in range(0, len(names), 2):
        pair = names[i : i + 2] + [""] * (2 - len(names[i : i + 2]))
        lines.append("".join(f"| {name} " for name in pair) + "|\n")
        lines.append("".join(f"| ![{name}](models/{name}.jpg) " if name else "| " for name in pair) + "|\n")
    lines.insert(1, "| --- | --- |\n")
    about = (
        "What each finds with its own thresholds in an image of [samples](../samples/README.md); face detectors get\n"
        "a portrait of the astronaut Eileen Collins (NASA, public domain).\n"
    )
    return f"\n## Example images\n\n{about}\n{''.join(lines)}"


def make_pictures(registry: Registry, folders: Sequence[Path], face: Path | None) -> None:
    """An annotated image of every model that can run here; those of the others stay as they are."""
    from model_files import choice, find

    from cvdetect.core.options import DetectOptions
    from cvdetect.inference.detector import Detector

    for spec in registry:
        picture = example(spec, face)
        files = find(spec, folders)
        if picture is None or not files or ("weights" not in files and "cfg" in files):
            print(f"{spec.name}: left out", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            options = DetectOptions(conf=spec.conf, nms=spec.nms)
            detector = Detector.load(choice(spec, files, Path(folder)), options)
            write_picture(detector, picture, DOCS / "models" / f"{spec.name}.jpg")


def example(spec: ModelSpec, face: Path | None) -> Path | None:
    if spec.labels == ("face",):
        return face
    return ROOT / "samples" / ("person.jpg" if spec.name in PERSONS else "dog.jpg")


def write_picture(detector: Detector, picture: Path, target: Path) -> None:
    """The image with what `detector` finds in it, at most MAX_BYTES."""
    from cvdetect.core.cv import cv2
    from cvdetect.sinks.draw import DrawStyle, draw
    from cvdetect.sources.images import read_image

    image = read_image(picture)
    drawn = draw(image, detector.detect(image), detector.labels.label, DrawStyle(font_scale=image.shape[1] / 1000))
    height = round(drawn.shape[0] * WIDTH / drawn.shape[1])
    small = cv2.resize(drawn, (WIDTH, height), interpolation=cv2.INTER_AREA)
    target.parent.mkdir(exist_ok=True)
    for quality in range(90, 30, -5):
        data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if data.size <= MAX_BYTES:
            break
    target.write_bytes(data.tobytes())
    print(f"→ {target}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is stale")
    parser.add_argument("--pictures", action="store_true", help="make the example images first")
    parser.add_argument("--files", type=Path, action="append", default=[], help="a folder with model files")
    parser.add_argument("--face", type=Path, help="an image with a face")
    given = parser.parse_args()
    registry = load_models(users=False)
    if given.pictures:
        try:
            make_pictures(registry, given.files, given.face)
        except CvdetectError as error:
            sys.exit(str(error))
    text, target = page(registry), DOCS / "models.md"
    if given.check:
        fresh = target.is_file() and target.read_text(encoding="utf-8") == text
        print("docs/models.md is fresh" if fresh else "docs/models.md is stale: run benchmarks/models_page.py")
        return 0 if fresh else 1
    target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
